"""Chapter 6's page in a browser: its meta-gradient against PyTorch's, and what a reader presses, drags and sees."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from metasgd import MetaSGD
from metasgd._core.adam import clipped_adam
from metasgd._core.task import as_list
from metasgd.experiments.sine import SINE_RATES
from metasgd.recipes.sine import SineRecipe, up_then_down
from metasgd.tasks import SineWaveSampler
from tests.book.notebooks import BOOK

SERVED = BOOK
FOLDER = BOOK / "_static" / "sine"
EXACT = {"rtol": 0, "atol": 1e-10}  # float64 on both sides; numbers are of the order of 1

# One meta-gradient and `rates.length` meta-updates on the same tasks, in float64.
COMPUTE = """({ method, theta, alpha, tasks, count, rates }) => {
    const sine = metaSgdSine(Float64Array);
    const room = sine.room(count, tasks[0].length / count, tasks[2].length / count);
    [room.support.x, room.support.y, room.query.x, room.query.y].forEach((part, i) => part.set(tasks[i]));
    const learner = sine.learner(method, theta);
    learner.alpha.set(alpha);
    const loss = sine.metaGradient(learner, room);
    const gradients = [room.gradTheta, room.gradAlpha].map((part) => Array.from(part));
    const losses = rates.map((rate) => sine.metaUpdate(learner, room, rate));
    const errors = sine.adapt(learner, room);
    const output = Array.from(room.query.output);
    const [after, rates_after] = [learner.theta, learner.alpha].map((part) => Array.from(part));
    return { loss, gradients, losses, errors, output, theta: after, alpha: rates_after };
}"""


def flat(tensors: dict[str, Tensor]) -> Tensor:
    """All entries in the order of the parameters."""
    return torch.cat([tensor.detach().flatten() for tensor in tensors.values()])


@pytest.fixture
def script(browser):
    """An empty page with the script that computes."""
    page = browser.new_page()
    page.add_script_tag(path=FOLDER / "meta-train.js")
    yield page
    page.close()


@pytest.mark.parametrize(("method", "shots"), [("meta-sgd", 5), ("meta-sgd", 10), ("maml", 10)])
def test_the_page_computes_what_pytorch_computes(script, float64, method: str, shots: int) -> None:
    """Loss, both meta-gradients, and five steps of Adam with clipping, from rates of both signs."""
    torch.manual_seed(shots)
    rates = [0.01, 0.02, 0.03, 0.02, 0.01]
    network = SineRecipe().build_network().double()
    learner = MetaSGD(
        network, F.mse_loss, meta_lr=1.0, task_lr=0.02, learn_alpha=method == "meta-sgd",
        meta_optimizer=clipped_adam(SineRecipe().clip), strategy="loop",
    )  # fmt: skip
    if method == "meta-sgd":
        for rate in learner.alpha.values():
            rate.data.uniform_(-0.05, 0.1)
    tasks = SineWaveSampler(shots, 10, dtype=torch.float64).sample(7, torch.Generator().manual_seed(1))
    asked = {
        "method": method,
        "theta": flat(learner.theta).tolist(),
        "alpha": flat(learner.alpha).tolist(),
        "tasks": [part.flatten().tolist() for part in tasks],
        "count": 7,
        "rates": rates,
    }
    found = script.evaluate(COMPUTE, asked)

    loss = learner.meta_backward(tasks)
    torch.testing.assert_close(torch.tensor(found["loss"]), loss, **EXACT)
    gradients = [flat({n: p.grad for n, p in learner.theta.items()})]
    if method == "meta-sgd":
        gradients.append(flat({n: p.grad for n, p in learner.alpha.items()}))
    assert all(gradient.abs().max() > 0.1 for gradient in gradients)  # beside which 1e-10 is small
    for ours, theirs in zip(found["gradients"], gradients, strict=False):
        torch.testing.assert_close(torch.tensor(ours), theirs, **EXACT)
    losses = []
    for rate in rates:
        for group in learner.meta_optimizer.param_groups:
            group["lr"] = rate
        losses.append(learner.meta_update(tasks)["loss"])
    torch.testing.assert_close(torch.tensor(found["losses"]), torch.tensor(losses), **EXACT)
    torch.testing.assert_close(torch.tensor(found["theta"]), flat(learner.theta), **EXACT)
    torch.testing.assert_close(torch.tensor(found["alpha"]), flat(learner.alpha), **EXACT)
    outputs, errors = [], []
    for task in as_list(tasks):
        outputs.append(learner.predict(task.query_x, learner.inner_update(task.support_x, task.support_y)).detach())
        errors.append(F.mse_loss(outputs[-1], task.query_y))
    torch.testing.assert_close(torch.tensor(found["output"]), torch.cat(outputs).flatten(), **EXACT)
    torch.testing.assert_close(torch.tensor(found["errors"]), torch.stack(errors), **EXACT)


def test_the_page_trains_by_the_recipe_of_the_chapter(script) -> None:
    """Its names and numbers are the recipe's but for smaller batches and more of them; curves have the same ranges."""
    recipe, ours = SineRecipe(), script.evaluate("metaSgdSine().RECIPE")
    for name in ("train_queries", "task_lr", "clip", "warmup", "iterations"):
        assert ours[name] == getattr(recipe, name), name
    assert ours["meta_batch"] == 25
    assert ours["meta_lr"] == {method: rates["meta_lr"] for method, rates in SINE_RATES.items()}
    assert {rates["task_lr"] for rates in SINE_RATES.values()} == {ours["task_lr"]}
    fractions = [0, 0.05, 0.1, 0.5, 1]
    factors = script.evaluate("all => all.map(metaSgdSine().schedule)", fractions)
    assert factors == pytest.approx([up_then_down(recipe.warmup)(fraction) for fraction in fractions])
    sampler, draw = SineWaveSampler(), "random => metaSgdSine().curve(() => random)"
    for end, random in enumerate((0, 1)):
        curve = script.evaluate(draw, random)
        assert curve == pytest.approx(
            {name: getattr(sampler, name)[end] for name in ("amplitude", "frequency", "phase")}
        )
    xs = script.evaluate(
        "random => { const s = metaSgdSine(), r = s.room(1, 1, 1); s.draw(r, () => random); return r.query.x[0] }",
        0.75,
    )
    assert xs == sampler.inputs[0] + 0.75 * (sampler.inputs[1] - sampler.inputs[0])


def test_the_start_is_drawn_as_pytorch_draws_it(script) -> None:
    """Uniform within 1 / sqrt(inputs): one for the first layer, forty for the others."""
    theta = torch.tensor(script.evaluate("Array.from((s => s.start(s.uniform(0)))(metaSgdSine()))"))
    parts, ranges = torch.split(theta, [80, 1681]), [1, 40**-0.5]
    for part, bound in zip(parts, ranges, strict=True):
        assert 0.9 * bound < part.abs().max() <= bound
        assert part.mean().abs() < 4 * bound / (3 * len(part)) ** 0.5  # four standard errors
