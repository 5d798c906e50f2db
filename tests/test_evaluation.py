"""Evaluation: the interval is the textbook's, and every method meets the same tasks."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metasgd import MetaSGD, Task, evaluate
from metasgd.evaluation import accuracy, confusion_counts, interval, mean_squared_error
from metasgd.tasks import EpisodeSampler, LinearRegressionSampler


@pytest.fixture
def regression(device: torch.device) -> LinearRegressionSampler:
    return LinearRegressionSampler([1.0, 1.0], [1.0, 1.0], device=device)


def predict_zero(support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
    return torch.zeros(len(query_x), *support_y.shape[1:], device=query_x.device)


def test_the_interval_by_hand() -> None:
    """0, 1, 2, 3: mean 1.5, squared deviations 2.25 + 0.25 + 0.25 + 2.25 = 5, variance 5/3, so 1.96 sqrt(5/3) / 2."""
    mean, half_width, per_task = interval(torch.tensor([0, 1, 2, 3]))
    assert mean == 1.5
    assert half_width == pytest.approx(1.96 * math.sqrt(5 / 3) / 2, rel=1e-15)
    assert per_task.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_one_task_has_no_interval() -> None:
    mean, half_width, _ = interval(torch.tensor([0.75]))
    assert mean == 0.75
    assert math.isnan(half_width)


def test_the_interval_covers_the_mean_in_95_of_100_samples() -> None:
    """Of 2,000 samples of 100 uniform numbers; four standard errors of a rate of 95% over 2,000 are 2%."""
    samples = torch.rand(2000, 100, generator=torch.Generator().manual_seed(0))
    covered = [abs(mean - 0.5) <= half_width for mean, half_width, _ in map(interval, samples)]
    assert sum(covered) / 2000 == pytest.approx(0.95, abs=0.02)


def test_accuracy_by_hand(device: torch.device) -> None:
    """The largest outputs are 1, 0, 2 and 2; the targets 1, 0, 2 and 0: three of four."""
    outputs = torch.tensor([[0, 5, 1], [3, 2, 1], [-3, -2, -1], [0, 0, 1]], device=device)
    assert accuracy(outputs, torch.tensor([1, 0, 2, 0], device=device)) == 0.75


def test_mean_squared_error_by_hand(device: torch.device) -> None:
    prediction, target = torch.tensor([[1.0], [2.0]], device=device), torch.tensor([[0.0], [4.0]], device=device)
    assert mean_squared_error(prediction, target) == 2.5


def test_every_method_meets_the_same_tasks(regression: LinearRegressionSampler) -> None:
    """Two methods record what they are given; using the sampler in between changes nothing."""
    seen = {}

    def recorder(name: str):
        def method(support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
            seen.setdefault(name, []).append((support_x, support_y, query_x))
            return predict_zero(support_x, support_y, query_x)

        return method

    first = evaluate(recorder("first"), regression, 30, seed=4)
    regression.sample(5)
    second = evaluate(recorder("second"), regression, 30, seed=4)
    assert len(seen["first"]) == 30
    for one, other in zip(seen["first"], seen["second"], strict=True):
        assert all(torch.equal(values, same) for values, same in zip(one, other, strict=True))
    assert torch.equal(first.per_task, second.per_task)


def test_another_seed_means_other_tasks(regression: LinearRegressionSampler) -> None:
    one, other = (evaluate(predict_zero, regression, 30, seed=seed).per_task for seed in (4, 5))
    assert not torch.equal(one, other)


def test_the_first_100_tasks_of_600_are_the_100(regression: LinearRegressionSampler) -> None:
    few, many = (evaluate(predict_zero, regression, count) for count in (100, 600))
    assert len(many.per_task) == 600
    assert torch.equal(few.per_task, many.per_task[:100])


@pytest.mark.parametrize("count", [1, 7, 21])
def test_exactly_as_many_tasks_as_asked_for(count: int, regression: LinearRegressionSampler) -> None:
    assert len(evaluate(predict_zero, regression, count).per_task) == count


def test_float_targets_are_scored_by_mean_squared_error(regression: LinearRegressionSampler) -> None:
    """Predicting zero for y = w . x with unit variances everywhere costs the variance of y, 2."""
    mean, half_width, _ = evaluate(predict_zero, regression)
    assert abs(mean - 2) < 2 * half_width


def test_an_example_with_a_score_of_nan_has_no_answer(device: torch.device) -> None:
    """``argmax`` would take the class of the NaN for the answer, and a method that has diverged for a good one."""
    nan = math.nan
    prediction = torch.tensor([[nan, 1.0], [1.0, nan], [nan, nan], [0.0, 1.0]], device=device)
    assert accuracy(prediction, torch.tensor([0, 1, 0, 1], device=device)) == 0.25


def test_labels_that_cross_entropy_ignores_do_not_count(device: torch.device) -> None:
    scores = torch.eye(3, device=device)
    assert accuracy(scores, torch.tensor([0, -100, 1], device=device)) == 0.5
    pixels = scores[:, :, None].expand(3, 3, 4)
    assert accuracy(pixels, torch.tensor([0, -100, 1], device=device)[:, None].expand(3, 4)) == 0.5
    with pytest.raises(ValueError, match="all labels are -100, which accuracy leaves out"):
        accuracy(scores, torch.full((3,), -100, device=device))


class OneTask:
    """Two classes and four queries: one without a label, one without an answer."""

    ways, device = 2, torch.device("cpu")
    scores = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [math.nan, 1.0]])

    def draw_classes(self, num_tasks: int, generator: torch.Generator) -> Tensor:
        return torch.tensor([[0, 1]]).expand(num_tasks, 2)

    def sample(self, num_tasks: int, generator: torch.Generator | None = None) -> list[Task]:
        x, labels = torch.zeros(4, 1), torch.tensor([0, -100, 0, 1])
        return [Task(x, labels, x, labels)] * num_tasks


def test_confusions_leave_out_what_has_no_label_or_no_answer() -> None:
    _, counts = confusion_counts(lambda *_: OneTask.scores, OneTask(), 1)
    assert counts.tolist() == [[[1, 1], [0, 0]]]


def test_integer_targets_are_scored_by_accuracy(device: torch.device) -> None:
    """Always saying class 0 of three is right exactly once in three."""
    sampler = EpisodeSampler(torch.rand(3, 10, 1, 2), 3, 1, 4, device=device)

    def say_zero(support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        return torch.tensor([1.0, 0.0, 0.0], device=query_x.device).expand(len(query_x), 3)

    mean, half_width, _ = evaluate(say_zero, sampler, 20)
    assert mean == pytest.approx(1 / 3)
    assert half_width == pytest.approx(0, abs=1e-12)


def test_a_metric_of_ones_own_replaces_the_default(regression: LinearRegressionSampler) -> None:
    def count(prediction: Tensor, target: Tensor) -> float:
        return float(len(target))

    assert evaluate(predict_zero, regression, 3, metric=count).per_task.tolist() == [15.0] * 3


def test_a_learner_is_a_method(regression: LinearRegressionSampler, device: torch.device) -> None:
    """It adapts before it predicts, is not trained by it, and scores the loss of the same task."""
    learner = MetaSGD(nn.Linear(2, 1).to(device), F.mse_loss, task_lr=0.1)
    before = {name: value.clone() for name, value in learner.state_dict().items() if isinstance(value, Tensor)}
    result = evaluate(learner, regression, 20, seed=3)
    tasks = regression.sample(20, torch.Generator(device).manual_seed(3))
    # float32 on both sides, summed in another order.
    expected = [learner.meta_loss([Task(*parts)]).item() for parts in zip(*tasks, strict=True)]
    assert result.per_task.tolist() == pytest.approx(expected, rel=1e-5)
    assert all(torch.equal(learner.state_dict()[name], value) for name, value in before.items())


def test_no_tasks_are_refused(regression: LinearRegressionSampler) -> None:
    with pytest.raises(ValueError, match="num_tasks is 0"):
        evaluate(predict_zero, regression, 0)


@pytest.mark.parametrize("progress", [True, False])
def test_progress_goes_to_stderr_if_asked_for(
    progress: bool, regression: LinearRegressionSampler, capsys: pytest.CaptureFixture
) -> None:
    evaluate(predict_zero, regression, 3, progress=progress)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert ("3/3" in printed.err) == progress


def test_squared_errors_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"predictions have shape \(3, 1\), targets \(3,\)"):
        mean_squared_error(torch.zeros(3, 1), torch.zeros(3))


def test_confusions_name_the_classes_and_what_each_was_taken_for(device: torch.device) -> None:
    """Class k's pictures are all k; the method sees two classes of seven as one, and says the first of the two."""
    pictures = torch.arange(7.0)[:, None, None, None].expand(7, 6, 1, 1).clone()
    sampler = EpisodeSampler(pictures, 3, 1, 4, device=device)

    def cannot_tell_5_from_6(support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        known, asked = (x.flatten().clamp(max=5) for x in (support_x, query_x))
        return (known == asked[:, None]).float()[:, support_y.argsort()]  # argmax takes the first of equals

    classes, counts = confusion_counts(cannot_tell_5_from_6, sampler, 50, seed=3)
    assert classes.shape == (50, 3)
    assert counts.shape == (50, 3, 3)
    assert (counts.sum(2) == 4).all()
    both = 0
    for row, table in zip(classes.tolist(), counts, strict=True):
        expected = 4 * torch.eye(3, dtype=torch.int64)
        if {5, 6} <= set(row):
            both += 1
            first, second = sorted((row.index(5), row.index(6)))
            expected[second] = expected[second].roll(first - second)
        assert torch.equal(table, expected)
    assert 0 < both < 50


def test_confusions_are_those_of_the_tasks_of_evaluate(device: torch.device) -> None:
    pictures = torch.rand(8, 9, 5, 5, generator=torch.Generator().manual_seed(0))
    sampler = EpisodeSampler(pictures, 4, 2, 3, device=device)
    learner = MetaSGD(nn.Sequential(nn.Flatten(), nn.Linear(25, 4)), task_lr=0.5).to(device)
    _, counts = confusion_counts(learner, sampler, 30, seed=1)
    right = counts.diagonal(dim1=1, dim2=2).sum(1) / 12
    torch.testing.assert_close(right.double(), evaluate(learner, sampler, 30, seed=1).per_task)
    assert 0.2 < right.mean() < 0.9


def test_confusions_of_no_task_are_refused() -> None:
    sampler = EpisodeSampler(torch.rand(3, 4, 2, 2), 2, 1, 1)
    with pytest.raises(ValueError, match="num_tasks is 0; at least 1"):
        confusion_counts(predict_zero, sampler, 0)


class ListOfTasks:
    """A sampler of tasks, in a list, with 1 to 4 examples; y = w . x, as ``regression``, without noise."""

    device = torch.device("cpu")

    def sample(self, num_tasks: int, generator: torch.Generator | None = None) -> list[Task]:
        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        sizes = [1 + number % 4 for number in range(num_tasks)]
        tasks = [(draw(size, 2), draw(size + 1, 2), draw(2, 1)) for size in sizes]
        return [Task(x, x @ w, query_x, query_x @ w) for x, query_x, w in tasks]


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 2), (4, 3, 2, 5), (4, 3, 3)])
def test_classes_are_in_dimension_1_as_in_cross_entropy(shape: tuple[int, ...], device: torch.device) -> None:
    """Also where another dimension has as many entries; labels (N, 1) are labels (N,)."""
    scores = torch.randn(shape, device=device, generator=torch.Generator(device).manual_seed(0))
    labels = scores.argmax(1)
    assert accuracy(scores, labels) == 1.0
    assert accuracy(scores, labels.unsqueeze(1)) == 1.0
    assert accuracy(-scores, labels) == 0.0


