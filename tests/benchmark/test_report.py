"""The printed table: every column, a mark on a wrong meta-gradient, and the reason where nothing was measured."""

from metasgd.benchmark.report import describe_error, format_table

ROW = {
    "per_second": {"median": 12.5, "min": 10.0, "max": 14.0},
    "times_reference": {"median": 2.5, "min": 2.0, "max": 3.0},
    "of_ceiling": 0.25,
    "peak_memory_mb": 100.4,
    "sampling_share": 0.05,
}
RESULT = {
    "name": "convnet, small",
    "unit": "tasks",
    "gflop_per_task": 1.5,
    "ceiling_gflops": {"median": 80.0},
    "contenders": {
        "loop": ROW,
        "a peer": {
            "per_second": ROW["per_second"],
            "times_reference": None,
            "of_ceiling": 0.5,
            "peak_memory_mb": None,
        },
    },
    "failed": {"another": "MemoryError: out of memory"},
}
CHECKS = {"loop": {"wrong": False}, "a peer": {"wrong": True}, "broken": {"error": "ImportError: too old"}}


def test_the_table_shows_all_numbers():
    lines = format_table(RESULT, CHECKS).splitlines()
    assert "convnet, small: tasks per second; 1.5 GFLOP a task, matrix product 80 GFLOP/s" in lines
    loop, peer = (next(line for line in lines if line.startswith(name)) for name in ("loop", "a peer"))
    assert loop.split() == ["loop", "12.5", "[10", "-", "14]", "2.50", "100", "25.0%", "5.0%"]
    assert peer.split() == ["a", "peer", "12.5", "[10", "-", "14]", "50.0%", "WRONG", "meta-gradient"]


def test_the_table_says_why_a_contender_is_not_in_it():
    lines = format_table(RESULT, CHECKS).splitlines()
    assert "not measured: broken, as it failed: ImportError: too old" in lines
    assert "not measured: another, as it failed: MemoryError: out of memory" in lines


def test_an_error_is_described_in_one_line():
    assert describe_error(ValueError("one\ntwo")) == "ValueError: one"
    assert describe_error(ValueError()) == "ValueError: ?"
