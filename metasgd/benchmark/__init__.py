"""Measure the speed and the memory of a meta-update, beside other libraries in the same run (chapters 9 and 10).

**What is measured.** A whole meta-update: the adaptation to every task, the exact meta-gradient, and the outer step of
Adam. There are two kinds of workload. ``convnet`` has 5-way tasks from MNIST, with 15 queries a class, and the
four-block convnet; its speed is given in tasks per second. ``sine`` has tasks with ten support and ten query points of
a sine wave, and a 1-40-40-1 network; its speed is given in meta-steps per second.

**Who takes part.** The contenders are the strategies of ``MetaSGD``, on request also in compiled form, and the other
libraries, called peers, as far as they are installed (see ``metasgd.benchmark.peers``). A contender that could not be
measured is listed with the reason. All contenders start from the same theta and alpha, and get the same tasks. Peers
get the convnet as their users write it, with ReLU before pooling; ours pools first, which gives the same numbers.

**How.** First, the meta-gradient of every contender, in theta and in alpha, is compared with that of the plain loop,
in float64 on small tasks. A difference in one of our strategies ends the benchmark; a peer that differs is marked as
``wrong``. Then all contenders are measured in one process. After a warm-up, they run in rounds: in each round every
contender runs once, for at least some tenths of a second, in a new random order. So whatever disturbs the machine
disturbs all contenders alike. The results are medians over the rounds, with the smallest and the largest value. Two
more things are timed in the same rounds: a large matrix product, which shows how fast this machine can compute at
most, and the drawing of a meta-batch with augmentation, as meta-training does it. On the command line, the process
keeps the memory that it frees, from which all contenders profit. The peak memory of a contender is measured in a
process of its own. For a compiled contender it includes the code of the compiler itself; how much that is, is measured
with a tiny workload.
"""

from metasgd.benchmark.line_up import with_relu_first
from metasgd.benchmark.peers import PACKAGES
from metasgd.benchmark.run import run_benchmark
from metasgd.benchmark.workloads import Settings, Workload

__all__ = ["PACKAGES", "Settings", "Workload", "run_benchmark", "with_relu_first"]