@pytest.mark.parametrize("shape", [(6, 1), (6,)])
def test_one_logit_an_example_has_no_largest_class(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"accuracy needs a score for each class.*pass your own metric"):
        accuracy(torch.zeros(shape), torch.zeros(6, dtype=torch.int64))


@pytest.mark.parametrize("labels", [(5,), (6, 2), (1, 6)])
def test_labels_that_belong_to_other_predictions_are_refused(labels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"predictions have shape \(6, 3\).*pass your own metric"):
        accuracy(torch.zeros(6, 3), torch.zeros(labels, dtype=torch.int64))


@pytest.mark.parametrize("strategy", ["loop", "threads", "batched"])
def test_tasks_of_unequal_size_keep_their_order(strategy: str) -> None:
    learner = MetaSGD(nn.Linear(2, 1).double(), F.mse_loss, task_lr=0.1, strategy=strategy)
    tasks = ListOfTasks().sample(9, torch.Generator().manual_seed(7))
    expected = [learner(*task[:3]).detach() for task in tasks]
    for found, right in zip(learner.predict_tasks(tasks), expected, strict=True):
        torch.testing.assert_close(found, right)
    result = evaluate(learner, ListOfTasks(), 9, seed=7)
    drawn = ListOfTasks().sample(20, torch.Generator().manual_seed(7))[:9]
    losses = [learner.meta_loss([task]).item() for task in drawn]
    assert result.per_task.tolist() == pytest.approx(losses, rel=1e-12)
    assert evaluate(learner.forward, ListOfTasks(), 9, seed=7).per_task.tolist() == pytest.approx(losses, rel=1e-12)


