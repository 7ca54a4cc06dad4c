"""Inputs for a run: made up from a seed, whole arrays of an .npz, typed lists, or the first sample of a visitor's file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lib.errors import InvalidFile, InvalidValue
from lib.model_inputs import arrays, fitting, made_up, samples
from lib.model_inputs import sizes as sizes_
from lib.model_inputs.signature import Signature, Value, dtype
from lib.reports.words import listed, note

MAX_BYTES = 1 << 30  # of all inputs together
Arrays = dict[str, np.ndarray]


@dataclass(slots=True)
class SamplesFile:
    """A file of samples as it was uploaded. ``preprocessing`` changes what is guessed for pictures."""

    path: Path
    name: str
    preprocessing: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class RunInputs:
    """``sizes`` of the dynamic dimensions, ``note`` on them, and what is known of the sample."""

    values: Arrays
    sizes: dict[str, int] | None = None
    note: str = ""
    samples: dict[str, Any] | None = None


def random_inputs(
    signature: Signature, chosen: dict[str, int], given: dict[str, int], seed: int, hints: dict[str, Any]
) -> RunInputs:
    """Random inputs that look like real ones: pictures with edges where it takes pictures, noise where nothing is known."""
    total = 0
    for value in signature.inputs:
        shape = [chosen.get(d, 1) if isinstance(d, str) else d for d in value.shape]
        bytes_ = dtype(value.dtype).itemsize
        for d in shape:
            bytes_ *= d
        total += bytes_
        if total > MAX_BYTES:
            allowed = f"at most {MAX_BYTES >> 20} MB of inputs; set smaller sizes"
            raise InvalidValue("inputs", f"{value.name[:80]} {shape}", allowed)
    values = made_up.inputs(signature, chosen, np.random.default_rng(seed), hints=hints)
    return RunInputs(values, chosen, note(chosen, given))


def given_inputs(inputs: Path | dict[str, Any], signature: Signature, fixed: dict[str, int]) -> RunInputs:
    """An array for each input, as it is. Raises InvalidFile with what the model takes."""
    left_out = f"{listed(fixed)}: ignored, since the inputs have their own sizes." if fixed else ""
    if isinstance(inputs, Path):
        found: dict[str, Any] = arrays.npz(inputs)
        if len(signature.inputs) == 1 and list(found) == ["arr_0"]:
            found = {signature.inputs[0].name: found["arr_0"]}
        found.pop(fitting.LABELS, None)  # an .npz of samples may have theirs
    else:
        found = dict(inputs)
    wanted = [v.name for v in signature.inputs]
    for some, words in (([n for n in wanted if n not in found], "lack"), ([n for n in found if n not in wanted], "have")):
        if some:
            names = ", ".join(repr(n[:100]) for n in some[:5])
            too = " too" if words == "have" else ""
            raise InvalidFile(f"The inputs {words} {names}{too}. The model takes: {fitting.inputs_text(signature)}.")
    return RunInputs({v.name: _array(v, found[v.name], signature) for v in signature.inputs}, note=left_out)


def _array(value: Value, given: Any, signature: Signature) -> np.ndarray:
    kind = dtype(value.dtype)
    if isinstance(given, list | int | float | bool):
        try:
            found = np.array(given, kind)
            if kind.kind in "iu" and np.array(given, object).astype(float).tolist() != found.astype(float).tolist():
                raise ValueError  # 1.7 is no token id
        except (ValueError, TypeError, OverflowError, RecursionError):
            words = f"The values of {value.name[:100]!r} are not an array of {value.dtype}."
            raise InvalidFile(f"{words} The model takes: {fitting.inputs_text(signature)}.") from None
    else:
        found = given
    same = isinstance(found, np.ndarray) and found.dtype == kind and found.ndim == len(value.shape)
    if not same or any(isinstance(d, int) and d != n for d, n in zip(value.shape, found.shape, strict=True)):
        is_ = f"{found.dtype} {list(found.shape)}" if isinstance(found, np.ndarray) else type(found).__name__
        raise InvalidFile(f"{value.name[:100]!r} is {is_}. The model takes: {fitting.inputs_text(signature)}.")
    return np.ascontiguousarray(found)


def first_sample(
    file: SamplesFile, signature: Signature, fixed: dict[str, int], hints: dict[str, Any], refusal: Any
) -> RunInputs:
    """The first sample. If the model refuses its sizes, the file is read again at sizes that it accepts."""

    def read(at: dict[str, int]) -> samples.Samples:
        return samples.read(file.path, file.name, signature, preprocessing=file.preprocessing or None, sizes=at, hints=hints)

    def accepts(at: dict[str, int]) -> str:
        try:
            return refusal(read(at).rows[0])
        except (InvalidFile, ValueError) as error:
            return str(error)

    one, note_on_sizes = read(fixed), ""
    if signature.symbols() and refusal(one.rows[0]):
        answer = sizes_.search(signature, fixed, accepts)
        if answer.accepted:
            one, note_on_sizes = read(answer.sizes), answer.note
    row, at = one.rows[0], {}
    for value in signature.inputs:
        if row[value.name].ndim == len(value.shape):
            at |= {s: n for s, n in zip(value.shape, row[value.name].shape, strict=True) if isinstance(s, str)}
    about = {
        "name": file.name,
        "count": len(one.rows),
        "run": 1,
        "kind": one.kind,
        "labels": one.labels is not None,
        "label": one.classes[one.labels[0]] if one.labels and one.classes else None,
        "preprocessing": one.preprocessing.as_dict() if one.preprocessing else None,
        "messages": one.messages,
    }
    note_on_sizes = note_on_sizes or (f"{listed(at)}, as the sample has them." if at else "")
    if left := {name: size for name, size in fixed.items() if at.get(name) != size}:
        note_on_sizes += f" {listed(left)}: ignored, since one sample is run."
    return RunInputs(row, at, note_on_sizes, about)
