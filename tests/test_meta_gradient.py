"""The meta-gradient is exact: by hand, by explicit Hessians, by differences and by a plain loop (chapter 3).

Everything here is float64. No oracle uses ``MetaSGD``'s own inner step, except the finite differences, which
know nothing of derivatives.
"""

from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from metasgd import MetaSGD, Task
from metasgd.models import convnet, mlp
from metasgd.strategies.replaced_functions import (
    BatchNorm,
    ReplaceFunctions,
    replacement_of_batch_norm,
    vmap_safe_batch_norm,
)

pytestmark = pytest.mark.usefixtures("float64")

Gradients = dict[str, Tensor]
# Two orders of the same sums in float64 differ by some 1e-15; the gradients here are of size 0.01 to 10.
EXACT = {"rtol": 1e-10, "atol": 1e-12}


# ---------------------------------------------------------------------------------------------------------------
# What the tests share


def log_cosh(prediction: Tensor, target: Tensor) -> Tensor:
    """A loss of our own, smooth everywhere and not quadratic."""
    return (prediction - target).cosh().log().mean()


def draw_tasks(
    device: torch.device,
    shape: tuple[int, ...] = (3,),
    *,
    outputs: int = 2,
    classify: bool = False,
    sizes: tuple[tuple[int, int], ...] = ((4, 5), (4, 5)),
) -> list[Task]:
    """One task for each (support, query) size: normal inputs, and normal targets or labels below ``outputs``."""
    generator = torch.Generator().manual_seed(1)

    def examples(count: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(count, *shape, generator=generator)
        if classify:
            return x.to(device), torch.randint(outputs, (count,), generator=generator).to(device)
        return x.to(device), torch.randn(count, outputs, generator=generator).to(device)

    return [Task(*examples(support), *examples(query)) for support, query in sizes]


def make_learner(
    build: Callable[[], nn.Module], device: torch.device, loss_fn: Callable = F.mse_loss, **options: object
) -> MetaSGD:
    """A learner with random parameters and with rates of both signs, all of them large enough to matter."""
    torch.manual_seed(0)
    return MetaSGD(build().to(device), loss_fn, **{"task_lr": (-0.2, 0.4), "seed": 1} | options)


def tanh_net() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def meta_gradients(learner: MetaSGD, tasks: Task | list[Task]) -> tuple[Gradients, Gradients]:
    """The derivative of ``meta_loss`` in theta and in alpha, by name."""
    names = list(learner.theta)
    gradients = torch.autograd.grad(learner.meta_loss(tasks), [*learner.theta.values(), *learner.alpha.values()])
    return dict(zip(names, gradients, strict=False)), dict(zip(names, gradients[len(names) :], strict=True))


def flatten(tensors: Gradients) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors.values()])


def central_differences(function: Callable[[], Tensor], variable: Tensor, step: float = 1e-6) -> Tensor:
    """(f(x + step) - f(x - step)) / (2 step) in every entry of ``variable``."""
    entries, derivative = variable.detach().view(-1), torch.empty(variable.numel(), device=variable.device)
    with torch.no_grad():
        for index, value in enumerate(entries.tolist()):
            entries[index] = value + step
            above = function()
            entries[index] = value - step
            derivative[index] = (above - function()) / (2 * step)
            entries[index] = value
    return derivative.view_as(variable)


def assert_equals_central_differences(learner: MetaSGD, tasks: list[Task]) -> None:
    """Compare every entry of both meta-gradients with its central difference.

    With a step of h = 1e-6 the difference is wrong by h^2 f'''/6, some 1e-12, and by rounding, 1e-16 / h, some
    1e-10. The tolerance leaves a factor of 100; a missing term would be off by 1e-3 and more.
    """
    theta_gradient, alpha_gradient = meta_gradients(learner, tasks)
    for variables, gradients in ((learner.theta, theta_gradient), (learner.alpha, alpha_gradient)):
        for name, variable in variables.items():
            difference = central_differences(lambda: learner.meta_loss(tasks), variable)
            torch.testing.assert_close(gradients[name], difference, rtol=1e-6, atol=1e-8)


# ---------------------------------------------------------------------------------------------------------------
# By hand


def hand_worked(first_order: bool, device: torch.device) -> tuple[MetaSGD, Task]:
    model = nn.Linear(2, 1, bias=False).to(device)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 2.0]]))
    learner = MetaSGD(model, F.mse_loss, task_lr={"weight": torch.tensor([[0.5, 0.25]])}, first_order=first_order)
    numbers = ([[1.0, 2.0]], [[4.0]], [[3.0, 1.0]], [[0.0]])
    return learner, Task(*(torch.tensor(values, device=device) for values in numbers))