class Moved:
    """Tasks of two classes, in which all queries are of the first one, and further to the right than the support."""

    device = torch.device("cpu")
    ways = 2

    def draw_classes(self, num_tasks: int, generator: torch.Generator) -> Tensor:
        return torch.tensor([[0, 1]]).expand(num_tasks, 2)

    def sample(self, num_tasks: int, generator: torch.Generator | None = None) -> Task:
        support_x = torch.tensor([[-1.0], [1.0]]).expand(num_tasks, 2, 1)
        query_x = torch.tensor([[1.2], [1.4], [1.6]]).expand(num_tasks, 3, 1)
        return Task(support_x, torch.tensor([[0, 1]]).expand(num_tasks, 2), query_x, torch.ones(num_tasks, 3).long())


def sign_after_batch_norm(**options: Any) -> MetaSGD:
    """A learner that does not adapt: class 1 for what is above the mean of its batch."""
    model = nn.Sequential(nn.BatchNorm1d(1, affine=False, track_running_stats=False), nn.Linear(1, 2))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[-1.0], [1.0]]))
        model[1].bias.zero_()
    return MetaSGD(model, task_lr=0.0, **options)


def test_queries_are_read_by_the_statistics_that_evaluate_is_given() -> None:
    """Around their own mean, of 1.2, 1.4 and 1.6, one query is above 0 for sure; around the support's, 0, all are."""
    learner = sign_after_batch_norm()
    assert evaluate(learner, Moved(), 4).mean < 0.7
    assert evaluate(learner, Moved(), 4, query_statistics="support").mean == 1.0
    assert evaluate(learner, Moved(), 4, query_statistics="support+query").mean == 1.0
    assert learner.query_statistics == "queries"
    assert evaluate(sign_after_batch_norm(query_statistics="support"), Moved(), 4).mean == 1.0


