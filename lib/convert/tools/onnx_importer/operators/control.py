"""Control flow: If, Loop and Scan are unrolled, so their condition, trip count and length must be known."""

from __future__ import annotations

from typing import Any

import torch

from lib.convert.tools.onnx_importer.registry import op
from lib.convert.tools.onnx_importer.values import Known, Value, as_tensor, known

Tensor = torch.Tensor
MAX_STEPS = 2000  # longer loops unroll to programs too large to export


@op("If", raw=True)
def if_(call: Any, condition: Value) -> tuple[Value, ...]:
    branch = call.attr("then_branch" if bool(call.number(condition)) else "else_branch")
    return tuple(call.module.run(branch, dict(call.scope)))


@op("Loop", raw=True)
def loop(call: Any, count: Value = None, condition: Value = None, *states: Value) -> tuple[Value, ...]:
    body = call.attr("body")
    max_steps = MAX_STEPS if count is None else int(call.number(count))
    if max_steps > MAX_STEPS and condition is None:
        raise call.fail(f"{max_steps} steps; at most {MAX_STEPS} are unrolled")
    carried, collected = list(states), []
    going, k = condition is None or bool(call.number(condition)), 0
    while going and k < max_steps:
        if k == MAX_STEPS:
            raise call.fail(f"more than {MAX_STEPS} steps")
        scope = dict(call.scope) | dict(zip(body.inputs, [known(k), _flag(), *carried], strict=True))
        going_on, *out = call.module.run(body, scope)
        carried, new = out[: len(carried)], out[len(carried) :]
        collected.append(new)
        k += 1
        if k < max_steps:
            going = bool(call.number(going_on))
    if not collected and len(body.outputs) - 1 > len(carried):
        raise call.fail("collected outputs of a loop with zero iterations are unknown")
    stacked = [torch.stack([as_tensor(v) for v in column]) for column in zip(*collected, strict=True)] if collected else []
    return (*carried, *stacked)


def _flag() -> Known:
    return known(True, torch.bool)


@op("Scan", raw=True)
def scan(call: Any, *given: Value) -> tuple[Value, ...]:
    body, input_count = call.attr("body"), call.attr("num_scan_inputs")
    if call.version < 9:
        return _scan_8(call, body, input_count, *given)
    values = [as_tensor(v) for v in given]
    states, sequences = values[: len(values) - input_count], values[len(values) - input_count :]
    axes = call.attr("scan_input_axes") or [0] * input_count
    back = call.attr("scan_input_directions") or [0] * input_count
    return _scan(call, body, states, sequences, axes, back)


def _scan(call: Any, body: Any, states: list, sequences: list, axes: list[int], back: list[int]) -> tuple[Value, ...]:
    length = sequences[0].shape[axes[0]]
    if not isinstance(length, int):
        raise call.fail("over a dynamic dimension")
    if length > MAX_STEPS:
        raise call.fail(f"{length} steps; at most {MAX_STEPS} are unrolled")
    rows: list[list[Value]] = []
    for k in range(length):
        items = [x.select(a, length - 1 - k if b else k) for x, a, b in zip(sequences, axes, back, strict=True)]
        out = call.module.run(body, dict(call.scope) | dict(zip(body.inputs, [*states, *items], strict=True)))
        states, row = out[: len(states)], [as_tensor(v) for v in out[len(states) :]]
        rows.append(row)
    count = len(body.outputs) - len(states)
    axes_out = call.attr("scan_output_axes") or [0] * count
    back_out = call.attr("scan_output_directions") or [0] * count
    columns = [list(c) for c in zip(*rows, strict=True)]
    stacked = [torch.stack(c[::-1] if b else c, a) for c, a, b in zip(columns, axes_out, back_out, strict=True)]
    return (*states, *stacked)


def _scan_8(call: Any, body: Any, taken: int, lengths: Value, *given: Value) -> tuple[Value, ...]:
    """Scan of opset 8, with a leading batch axis and the lengths of the batch's sequences."""
    if lengths is not None:
        raise call.fail("sequences of different lengths")
    values = [as_tensor(v) for v in given]
    states, sequences = values[: len(values) - taken], values[len(values) - taken :]
    back = call.attr("directions") or [0] * taken
    batch = []
    for b in range(sequences[0].shape[0]):
        batch.append(_scan(call, body, [s[b] for s in states], [x[b] for x in sequences], [0] * taken, back))
    return tuple(torch.stack([as_tensor(v) for v in column]) for column in zip(*batch, strict=True))