def test_one_step_by_hand(device: torch.device) -> None:
    """Prediction w . x and squared error, one support and one query example; every number is exact in binary.

    theta = (1, 2), alpha = (1/2, 1/4); support x = (1, 2), y = 4; query x = (3, 1), y = 0.

    Support: residual 1 + 4 - 4 = 1, gradient g = 2 * 1 * (1, 2) = (2, 4), Hessian H = 2 x x^T = [[2, 4], [4, 8]].
    Step:    theta' = (1, 2) - (1/2 * 2, 1/4 * 4) = (0, 1).
    Query:   residual 0 + 1 - 0 = 1, loss 1, gradient v = 2 * 1 * (3, 1) = (6, 2).
    alpha:   -v * g = -(6 * 2, 2 * 4) = (-12, -8).
    theta:   alpha * v = (3, 1/2), H (alpha * v) = (6 + 2, 12 + 4) = (8, 16), v - H (alpha * v) = (-2, -14).
    """
    learner, task = hand_worked(first_order=False, device=device)
    assert learner.inner_update(task.support_x, task.support_y)["weight"].tolist() == [[0.0, 1.0]]
    assert learner.meta_loss([task]).item() == 1.0
    theta_gradient, alpha_gradient = meta_gradients(learner, [task])
    assert alpha_gradient["weight"].tolist() == [[-12.0, -8.0]]
    assert theta_gradient["weight"].tolist() == [[-2.0, -14.0]]


def test_one_first_order_step_by_hand(device: torch.device) -> None:
    """The same without H: in theta v = (6, 2) itself, in alpha the same -v * g, where H does not occur."""
    learner, task = hand_worked(first_order=True, device=device)
    theta_gradient, alpha_gradient = meta_gradients(learner, [task])
    assert alpha_gradient["weight"].tolist() == [[-12.0, -8.0]]
    assert theta_gradient["weight"].tolist() == [[6.0, 2.0]]


@pytest.mark.parametrize(("first_order", "in_theta", "in_alpha"), [(False, 2.5, 20.0), (True, 10.0, 30.0)])
def test_two_steps_by_hand(first_order: bool, in_theta: float, in_alpha: float, device: torch.device) -> None:
    """Prediction w x with w = 1 and alpha = 1/4; support x = 1, y = 2; query x = 2, y = 1.

    The support loss is (w - 2)^2, so g = 2 (w - 2), H = 2, and a step takes w - 2 to (1 - 2 alpha)(w - 2).
    Steps:  w = 1, 1.5, 1.75 with g = -2, -1.
    Query:  residual 2 * 1.75 - 1 = 2.5, loss 6.25, v = 2 * 2.5 * 2 = 10.
    theta:  (1 - 2 alpha)^2 v = 10 / 4 = 2.5.
    alpha:  d/dalpha (1 - 2 alpha)^2 (w - 2) = -4 (1 - 2 alpha)(w - 2) = 2, times v: 20.
    First order: v = 10 in theta, -v (g_1 + g_2) = -10 * (-3) = 30 in alpha.
    """
    model = nn.Linear(1, 1, bias=False).to(device)
    nn.init.ones_(model.weight)
    learner = MetaSGD(model, F.mse_loss, task_lr=0.25, inner_steps=2, first_order=first_order)
    task = Task(*(torch.tensor([[value]], device=device) for value in (1.0, 2.0, 2.0, 1.0)))
    assert learner.meta_loss([task]).item() == 6.25
    theta_gradient, alpha_gradient = meta_gradients(learner, [task])
    assert theta_gradient["weight"].item() == in_theta
    assert alpha_gradient["weight"].item() == in_alpha


