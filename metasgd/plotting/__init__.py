"""Every figure of the book: a function from data to a matplotlib figure, in one file for each chapter."""

from metasgd.plotting.chapter01 import accuracy_against_steps, intervals_by_shots, sorted_drawings, valley_steps
from metasgd.plotting.chapter02 import bent_step, error_factors, losses_by_steps, map_fields, steps_of_tasks
from metasgd.plotting.chapter03 import difference_errors, meta_update_flow, rate_landscape, step_directions
from metasgd.plotting.chapter04 import loss_against_scale, rates_against_shots, task_parabolas, training_path
from metasgd.plotting.chapter05 import accuracy_bars, gradient_paths, loss_against_shots, rate_sweep, reported_losses
from metasgd.plotting.chapter06 import (
    sine_adaptation,
    sine_cells,
    sine_errors,
    sine_losses,
    sine_tasks,
    sine_training,
)
from metasgd.plotting.chapter07 import fold_table, interval_check, place_shares, selection_bias, turned_digits
from metasgd.plotting.chapter08 import class_probabilities, gap_ladder, training_curves
from metasgd.plotting.chapter09 import (
    ablation_bars,
    call_costs,
    error_against_rate,
    relative_speeds,
    roofline,
    saved_memory,
    seconds_by_tasks,
)
from metasgd.plotting.chapter10 import memory_curves, precision_errors, time_shares
from metasgd.plotting.chapter11 import rate_densities, rate_plane, rate_ranges, scaled_steps
from metasgd.plotting.chapter12 import beside_published, changed_digits, confusions, ingredient_bars, measure_ranges
from metasgd.plotting.chapter13 import estimator_means, navigation_curves, navigation_paths
from metasgd.plotting.chapter14 import adapted_probabilities
from metasgd.plotting.chapter15 import crossing_curves
from metasgd.plotting.chapter16 import preparation, threshold_shares
from metasgd.plotting.history import timeline
from metasgd.plotting.shared import (
    accuracy_by_fold,
    contact_sheet,
    episodes,
    layer_steps,
    method_intervals,
    method_seeds,
    picture_grid,
)
from metasgd.plotting.style import COLOURS, STYLE, figure
from metasgd.plotting.welcome import headline

__all__ = [
    "COLOURS",
    "STYLE",
    "ablation_bars",
    "accuracy_against_steps",
    "accuracy_bars",
    "accuracy_by_fold",
    "adapted_probabilities",
    "bent_step",
    "beside_published",
    "call_costs",
    "changed_digits",
    "class_probabilities",
    "confusions",
    "contact_sheet",
    "crossing_curves",
    "difference_errors",
    "episodes",
    "error_against_rate",
    "error_factors",
    "estimator_means",
    "figure",
    "fold_table",
    "gap_ladder",
    "gradient_paths",
    "headline",
    "ingredient_bars",
    "interval_check",
    "intervals_by_shots",
    "layer_steps",
    "loss_against_scale",
    "loss_against_shots",
    "losses_by_steps",
    "map_fields",
    "measure_ranges",
    "memory_curves",
    "meta_update_flow",
    "method_intervals",
    "method_seeds",
    "navigation_curves",
    "navigation_paths",
    "picture_grid",
    "place_shares",
    "precision_errors",
    "preparation",
    "rate_densities",
    "rate_landscape",
    "rate_plane",
    "rate_ranges",
    "rate_sweep",
    "rates_against_shots",
    "relative_speeds",
    "reported_losses",
    "roofline",
    "saved_memory",
    "scaled_steps",
    "seconds_by_tasks",
    "selection_bias",
    "sine_adaptation",
    "sine_cells",
    "sine_errors",
    "sine_losses",
    "sine_tasks",
    "sine_training",
    "sorted_drawings",
    "step_directions",
    "steps_of_tasks",
    "task_parabolas",
    "threshold_shares",
    "time_shares",
    "timeline",
    "training_curves",
    "training_path",
    "turned_digits",
    "valley_steps",
]
