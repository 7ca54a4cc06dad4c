"""RNN, GRU and LSTM: with torch's own functions if they support the variant, otherwise step by step."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from lib.convert.tools.onnx_importer.registry import op

Tensor = torch.Tensor
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
DEFAULT = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}

Activation = Callable[[Tensor, float, float], Tensor]
# (function of x, alpha, beta; default alpha; default beta), as in the ONNX operators of these names. None: not a parameter
ACTIVATIONS: dict[str, tuple[Activation, float | None, float | None]] = {
    "sigmoid": (lambda x, a, b: torch.sigmoid(x), None, None),
    "tanh": (lambda x, a, b: torch.tanh(x), None, None),
    "relu": (lambda x, a, b: F.relu(x), None, None),
    "softsign": (lambda x, a, b: F.softsign(x), None, None),
    "softplus": (lambda x, a, b: F.softplus(x), None, None),
    "affine": (lambda x, a, b: a * x + b, 1.0, 0.0),
    "leakyrelu": (lambda x, a, b: F.leaky_relu(x, a), 0.01, None),
    "elu": (lambda x, a, b: F.elu(x, a), 1.0, None),
    "hardsigmoid": (lambda x, a, b: (a * x + b).clamp(0, 1), 0.2, 0.5),
    "scaledtanh": (lambda x, a, b: a * torch.tanh(b * x), 1.0, 1.0),
    "thresholdedrelu": (lambda x, a, b: torch.where(x > a, x, torch.zeros_like(x)), 1.0, None),
}


def activations(call: Any, names: list[str]) -> list[Callable[[Tensor], Tensor]]:
    """Returns the node's activations by name. ``activation_alpha`` and ``activation_beta`` list values in order, only for
    activations that have such a parameter; what they leave out is its default. Raises Unsupported for an unknown name."""
    alphas, betas = iter(call.attr("activation_alpha") or []), iter(call.attr("activation_beta") or [])
    out = []
    for name in names:
        if name.lower() not in ACTIVATIONS:
            raise call.fail(f"activation {name}")
        function, alpha, beta = ACTIVATIONS[name.lower()]
        a = 0.0 if alpha is None else next(alphas, alpha)
        b = 0.0 if beta is None else next(betas, beta)
        out.append(partial(_activate, function, a, b))
    return out


def _activate(function: Activation, alpha: float, beta: float, x: Tensor) -> Tensor:
    return function(x, alpha, beta)


class Cell:
    """One direction, with the gates in ONNX's order (LSTM: i o f c; GRU: z r h). ``step`` advances by one time step."""

    def __init__(self, call: Any, k: int, w: Tensor, r: Tensor, b: Tensor | None, p: Tensor | None) -> None:
        self.call, self.kind, self.size = call, call.node.op, r.shape[-1]
        gates, count = GATES[self.kind], len(DEFAULT[self.kind])
        self.w, self.r = w[k], r[k]
        zero = torch.zeros(gates * self.size, dtype=w.dtype)
        self.wb, self.rb = (zero, zero) if b is None else (b[k, : gates * self.size], b[k, gates * self.size :])
        self.p = None if p is None else p[k]
        names = call.attr("activations") or DEFAULT[self.kind] * (k + 1)
        self.acts = activations(call, names)[k * count : (k + 1) * count]

    def clipped(self, x: Tensor) -> Tensor:
        bound = self.call.attr("clip")
        return x if bound is None else x.clamp(-bound, bound)

    def step(self, x: Tensor, h: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if self.kind == "RNN":
            return self.acts[0](self.clipped(F.linear(x, self.w, self.wb) + F.linear(h, self.r, self.rb))), None
        if self.kind == "GRU":
            return self._gru(x, h), None
        assert c is not None
        i, o, f, g = (F.linear(x, self.w, self.wb) + F.linear(h, self.r, self.rb)).chunk(4, -1)
        if self.p is not None:
            pi, po, pf = self.p.chunk(3)
            i, f = i + pi * c, f + pf * c
        i = self.acts[0](self.clipped(i))
        f = 1 - i if self.call.attr("input_forget", 0) else self.acts[0](self.clipped(f))
        c = f * c + i * self.acts[1](self.clipped(g))
        o = self.acts[0](self.clipped(o + po * c if self.p is not None else o))
        return o * self.acts[2](c), c

    def _gru(self, x: Tensor, h: Tensor) -> Tensor:
        xz, xr, xh = F.linear(x, self.w, self.wb).chunk(3, -1)
        rz, rr, rh = self.r.chunk(3)
        bz, br, bh = self.rb.chunk(3)
        z = self.acts[0](self.clipped(xz + F.linear(h, rz, bz)))
        r = self.acts[0](self.clipped(xr + F.linear(h, rr, br)))
        inner = r * F.linear(h, rh, bh) if self.call.attr("linear_before_reset", 0) else F.linear(r * h, rh, bh)
        return (1 - z) * self.acts[1](self.clipped(xh + inner)) + z * h


@op("RNN", "GRU", "LSTM")
def recurrent(
    call: Any, x: Tensor, w: Tensor, r: Tensor, b: Tensor | None = None, lengths: Tensor | None = None,
    h0: Tensor | None = None, c0: Tensor | None = None, p: Tensor | None = None,
) -> tuple[Tensor, ...]:  # fmt: skip
    batch_first, directions, size = call.attr("layout", 0), w.shape[0], r.shape[-1]
    if batch_first:
        x = x.transpose(0, 1)
        h0 = None if h0 is None else h0.transpose(0, 1)
        c0 = None if c0 is None else c0.transpose(0, 1)
    start = torch.zeros(directions, x.shape[1], size, dtype=x.dtype)
    h0, c0 = start if h0 is None else h0, start if c0 is None else c0
    if _plain(call, lengths, p):
        y, h, c = _by_torch(call, x, w, r, b, h0, c0)
    else:
        y, h, c = _by_steps(call, x, w, r, b, lengths, h0, c0, p)
    if batch_first:
        y, h = y.permute(2, 0, 1, 3), h.transpose(0, 1)
        c = None if c is None else c.transpose(0, 1)
    return (y, h) if c is None else (y, h, c)


def _plain(call: Any, lengths: Tensor | None, p: Tensor | None) -> bool:
    """Whether torch supports this variant: default activations, no clipping, no peepholes, equal lengths."""
    names = [n.lower() for n in call.attr("activations") or []]
    usual = [n.lower() for n in DEFAULT[call.node.op]]
    if call.node.op == "GRU" and not call.attr("linear_before_reset", 0):
        return False
    if lengths is not None or p is not None or call.attr("clip") is not None or call.attr("input_forget", 0):
        return False
    return names in ([], usual, usual * 2) and call.attr("direction", "forward") != "reverse"


def _by_torch(call: Any, x: Tensor, w: Tensor, r: Tensor, b: Tensor | None, h0: Tensor, c0: Tensor) -> Any:
    gates, size, directions = GATES[call.node.op], r.shape[-1], w.shape[0]
    order = {"RNN": [0], "GRU": [1, 0, 2], "LSTM": [0, 2, 3, 1]}[call.node.op]  # torch: r z n; i f g o

    def own(value: Tensor) -> Tensor:
        return torch.cat([value[g * size : (g + 1) * size] for g in order])

    weights = []
    for k in range(directions):
        weights += [own(w[k]), own(r[k])]
        if b is not None:
            weights += [own(b[k, : gates * size]), own(b[k, gates * size :])]
    settings = (b is not None, 1, 0.0, False, directions == 2, False)
    if call.node.op == "LSTM":
        out, h, c = torch.lstm(x, (h0, c0), weights, *settings)
        # under torch.export (2.11) the states have an extra dimension, unless the batch is 1
        h, c = h.reshape(h0.shape), c.reshape(c0.shape)
    else:
        out, h = (torch.gru if call.node.op == "GRU" else torch.rnn_tanh)(x, h0, weights, *settings)
        c = None
    return out.reshape(x.shape[0], x.shape[1], directions, size).transpose(1, 2), h, c


def _by_steps(
    call: Any, x: Tensor, w: Tensor, r: Tensor, b: Tensor | None, lengths: Tensor | None, h0: Tensor, c0: Tensor,
    p: Tensor | None,
) -> Any:  # fmt: skip
    steps = x.shape[0]
    if not isinstance(steps, int):
        raise call.fail("in this form only for a fixed number of steps")
    rows, last_h, last_c = [], [], []
    for k in range(w.shape[0]):
        cell, h, c = Cell(call, k, w, r, b, p), h0[k], c0[k] if call.node.op == "LSTM" else None
        back = k == 1 or call.attr("direction", "forward") == "reverse"
        out: list[Tensor] = []
        for t in reversed(range(steps)) if back else range(steps):
            new_h, new_c = cell.step(x[t], h, c)
            if lengths is None:
                h, c, y = new_h, new_c, new_h
            else:
                here = (lengths > t).unsqueeze(-1)
                h, y = torch.where(here, new_h, h), torch.where(here, new_h, torch.zeros_like(new_h))
                c = None if c is None or new_c is None else torch.where(here, new_c, c)
            out.append(y)
        rows.append(torch.stack(out[::-1] if back else out))
        last_h.append(h)
        last_c.append(c)
    return torch.stack(rows, 1), torch.stack(last_h), torch.stack(last_c) if last_c[0] is not None else None
