"""Meta-SGD: learn an initialisation and a learning rate for every parameter (Li et al. 2017, arXiv:1707.09835)."""

from metasgd._core.messages import show_messages
from metasgd._core.task import Task
from metasgd._core.version import __version__
from metasgd.evaluation import Evaluation, evaluate
from metasgd.meta_sgd import MetaSGD

__all__ = ["Evaluation", "MetaSGD", "Task", "__version__", "evaluate", "show_messages"]