def test_confusions_are_counted_by_the_same_statistics() -> None:
    _, counts = confusion_counts(sign_after_batch_norm(), Moved(), 1, query_statistics="support")
    assert counts.tolist() == [[[0, 0], [0, 3]]]


def test_statistics_of_queries_are_put_back_after_an_error() -> None:
    learner = sign_after_batch_norm()
    with pytest.raises(ValueError, match="'alone' does not exist"):
        evaluate(learner, Moved(), 4, query_statistics="alone")
    with pytest.raises(ZeroDivisionError):
        evaluate(learner, Moved(), 4, query_statistics="support", metric=lambda prediction, y: 1 / 0)
    assert learner.query_statistics == "queries"


def test_a_function_has_no_statistics_to_be_exchanged(regression: LinearRegressionSampler) -> None:
    with pytest.raises(ValueError, match="method of the class function, which has no such attribute; set it where"):
        evaluate(predict_zero, regression, 4, query_statistics="support")


def test_a_list_of_equal_tasks_gives_one_tensor(regression: LinearRegressionSampler) -> None:
    learner = MetaSGD(nn.Linear(2, 1), F.mse_loss, strategy="loop").to(regression.device)
    batch = regression.sample(3, torch.Generator(regression.device).manual_seed(0))
    tasks = [Task(*parts) for parts in zip(*batch, strict=True)]
    torch.testing.assert_close(learner.predict_tasks(tasks), learner.predict_tasks(batch))


@pytest.mark.parametrize("strategy", ["loop", "threads", "batched"])
def test_inference_mode_changes_nothing(strategy: str, regression: LinearRegressionSampler) -> None:
    learner = MetaSGD(nn.Linear(2, 1), F.mse_loss, strategy=strategy).to(regression.device)
    expected = evaluate(learner, regression, 5)
    with torch.inference_mode():
        found = evaluate(learner, regression, 5)
        tasks = regression.sample(2, torch.Generator(regression.device).manual_seed(0))
        assert learner.predict_tasks(tasks).shape == tasks.query_y.shape
    assert torch.equal(found.per_task, expected.per_task)


@pytest.mark.parametrize("strategy", ["loop", "threads", "batched"])
def test_dropout_is_off_in_evaluation_and_on_again_after_it(
    strategy: str, regression: LinearRegressionSampler
) -> None:
    """One part was in evaluation mode before, and stays there."""
    model = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Linear(8, 1), nn.Dropout(0.5).eval())
    learner = MetaSGD(model, F.mse_loss, strategy=strategy).to(regression.device)
    modes = [part.training for part in learner.modules()]
    found = evaluate(learner, regression, 5)
    assert torch.equal(found.per_task, evaluate(learner, regression, 5).per_task)
    tasks = regression.sample(3, torch.Generator(regression.device).manual_seed(0))
    predicted = learner.predict_tasks(tasks)
    assert [part.training for part in learner.modules()] == modes
    learner.eval()
    assert torch.equal(found.per_task, evaluate(learner, regression, 5).per_task)
    expected = torch.stack([learner(*parts) for parts in zip(*tasks[:3], strict=True)])
    torch.testing.assert_close(predicted, expected)


def test_dropout_of_any_other_module_is_off_too(regression: LinearRegressionSampler) -> None:
    class Support(nn.Module):
        def forward(self, support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
            assert not self.training
            return support_y.mean(0).expand(len(query_x), 1)

    method = Support()
    evaluate(method, regression, 3)
    assert method.training
