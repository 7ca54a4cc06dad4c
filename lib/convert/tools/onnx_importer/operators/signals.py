"""Signal operators: Fourier transforms, window functions, mel weights."""

from __future__ import annotations

import math
from typing import Any

import torch

from lib.convert.tools.onnx_importer.operators.elementwise import element_type
from lib.convert.tools.onnx_importer.registry import op
from lib.convert.tools.onnx_importer.values import Value

Tensor = torch.Tensor


@op("DFT", raw=(1, 2))
def dft(call: Any, x: Tensor, length: Value = None, axis: Value = None) -> Tensor:
    default = call.attr("axis", 1) if call.version < 20 else -2
    dim = (default if axis is None else call.ints(axis)[0]) % x.ndim
    count = None if length is None else call.ints(length)[0]
    inverse, half = bool(call.attr("inverse", 0)), bool(call.attr("onesided", 0))
    if inverse and half:  # one-sided spectrum to real signal
        return torch.fft.irfft(torch.view_as_complex(x.contiguous()), count, dim).unsqueeze(-1)
    z = torch.view_as_complex(x.contiguous()) if x.shape[-1] == 2 else torch.complex(x[..., 0], torch.zeros_like(x[..., 0]))
    out = torch.fft.ifft(z, count, dim) if inverse else torch.fft.fft(z, count, dim)
    if half:
        out = out.narrow(dim, 0, out.shape[dim] // 2 + 1)
    return torch.view_as_real(out)


@op("STFT", raw=(1, 3))
def stft(call: Any, x: Tensor, step: Value, window: Tensor | None = None, length: Value = None) -> Tensor:
    (hop,) = call.ints(step)
    size = call.ints(length)[0] if length is not None else window.shape[0]  # type: ignore[union-attr]
    z = x if x.ndim == 3 else x.unsqueeze(-1)
    frames = z.unfold(1, size, hop).transpose(2, 3)  # (batch, frames, size, 1 or 2)
    if window is not None:
        frames = frames * window.unsqueeze(-1)
    imaginary = frames[..., 1] if frames.shape[-1] == 2 else torch.zeros_like(frames[..., 0])
    out = torch.fft.fft(torch.complex(frames[..., 0], imaginary), dim=-1)
    return torch.view_as_real(out[..., : size // 2 + 1] if call.attr("onesided", 1) else out)


COSINES = {"HannWindow": (0.5, -0.5, 0.0), "HammingWindow": (25 / 46, -21 / 46, 0.0), "BlackmanWindow": (0.42, -0.5, 0.08)}


@op(*COSINES, raw=True)
def window(call: Any, size: Value) -> Tensor:
    (count,) = call.ints(size)
    a, b, c = COSINES[call.node.op]
    period = count if call.attr("periodic", 1) else count - 1
    k = torch.arange(count) * (2 * math.pi / period)
    return (a + b * torch.cos(k) + c * torch.cos(2 * k)).to(element_type(call, call.attr("output_datatype", 1)))


@op("MelWeightMatrix", raw=True)
def mel_weights(call: Any, bins: Value, length: Value, rate: Value, low: Value, high: Value) -> Tensor:
    count, size, samples = int(call.number(bins)), int(call.number(length)), call.number(rate)
    lowest_mel, highest_mel = (2595 * math.log10(1 + call.number(edge) / 700) for edge in (low, high))
    mels = [lowest_mel + k * (highest_mel - lowest_mel) / (count + 2) for k in range(count + 2)]
    at = [int((size + 1) * 700 * (10 ** (m / 2595) - 1) // samples) for m in mels]
    out = torch.zeros(size // 2 + 1, count, dtype=torch.float64)
    for k in range(count):
        left, middle, right = at[k : k + 3]
        if middle == left:
            out[middle, k] = 1
        for j in range(left, middle + 1 if middle > left else left):
            out[j, k] = (j - left) / (middle - left)
        for j in range(middle, right):
            out[j, k] = (right - j) / (right - middle)
    return out.to(element_type(call, call.attr("output_datatype", 1)))