# ---------------------------------------------------------------------------------------------------------------
# The two identities, with the Hessian written out as a matrix


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("first_order", [False, True])
def test_both_identities_with_explicit_hessians(steps: int, first_order: bool, device: torch.device) -> None:
    """Walk back from theta' to theta with g_t and H_t, the support gradient and Hessian before step t.

    Start with v, the query gradient at theta'. From the last step to the first:
        grad_alpha <- grad_alpha - v * g_t          (nothing is differentiated twice)
        v          <- v - H_t (alpha * v)           (the derivative of theta - alpha * g, transposed)
    and v ends as grad_theta. For one step these are the two identities of chapter 3. Dropping H_t is first order.
    """
    learner = make_learner(tanh_net, device, inner_steps=steps, first_order=first_order)
    (task,) = draw_tasks(device, sizes=((4, 5),))

    def loss(theta: Tensor, x: Tensor, y: Tensor) -> Tensor:  # the network written out on one flat vector
        w1, b1, w2, b2 = theta.split([12, 4, 8, 2])
        return ((torch.tanh(x @ w1.view(4, 3).T + b1) @ w2.view(2, 4).T + b2 - y) ** 2).mean()

    alpha, params = flatten(learner.alpha).detach(), flatten(learner.theta).detach()
    gradients, hessians = [], []
    for _ in range(steps):
        gradients.append(grad(loss)(params, task.support_x, task.support_y))
        hessians.append(torch.autograd.functional.hessian(lambda p: loss(p, task.support_x, task.support_y), params))
        params = params - alpha * gradients[-1]
    v, expected_alpha = grad(loss)(params, task.query_x, task.query_y), torch.zeros_like(params)
    for gradient, hessian in zip(reversed(gradients), reversed(hessians), strict=True):
        expected_alpha = expected_alpha - v * gradient
        v = v if first_order else v - hessian @ (alpha * v)

    theta_gradient, alpha_gradient = meta_gradients(learner, [task])
    torch.testing.assert_close(flatten(theta_gradient), v, **EXACT)
    torch.testing.assert_close(flatten(alpha_gradient), expected_alpha, **EXACT)


# ---------------------------------------------------------------------------------------------------------------
# Central differences in every entry


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("loss_fn", [F.mse_loss, F.cross_entropy, log_cosh])
def test_central_differences_for_every_loss_and_number_of_steps(
    loss_fn: Callable, steps: int, device: torch.device
) -> None:
    learner = make_learner(tanh_net, device, loss_fn, inner_steps=steps)
    assert_equals_central_differences(learner, draw_tasks(device, classify=loss_fn is F.cross_entropy))


def small_image_net(norm: nn.Module) -> nn.Module:
    """A convolution of 6 x 6 pictures with a normalisation whose scale and shift are not at 1 and 0."""
    for parameter in norm.parameters():
        nn.init.normal_(parameter, mean=1.0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), norm, nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(8, 2))


IMAGE_NETS = {
    "nn.BatchNorm2d": lambda: small_image_net(nn.BatchNorm2d(2, track_running_stats=False)),
    "nn.GroupNorm": lambda: small_image_net(nn.GroupNorm(1, 2)),
    "nn.LayerNorm": lambda: small_image_net(nn.LayerNorm([2, 4, 4])),
}


@pytest.mark.parametrize("name", IMAGE_NETS)
def test_central_differences_for_every_normalisation(name: str, device: torch.device) -> None:
    learner = make_learner(IMAGE_NETS[name], device, F.cross_entropy, inner_steps=2)
    assert_equals_central_differences(learner, draw_tasks(device, (1, 6, 6), classify=True))


# ReLU and max-pooling have kinks, where no derivative exists. At these seeds no entry crosses one within 1e-6.


@pytest.mark.parametrize("build", [lambda: nn.Linear(3, 2), lambda: mlp(3, (5, 4), 2)], ids=["linear", "ReLU network"])
def test_central_differences_for_linear_and_relu_networks(build: Callable, device: torch.device) -> None:
    learner = make_learner(build, device, F.cross_entropy, inner_steps=2)
    assert_equals_central_differences(learner, draw_tasks(device, classify=True))


def test_central_differences_for_the_convnet(device: torch.device) -> None:
    learner = make_learner(lambda: convnet(ways=2, width=2), device, F.cross_entropy)
    tasks = draw_tasks(device, (1, 28, 28), classify=True, sizes=((3, 2),))
    assert_equals_central_differences(learner, tasks)


# ---------------------------------------------------------------------------------------------------------------
# A plain loop over tasks, and tasks in every form


