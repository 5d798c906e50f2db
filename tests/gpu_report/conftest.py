"""The report runs the program, which sets the precision of the whole process."""

from tests.gpu.conftest import precision_as_before

__all__ = ["precision_as_before"]
