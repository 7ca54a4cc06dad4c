"""Normalizations, and Dropout, which is the identity in inference."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from lib.convert.core.torch_values import TORCH
from lib.convert.tools.onnx_importer.operators.elementwise import ELEMENT_TYPES
from lib.convert.tools.onnx_importer.registry import op
from lib.convert.tools.onnx_importer.values import Value, to

Tensor = torch.Tensor


@op("BatchNormalization")
def batch_norm(call: Any, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor) -> Any:
    eps, momentum = call.attr("epsilon", 1e-5), call.attr("momentum", 0.9)
    training = call.attr("training_mode", 0) if call.version >= 14 else sum(map(bool, call.outputs)) > 1
    if call.version < 7 and not call.attr("is_test", 0):
        raise call.fail("training")
    per = [1, -1] + [1] * (x.ndim - 2)
    if not training:
        if x.dtype == scale.dtype == mean.dtype and x.ndim >= 2:
            return F.batch_norm(x, mean, var, scale, bias, False, 0.0, eps)
        out = (x.to(mean.dtype) - mean.reshape(per)) / torch.sqrt(var.reshape(per) + eps)
        return (out * scale.to(mean.dtype).reshape(per) + bias.to(mean.dtype).reshape(per)).to(x.dtype)
    if call.version < 14:
        raise call.fail("training before opset 14")
    axes = [k for k in range(x.ndim) if k != 1]
    batch_mean, batch_var = x.mean(axes), x.var(axes, correction=0)
    out = (x - batch_mean.reshape(per)) / torch.sqrt(batch_var.reshape(per) + eps) * scale.reshape(per) + bias.reshape(per)
    return out, mean * momentum + batch_mean * (1 - momentum), var * momentum + batch_var * (1 - momentum)


@op("InstanceNormalization")
def instance_norm(call: Any, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    axes, per = list(range(2, x.ndim)), [-1] + [1] * (x.ndim - 2)
    centred = x - x.mean(axes, keepdim=True)
    spread = (centred * centred).mean(axes, keepdim=True)
    return centred / torch.sqrt(spread + call.attr("epsilon", 1e-5)) * scale.reshape(per) + bias.reshape(per)


@op("LayerNormalization")
def layer_norm(call: Any, x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Any:
    axis, eps = call.attr("axis", -1) % x.ndim, call.attr("epsilon", 1e-5)
    stash = TORCH[ELEMENT_TYPES[call.attr("stash_type", 1)]]
    normalized_shape = x.shape[axis:]
    single_output, fixed = not call.wants(1) and not call.wants(2), all(isinstance(d, int) for d in normalized_shape)
    if (
        single_output
        and fixed
        and x.dtype == stash
        and scale.shape == normalized_shape
        and (bias is None or bias.shape == normalized_shape)
    ):
        return F.layer_norm(x, normalized_shape, scale, bias, eps)
    axes = list(range(axis, x.ndim))
    wide = to(x, stash)
    mean = wide.mean(axes, keepdim=True)
    inverse = torch.rsqrt(((wide - mean) ** 2).mean(axes, keepdim=True) + eps)
    out = to((wide - mean) * inverse, x.dtype) * scale
    return (out if bias is None else out + bias), mean, inverse


@op("RMSNormalization")
def rms_norm(call: Any, x: Tensor, scale: Tensor) -> Tensor:
    stash = TORCH[ELEMENT_TYPES[call.attr("stash_type", 1)]]
    wide, axes = to(x, stash), list(range(call.attr("axis", -1) % x.ndim, x.ndim))
    out = wide * torch.rsqrt((wide * wide).mean(axes, keepdim=True) + call.attr("epsilon", 1e-5))
    return to(out, scale.dtype) * scale


@op("GroupNormalization")
def group_norm(call: Any, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    groups, eps = call.attr("num_groups"), call.attr("epsilon", 1e-5)
    if call.version < 21:  # one scale per group
        each = x.shape[1] // groups
        scale, bias = scale.repeat_interleave(each), bias.repeat_interleave(each)
    return F.group_norm(x, groups, scale, bias, eps)


@op("LRN")
def lrn(call: Any, x: Tensor) -> Tensor:
    size, alpha, beta = call.attr("size"), call.attr("alpha", 1e-4), call.attr("beta", 0.75)
    before = (size - 1) // 2
    squares = F.pad((x * x).unsqueeze(1).flatten(3), (0, 0, before, size - 1 - before))
    sums = F.avg_pool2d(squares, (size, 1), stride=1, divisor_override=1).squeeze(1).reshape(x.shape)
    return x / (call.attr("bias", 1.0) + alpha / size * sums) ** beta


@op("LpNormalization")
def lp_norm(call: Any, x: Tensor) -> Tensor:
    axis, p = call.attr("axis", -1), call.attr("p", 2)
    norm = torch.linalg.vector_norm(x, p, axis, keepdim=True)
    return torch.where(norm == 0, torch.zeros_like(x), x / norm)


@op("MeanVarianceNormalization")
def mean_variance(call: Any, x: Tensor) -> Tensor:
    axes = call.attr("axes") or [0, 2, 3]
    centred = x - x.mean(axes, keepdim=True)
    return centred / (torch.sqrt((centred * centred).mean(axes, keepdim=True)) + 1e-9)


@op("Dropout", raw=(1, 2))
def dropout(call: Any, x: Tensor, ratio: Value = None, training: Value = None) -> Any:
    if training is not None and bool(call.number(training)) and (ratio is None or call.number(ratio) != 0):
        raise call.fail("training, which is random")
    if call.version < 7 and not call.attr("is_test", 0):
        raise call.fail("training, which is random")
    return x, torch.ones_like(x, dtype=torch.bool)
