"""The meta-gradient by the two identities of chapter 3, without differentiating through the inner steps.

The inner steps visit the points theta_t, t = 0, ..., T - 1, with support gradients g_t, and end at theta_T, where the
query loss has the gradient v. The adjoint method goes back over the steps, the last one first:

    the gradient in alpha grows by  -v * g_t,        and then        v becomes  v - H_t (alpha * v),

where H_t is the Hessian of the support loss at theta_t. When all steps are done, v is the gradient in theta. If the
learner clips inner steps (``inner_max_norm``), g_t is the clipped gradient, and H_t the transpose of its Jacobian.

So the query set needs an ordinary backward pass only, and each step a graph of its own, which can be thrown away on
the way forward and built again on the way back (``recompute``).
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor
from torch.func import grad, grad_and_value, vjp, vmap

from metasgd._core.clipping import clipped
from metasgd._core.copies import copy_sharing_tensors
from metasgd._core.task import Task
from metasgd._core.trees import Tree, as_tree, take_apart
from metasgd.strategies.snapshot import LearnerSnapshot, MetaGradient, Tensors
from metasgd.strategies.tensor_lists import FOREACH


def meta_gradient(snapshot: LearnerSnapshot, tasks: Task) -> MetaGradient:
    """Return what one task, or a batch of them, contributes to the meta-gradient, compiled if the learner says so."""
    execution = snapshot.learner.execution
    if not execution.compile or snapshot.held is None:
        return uncompiled_meta_gradient(snapshot, tasks)
    inputs = snapshot.tensors(tasks)

    def function(*tensors: Tensor) -> tuple[Tensor, ...]:
        to_trace = snapshot._replace(for_compiler=True)
        return to_trace.as_function_of_tensors(meta_gradient_by_a_copy, tasks)(*tensors)

    compiled = execution.compiled.get_or_make(snapshot.cache_key(tasks), function, inputs)
    if compiled is None:  # compilation has failed, and a warning has said so
        return uncompiled_meta_gradient(snapshot, tasks)
    return snapshot.as_meta_gradient(compiled(*inputs))


def meta_gradient_by_a_copy(snapshot: LearnerSnapshot, tasks: Task) -> MetaGradient:
    """Return the meta-gradient by a copy of the model, so that what the model notes in a trace is not kept in it."""
    if snapshot.is_batch and not snapshot.keeps:  # by threads, each has copies already
        snapshot = snapshot._replace(model=copy_sharing_tensors(snapshot.model))
    return uncompiled_meta_gradient(snapshot, tasks)


def uncompiled_meta_gradient(snapshot: LearnerSnapshot, tasks: Task) -> MetaGradient:
    """Go forward over the inner steps and back again, as the docstring of this module says.

    A batch is summed over its tasks. In the names of the formulas: ``params`` is theta_t, ``g`` is g_t, ``v`` is v.
    """
    learner, recompute, lists = snapshot.learner, snapshot.learner.execution.recompute, snapshot.lists
    support = tasks[:2]
    second_order = not learner.first_order
    visited, params = [], leaves(snapshot.theta)
    for _ in range(learner.inner_steps):
        g = gradients(snapshot, params, support, differentiable=second_order and not recompute)
        visited.append((params, detached(g) if recompute else g))
        params = leaves(inner_step(snapshot, params, g))
    loss, v = loss_and_gradients(snapshot, params, tasks)

    alpha_gradient: Tensors = []  # with the sign of +v * g until the end
    for params, g in reversed(visited):
        if learner.learns_alpha:
            with torch.no_grad():
                products = lists.mul(v, conjugated(g))
            products = [product.sum(0) for product in products] if snapshot.is_batch else products
            alpha_gradient = lists.add(alpha_gradient, products) if alpha_gradient else products
        direction = lists.mul(conjugated(snapshot.alpha), v)
        if snapshot.is_batch and params is visited[0][0]:
            v = [w.sum(0) for w in v]  # all tasks start from the same theta, so that from here on their sum will do
        if second_order:
            if recompute:
                g = gradients(snapshot, params, support, differentiable=True)
            v = lists.sub(v, hessian_vector_product(g, params, direction))
    count = snapshot.num_tasks
    negated_mean = lists.div(alpha_gradient, -count) if alpha_gradient else []
    return MetaGradient(loss / count, lists.div(v, count), negated_mean)


def predictions(snapshot: LearnerSnapshot, tasks: Task) -> Tree:
    """Adapt to the support set of a task, or of a batch of them, and predict the query set, without a graph."""
    params = snapshot.theta
    for _ in range(snapshot.learner.inner_steps):
        g = gradients(snapshot, leaves(params), tasks[:2], differentiable=False)
        params = inner_step(snapshot, params, g)
    with torch.no_grad():
        query = snapshot._replace(model=snapshot.query_model)
        if not snapshot.is_batch:
            return as_tree(query.query_output(params, tasks.support_x, tasks.query_x))
        forms = []

        def output(params: Tensors, support_x: Tree, x: Tree) -> list[Tensor]:
            tensors, form = take_apart(as_tree(query.query_output(params, support_x, x)))
            forms.append(form)
            return tensors

        dimensions = (0 if snapshot.learner.inner_steps else None, 0, 0)  # without a step, all tasks have the same
        tensors = outputs_by_vmap(output, dimensions, params, tasks.support_x, tasks.query_x)
        return forms[-1](tensors)


def outputs_by_vmap(
    output: Callable[..., Tensors], dimensions: tuple[int | None, ...], params: Tensors, *examples: Tree
) -> Tensors:
    """Return ``output(params, *examples)`` of each task; ``dimensions`` are those of tasks, or None: all share it.

    Some operators, such as recurrent layers, have no rule for ``vmap`` as they are. Where a derivative is asked for,
    PyTorch takes them apart into others that have.
    """
    try:
        outputs: Tensors = vmap(output, dimensions, randomness="different")(params, *examples)
    except torch.cuda.OutOfMemoryError:
        raise
    except RuntimeError:
        taken_apart = vmap(lambda p, *x: vjp(lambda q: output(q, *x), p)[0], dimensions, randomness="different")
        outputs = taken_apart(params, *examples)
    return outputs


def inner_step(snapshot: LearnerSnapshot, params: Tensors, g: Tensors) -> Tensors:
    """Return ``params - alpha * g``, without a graph."""
    with torch.no_grad():
        stepped: Tensors = snapshot.lists.sub(params, snapshot.lists.mul(snapshot.alpha, g))
        return stepped


def gradients(
    snapshot: LearnerSnapshot, params: Tensors, examples: Sequence[Tree], *, differentiable: bool
) -> Tensors:
    """Return the gradient of the loss, clipped as the learner says, of a batch for each task in a leading dimension.

    The parameters of a batch may have that dimension too, or be the same for all of its tasks.
    """
    max_norm = snapshot.learner.inner_max_norm

    def clipped_gradient(params: Tensors, x: Tensor, y: Tensor) -> Tensors:
        return list(clipped(grad(snapshot.loss)(params, x, y), max_norm))

    if snapshot.is_batch:
        is_shared = params[0].ndim == snapshot.theta[0].ndim
        dimensions = (None if is_shared else 0, 0, 0)
        with torch.set_grad_enabled(differentiable):
            by_task: Tensors = vmap(clipped_gradient, dimensions, randomness="different")(params, *examples)
            return by_task
    with torch.enable_grad():
        x, y = examples
        loss = snapshot.loss(params, x, y)
        g = torch.autograd.grad(loss, params, create_graph=differentiable, materialize_grads=True)
        return list(clipped(g, max_norm))


def loss_and_gradients(snapshot: LearnerSnapshot, params: Tensors, tasks: Task) -> tuple[Tensor, Tensors]:
    """Return the query loss, summed over tasks, and its gradient, without a graph; for a batch, that of each task."""
    examples = tasks.support_x, tasks.query_x, tasks.query_y
    if snapshot.is_batch:
        with torch.no_grad():
            v, losses = vmap(grad_and_value(snapshot.query_loss), randomness="different")(params, *examples)
        return losses.sum(), v
    with torch.enable_grad():
        loss = snapshot._replace(model=snapshot.query_model).query_loss(params, *examples)
    return loss.detach(), list(torch.autograd.grad(loss, params, materialize_grads=True))


def hessian_vector_product(g: Tensors, params: Tensors, direction: Tensors) -> Tensors:
    """Return H z for z = ``direction``, as the derivative in the parameters of the sum of g * z.

    Args:
        g: the gradient of a loss in the parameters, with its graph.
        params: the parameters.
        direction: z, in the shapes of g.
    """
    pairs = [(gradient, z) for gradient, z in zip(g, direction, strict=True) if gradient.requires_grad]
    if not pairs:  # a loss that is linear in its parameters
        return [torch.zeros_like(p) for p in params]
    differentiable, weights = zip(*pairs, strict=True)
    return list(torch.autograd.grad(differentiable, params, weights, materialize_grads=True))


def leaves(tensors: Iterable[Tensor]) -> Tensors:
    """Return the tensors as the start of a new graph."""
    return [tensor.detach().requires_grad_() for tensor in tensors]


def detached(tensors: Iterable[Tensor]) -> Tensors:
    """Return the tensors without their graph."""
    return [tensor.detach() for tensor in tensors]


def conjugated(tensors: Tensors) -> Tensors:
    """Return the complex conjugates, which a derivative takes of complex factors; real tensors stay as they are."""
    return [tensor.conj_physical() if tensor.is_complex() else tensor for tensor in tensors]


def summed(parts: Iterable[MetaGradient]) -> Tensors:
    """Return the sum of the parts, added in order, as one list: the loss, its gradients in theta and in alpha."""
    total: Tensors = []
    for part in parts:
        new = [part.loss, *part.theta, *part.alpha]
        with torch.no_grad():  # up to PyTorch 2.4, a gradient of zeros that was filled in requires one itself
            total = FOREACH.add(total, new) if total else new
    return total


def accumulate(snapshot: LearnerSnapshot, parts: Iterable[MetaGradient]) -> Tensor:
    """Add the sum of the parts to ``.grad`` of theta and alpha, and return their loss."""
    loss, *total = summed(parts)
    for variable, gradient in zip(snapshot.variables, total, strict=True):
        if gradient.stride() != variable.stride():  # the optimiser's fused kernel needs both in the same layout
            gradient = torch.empty_like(variable).copy_(gradient)
        variable.grad = gradient if variable.grad is None else variable.grad + gradient
    return loss