def plain_loop(learner: MetaSGD, tasks: list[Task], steps: int) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Algorithm 1 of the paper for ``tanh_net`` on raw tensors: the loss, and its gradient in theta and alpha."""
    theta = [value.detach().clone().requires_grad_() for value in learner.theta.values()]
    alpha = [value.detach().clone().requires_grad_() for value in learner.alpha.values()]

    def network(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
        return torch.tanh(x @ w1.T + b1) @ w2.T + b2

    total = torch.zeros((), device=theta[0].device)
    for x_train, y_train, x_val, y_val in tasks:
        params = theta
        for _ in range(steps):
            loss = ((network(x_train, *params) - y_train) ** 2).mean()
            gradients = torch.autograd.grad(loss, params, create_graph=True)
            params = [p - rate * gradient for p, rate, gradient in zip(params, alpha, gradients, strict=True)]
        total = total + ((network(x_val, *params) - y_val) ** 2).mean()
    loss = total / len(tasks)
    gradients = torch.autograd.grad(loss, [*theta, *alpha])
    return loss.detach(), list(gradients[: len(theta)]), list(gradients[len(theta) :])


RAGGED = ((4, 5), (1, 7), (6, 2))


@pytest.mark.parametrize("steps", [1, 2])
def test_equals_a_plain_loop_over_tasks_of_different_sizes(steps: int, device: torch.device) -> None:
    learner = make_learner(tanh_net, device, inner_steps=steps)
    tasks = draw_tasks(device, sizes=RAGGED)
    loss, in_theta, in_alpha = plain_loop(learner, tasks, steps)
    theta_gradient, alpha_gradient = meta_gradients(learner, tasks)
    torch.testing.assert_close(learner.meta_loss(tasks).detach(), loss, **EXACT)
    torch.testing.assert_close(list(theta_gradient.values()), in_theta, **EXACT)
    torch.testing.assert_close(list(alpha_gradient.values()), in_alpha, **EXACT)


def test_a_batch_equals_a_list_equals_one_at_a_time(device: torch.device) -> None:
    learner = make_learner(tanh_net, device)
    tasks = draw_tasks(device, sizes=((4, 5),) * 3)
    batch = Task(*(torch.stack(field) for field in zip(*tasks, strict=True)))
    in_batch, in_list = meta_gradients(learner, batch), meta_gradients(learner, tasks)
    one_at_a_time = [meta_gradients(learner, [task]) for task in tasks]
    for part in (0, 1):  # theta, alpha
        mean = torch.stack([flatten(gradients[part]) for gradients in one_at_a_time]).mean(0)
        torch.testing.assert_close(flatten(in_batch[part]), mean, **EXACT)
        torch.testing.assert_close(flatten(in_list[part]), mean, **EXACT)


@pytest.mark.parametrize("first_order", [False, True])
def test_meta_update_accumulates_the_gradient_of_meta_loss(first_order: bool, device: torch.device) -> None:
    """An outer rate of zero leaves the accumulated ``.grad`` behind, and theta and alpha where they were."""
    learner = make_learner(tanh_net, device, meta_lr=0.0, first_order=first_order)
    tasks = draw_tasks(device, sizes=RAGGED)
    theta_gradient, alpha_gradient = meta_gradients(learner, tasks)
    metrics = learner.meta_update(tasks)
    assert metrics["loss"] == pytest.approx(learner.meta_loss(tasks).item(), rel=1e-12)
    for name in learner.theta:
        torch.testing.assert_close(learner.theta[name].grad, theta_gradient[name], **EXACT)
        torch.testing.assert_close(learner.alpha[name].grad, alpha_gradient[name], **EXACT)


# ---------------------------------------------------------------------------------------------------------------
# Parameters that do not matter, stay fixed, or are shared


class Unused(nn.Module):
    """A linear layer with a parameter that no output depends on, and one whose effect is multiplied by zero."""

    def __init__(self) -> None:
        super().__init__()
        self.used = nn.Linear(3, 2)
        self.cancelled = nn.Parameter(torch.ones(2))
        self.unused = nn.Parameter(torch.ones(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x) + 0 * self.cancelled


@pytest.mark.parametrize("first_order", [False, True])
def test_alpha_of_a_parameter_that_cannot_matter_gets_zero_gradient(first_order: bool, device: torch.device) -> None:
    """Neither the weights of an input that is always zero, nor a cancelled parameter, nor an unused one."""
    learner = make_learner(Unused, device, first_order=first_order)
    before = {name: rate.clone() for name, rate in learner.alpha.items()}
    tasks = draw_tasks(device)
    for task in tasks:
        task.support_x[:, 1] = task.query_x[:, 1] = 0
    learner.meta_update(tasks)
    in_alpha = {name: rate.grad for name, rate in learner.alpha.items()}
    assert (in_alpha["used.weight"] == 0).tolist() == [[False, True, False]] * 2
    assert in_alpha["cancelled"].tolist() == [0.0, 0.0]
    assert in_alpha["unused"].tolist() == [0.0, 0.0]
    for name in ("cancelled", "unused"):
        assert torch.equal(learner.alpha[name], before[name])


def test_a_shift_that_normalisation_removes_gets_zero_gradient_up_to_rounding(device: torch.device) -> None:
    """A bias before batch norm changes nothing, so both its meta-gradients vanish, to the rounding of sums."""
    learner = make_learner(IMAGE_NETS["nn.BatchNorm2d"], device, F.cross_entropy)
    theta_gradient, alpha_gradient = meta_gradients(learner, draw_tasks(device, (1, 6, 6), classify=True))
    assert theta_gradient["0.bias"].abs().max() < 1e-13
    assert alpha_gradient["0.bias"].abs().max() < 1e-13


class Tied(nn.Module):
    """The same matrix twice: x -> tanh(x W) W^T."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(3, 3, bias=False)
        self.decode = nn.Linear(3, 3, bias=False)
        self.decode.weight = self.encode.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(torch.tanh(self.encode(x)))


