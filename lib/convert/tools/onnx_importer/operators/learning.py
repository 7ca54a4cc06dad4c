"""Losses and optimizer steps."""

from __future__ import annotations

from typing import Any

import torch

from lib.convert.tools.onnx_importer.operators.indexing import positive
from lib.convert.tools.onnx_importer.registry import op

Tensor = torch.Tensor
TRAINING = "ai.onnx.preview.training"


def nll(call: Any, log_p: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    """Negative log likelihood of ``target``, with the node's ``ignore_index`` and ``reduction``."""
    ignored, how = call.attr("ignore_index"), call.attr("reduction", "mean")
    target = target.to(torch.int64)
    mask = torch.ones_like(target, dtype=torch.bool) if ignored is None else target != ignored
    safe = torch.where(mask, positive(target, log_p.shape[1]), 0)
    loss = -torch.gather(log_p, 1, safe.unsqueeze(1)).squeeze(1)
    factor = torch.ones_like(loss) if weight is None else weight[safe]
    factor = torch.where(mask, factor, torch.zeros_like(factor))
    loss = loss * factor
    if how == "none":
        return loss
    return loss.sum() if how == "sum" else loss.sum() / factor.sum()


@op("NegativeLogLikelihoodLoss")
def nll_loss(call: Any, log_p: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    return nll(call, log_p, target, weight)


@op("SoftmaxCrossEntropyLoss")
def cross_entropy(call: Any, scores: Tensor, target: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
    log_p = torch.log_softmax(scores, 1)
    return nll(call, log_p, target, weight), log_p


@op("Adagrad", domain=TRAINING)
def adagrad(call: Any, rate: Tensor, count: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
    n = len(values) // 3
    decay, norm = call.attr("decay_factor", 0.0), call.attr("norm_coefficient", 0.0)
    step_rate, new_x, new_h = rate / (1 + count * decay), [], []
    for x, g, h in zip(values[:n], values[n : 2 * n], values[2 * n :], strict=True):
        g = norm * x + g
        h = h + g * g
        new_x.append(x - step_rate * g / (torch.sqrt(h) + call.attr("epsilon", 1e-6)))
        new_h.append(h)
    return (*new_x, *new_h)


@op("Adam", domain=TRAINING)
def adam(call: Any, rate: Tensor, count: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
    n = len(values) // 4
    alpha, beta, eps = call.attr("alpha", 0.9), call.attr("beta", 0.999), call.attr("epsilon", 1e-6)
    norm, after = call.attr("norm_coefficient", 0.0), call.attr("norm_coefficient_post", 0.0)
    new: tuple[list[Tensor], ...] = ([], [], [])
    for x, g, v, h in zip(*(values[k * n : (k + 1) * n] for k in range(4)), strict=True):
        g = norm * x + g
        v, h = alpha * v + (1 - alpha) * g, beta * h + (1 - beta) * g * g
        adjusted = rate * torch.sqrt(1 - beta**count) / (1 - alpha**count)
        step = torch.where(count > 0, adjusted, rate)
        out = x - step * v / (torch.sqrt(h) + eps)
        for part, value in zip(new, ((1 - after) * out, v, h), strict=True):
            part.append(value)
    return (*new[0], *new[1], *new[2])


@op("Momentum", domain=TRAINING)
def momentum(call: Any, rate: Tensor, count: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
    n = len(values) // 3
    alpha, norm, beta = call.attr("alpha"), call.attr("norm_coefficient"), call.attr("beta")
    new_x, new_v = [], []
    for x, g, v in zip(values[:n], values[n : 2 * n], values[2 * n :], strict=True):
        g = norm * x + g
        share = torch.where(count > 0, torch.full((), beta), torch.ones(()))
        v = alpha * v + share * g
        new_v.append(v)
        new_x.append(x - rate * (g + alpha * v if call.attr("mode") == "nesterov" else v))
    return (*new_x, *new_v)
