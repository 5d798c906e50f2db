"""A second step, on the queries as well, with the answers after the first step as their labels (chapter 8)."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from metasgd.evaluation import Method
from metasgd.meta_sgd import MetaSGD


def with_second_step(learner: MetaSGD) -> Method:
    """Return the method that answers, and then takes one step from theta on the support set and the queries together.

    The labels of the queries are the probabilities of the first answers, and a query counts by the largest of them:
    the loss is the mean of the cross-entropy over the support set plus the mean over the queries, weighted in this
    way. This is self-training. All queries of a task must be at hand at once, and each has a say in the answers to
    the others, far more than by batch normalisation; so its results have a row of their own. It is not told how many
    queries each class has.

    Args:
        learner: a trained classifier, whose rates are used for the second step, too.

    Returns:
        a method of one task, which takes ``support_x`` (examples, ...), ``support_y`` int64 (examples,) and
        ``query_x`` (queries, ...), and returns logits of shape (queries, ways).
    """

    def method(support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        with torch.no_grad():
            answers = learner(support_x, support_y, query_x).softmax(-1)
        labels = torch.cat([F.one_hot(support_y, answers.shape[-1]).to(answers), answers])
        shares = torch.full_like(answers[:1, 0], 1 / len(support_x)).expand(len(support_x))
        weights = torch.cat([shares, answers.amax(-1) / len(query_x)])
        theta = {name: learner.theta[name].detach().requires_grad_() for name in learner.alpha}
        with torch.enable_grad():
            found = functional_call(learner.model, theta, (torch.cat([support_x, query_x]),))
            loss = (F.cross_entropy(found, labels, reduction="none") * weights).sum() / weights.sum()
            gradients = torch.autograd.grad(loss, list(theta.values()))
        moved = zip(theta.items(), gradients, strict=True)
        adapted = {name: (value - learner.alpha[name] * gradient).detach() for (name, value), gradient in moved}
        predicted: Tensor = learner.predict(query_x, adapted, support_x)
        return predicted

    return method
