"""What the runs of a comparison say: the table of chapters 8 and 12, and each method beside Meta-SGD."""

from collections.abc import Mapping

from torch import Tensor

from metasgd._core.student import student_interval
from metasgd.experiments.claims.claim import Effect, paired
from metasgd.experiments.mnist_tuning import FEATURE_MEANS, FINE_TUNING

REFERENCE = "meta-sgd"  # with which every method is compared
METHOD_LABELS = {
    REFERENCE: "Meta-SGD",
    "layer-rates": "Meta-SGD, a rate for each layer",
    "tensor-rates": "Meta-SGD, a rate for each tensor",
    "one-rate": "Meta-SGD, one rate",
    "three-steps": "Meta-SGD, three steps",
    "first-order": "Meta-SGD, first order",
    "maml": "MAML",
    "maml-three-steps": "MAML, three steps",
    "first-order-maml": "MAML, first order",
    "anil": "ANIL",
    "reptile": "Reptile",
    "protonet": "prototypical network",
    FINE_TUNING: "fine-tuning",
    FEATURE_MEANS: "class means of features",
    "from scratch": "from scratch",
}


def by_rank(accuracies: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the accuracies with the best mean first.

    Args:
        accuracies: by method, each float64 of shape (runs,) or (runs, folds).
    """
    return dict(sorted(accuracies.items(), key=lambda method: -method[1].mean().item()))


def beside_reference(accuracies: Mapping[str, Tensor]) -> dict[str, Effect]:
    """Return what each method has more than Meta-SGD, run by run, corrected for the number of these comparisons.

    Args:
        accuracies: by method, each float64 of shape (runs,) or (runs, folds), the runs in the same order.
    """
    others = {method: values for method, values in accuracies.items() if method != REFERENCE}
    return {
        method: paired(values, accuracies[REFERENCE], comparisons=len(others)) for method, values in others.items()
    }


def comparison_table(by_shots: Mapping[int, Mapping[str, Tensor]]) -> str:
    """Return the table of a comparison as text, the best at the first number of shots first.

    A run counts by its mean over the folds; the intervals are 95% intervals over runs, by Student's t.

    Args:
        by_shots: accuracies by number of shots and by method, each float64 of shape (runs,) or (runs, folds).
    """
    first = next(iter(by_shots))
    effects = beside_reference(by_shots[first])
    columns = "".join(f"{f'{shots}-shot':14}" for shots in by_shots)
    lines = [f"{'[%], 5-way':34}{columns}less Meta-SGD, {first}-shot"]
    for method in by_rank(by_shots[first]):
        line = f"{METHOD_LABELS[method]:34}"
        for accuracies in by_shots.values():
            mean, half = student_interval(accuracies[method].reshape(len(accuracies[method]), -1).mean(1))
            line += f"{f'{100 * mean:5.1f} ± {100 * half:.1f}':14}"
        lines.append((line + (f"{effects[method]}" if method in effects else "")).rstrip())
    return "\n".join(lines)