def test_tied_weights_are_one_parameter_with_one_rate(device: torch.device) -> None:
    learner = make_learner(Tied, device, inner_steps=2)
    assert list(learner.theta) == list(learner.alpha) == ["encode.weight"]
    assert_equals_central_differences(learner, draw_tasks(device, outputs=3))


def test_several_inner_steps_without_learned_rates_are_gradient_descent(device: torch.device) -> None:
    learner = make_learner(tanh_net, device, task_lr=0.1, inner_steps=3, learn_alpha=False)
    (task,) = draw_tasks(device, sizes=((4, 5),))
    adapted = learner.inner_update(task.support_x, task.support_y)
    torch.manual_seed(0)
    copy = tanh_net().to(device)
    optimizer = torch.optim.SGD(copy.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        F.mse_loss(copy(task.support_x), task.support_y).backward()
        optimizer.step()
    torch.testing.assert_close(adapted, dict(copy.named_parameters()), **EXACT)


def test_adaptation_without_grad_is_detached_and_equal_in_value(device: torch.device) -> None:
    learner = make_learner(tanh_net, device, inner_steps=2)
    (task,) = draw_tasks(device, sizes=((4, 5),))
    with torch.no_grad():
        detached = learner.inner_update(task.support_x, task.support_y)
    attached = learner.inner_update(task.support_x, task.support_y)
    for name in learner.theta:
        assert attached[name].requires_grad
        assert not detached[name].requires_grad
        assert torch.equal(detached[name], attached[name])


# ---------------------------------------------------------------------------------------------------------------
# The batch-norm trap: why the strategies replace F.batch_norm, each in its own way (chapter 9)


@pytest.mark.parametrize(
    "normalise",
    [
        vmap_safe_batch_norm,
        pytest.param(
            None,
            id="F.batch_norm",
            marks=pytest.mark.xfail(
                reason="the second derivative of F.batch_norm with weight and bias is silently wrong under vmap"
            ),
        ),
    ],
)
def test_batch_norm_under_vmap_has_the_meta_gradient_of_the_loop(
    normalise: BatchNorm | None, device: torch.device
) -> None:
    """All tasks at once by torch.func against ``MetaSGD``'s loop, which finite differences confirm above."""
    learner = make_learner(IMAGE_NETS["nn.BatchNorm2d"], device)
    tasks = draw_tasks(device, (1, 6, 6), sizes=((4, 5),) * 3)
    batch = Task(*(torch.stack(field) for field in zip(*tasks, strict=True)))

    def task_loss(theta: Gradients, alpha: Gradients, task: Task) -> Tensor:
        def loss(params: Gradients, x: Tensor, y: Tensor) -> Tensor:
            return F.mse_loss(functional_call(learner.model, params, (x,)), y)

        gradients = grad(loss)(theta, task.support_x, task.support_y)
        adapted = {key: theta[key] - alpha[key] * gradients[key] for key in theta}
        return loss(adapted, task.query_x, task.query_y)

    def meta_loss(theta: Gradients, alpha: Gradients) -> Tensor:
        return vmap(task_loss, in_dims=(None, None, 0))(theta, alpha, batch).mean()

    with ReplaceFunctions({F.batch_norm: replacement_of_batch_norm(normalise)}) if normalise else nullcontext():
        at_once = grad(meta_loss, argnums=(0, 1))(learner.theta, learner.alpha)
    torch.testing.assert_close(at_once, meta_gradients(learner, tasks), rtol=1e-10, atol=1e-10)
