"""Mixed precision on a CPU: scaling keeps small gradients, and an overflow costs a step and not the weights."""

from __future__ import annotations

import pytest
import torch

from lib.errors import InvalidValue
from lib.train.torch_training.precision import Precision, check

CPU = torch.device("cpu")


def gradient(scale: float) -> torch.Tensor:
    """Of one weight, by a float16 layer whose output counts only 1e-8."""
    torch.manual_seed(0)
    layer, x = torch.nn.Linear(8, 4), torch.randn(16, 8)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.0)
    precision = Precision("fp16", CPU, scale=scale)
    with precision.autocast():
        out = layer(x)
    assert out.dtype is torch.float16
    precision.step((out.float() * 1e-8).mean(), optimizer, list(layer.parameters()))
    assert layer.weight.grad is not None and layer.weight.grad.dtype is torch.float32
    return layer.weight.grad


def test_gradients_that_vanish_in_float16_survive_with_scaling() -> None:
    assert gradient(scale=1.0).abs().max() == 0
    kept = gradient(scale=2.0**16)
    assert 1e-11 < kept.abs().max() < 1e-8
    torch.manual_seed(0)
    layer, x = torch.nn.Linear(8, 4), torch.randn(16, 8)
    (layer(x) * 1e-8).mean().backward()
    torch.testing.assert_close(kept, layer.weight.grad, rtol=0.02, atol=1e-12)  # float32's, within float16's rounding


def test_an_overflow_skips_the_step_and_lowers_the_scale() -> None:
    layer = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    precision = Precision("fp16", CPU)
    before, scale = [p.detach().clone() for p in layer.parameters()], precision.scaler.get_scale()
    with precision.autocast():
        out = layer(torch.ones(1, 2))
    assert not precision.step(out.float().sum() * 1e30, optimizer, list(layer.parameters()))
    assert precision.scaler.get_scale() == scale / 2
    for was, now in zip(before, layer.parameters(), strict=True):
        assert torch.equal(was, now)
    with precision.autocast():
        out = layer(torch.ones(1, 2))
    assert precision.step(out.float().sum(), optimizer, list(layer.parameters()))
    assert not torch.equal(before[0], layer.weight)


@pytest.mark.parametrize(("kind", "dtype"), [("no", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_one_path_for_all(kind: str, dtype: torch.dtype) -> None:
    precision = Precision(kind, CPU)
    with precision.autocast():
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype is dtype
    assert precision.scaler.is_enabled() == (kind == "fp16")


def test_float16_needs_cuda() -> None:
    with pytest.raises(InvalidValue, match="fp16 needs a CUDA device"):
        check("fp16", CPU)
    check("fp16", torch.device("cuda"))
    check("bf16", CPU)
