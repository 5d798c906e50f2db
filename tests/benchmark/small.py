"""Small workloads and quick options of the command line, for the tests of the benchmark."""

from metasgd.benchmark import Workload

CONVNET = Workload("convnet", meta_batch=2, shots=1, queries=2, width=4)
SINE = Workload("sine", meta_batch=3)
QUICK = ["--device", "cpu", "--rounds", "2", "--seconds", "0.001", "--peers"]
