"""Inputs for a run: made from a seed with values that suit dtype and shape, or taken from an .npz file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto

from lib.errors import InvalidFile, InvalidValue
from lib.model_inputs.arrays import npz
from lib.model_inputs.fitting import LABELS
from lib.onnx_inspect import dynamic, shapes
from lib.onnx_inspect.report import cut
from lib.onnx_model.open import dtype_name

MAX_BYTES = 1 << 30  # of all inputs together
MAX_NAMED, MAX_NAME = 20, 100  # inputs named in a message, characters of each name
STRING = 64  # bytes that a short Python string takes
UNKNOWN_RANK = (1,)


def input_types(model: ModelProto) -> dict[str, shapes.Type]:
    """Inputs that a caller must feed, in order."""
    held = {t.name for t in model.graph.initializer} | {s.values.name for s in model.graph.sparse_initializer}
    return {v.name: shapes.of(v.type) for v in model.graph.input if v.name not in held}


@dataclass(slots=True)
class RunInputs:
    """Inputs for a run: ``sizes`` of the dynamic dimensions where they were chosen here, ``note`` on them."""

    values: dict[str, np.ndarray]
    sizes: dict[str, int] | None = None
    note: str = ""
    samples: dict[str, Any] | None = None


def random_inputs_that_run(
    model: ModelProto, given: dict[str, int], seed: int, refusal: Callable[[dict[str, np.ndarray]], str]
) -> RunInputs:
    """Random inputs at the sizes ``given`` or plausible ones; if ``refusal`` gives a reason against those, at others."""

    def at(sizes: dict[str, int]) -> dict[str, np.ndarray]:
        return random_inputs(shapes.bind(model, sizes)[0], seed)

    sizes, note = dynamic.plausible(model, given)
    values = at(sizes)
    free = shapes.symbols(model).keys() - given.keys()
    if free and refusal(values) and (found := dynamic.search(model, given, lambda some: refusal(at(some)))) is not None:
        sizes, note = found
        values = at(sizes)
    return RunInputs(values, sizes, note)


def random_inputs(bound: ModelProto, seed: int) -> dict[str, np.ndarray]:
    """Arrays for every input of a model whose symbols are set; the same seed gives the same arrays.

    Floats are standard normal; integers 0 … 9, which are valid token ids and indices nearly everywhere,
    unless the name says what they are: ``*mask*`` is 1, ``*position*`` counts up; booleans are True.
    Raises InvalidValue for an input that has no such default (a sequence, an optional, an unknown type).
    """
    rng = np.random.default_rng(seed)
    out: dict[str, np.ndarray] = {}
    total = 0
    for name, kind in input_types(bound).items():
        if kind.kind != "tensor":
            raise InvalidValue("inputs", name, f"tensors; this input is a {kind.dtype}, which cannot be made up")
        shape = tuple(d if isinstance(d, int) else 1 for d in (UNKNOWN_RANK if kind.shape is None else kind.shape))
        dtype = _dtype(kind)
        total += prod(shape) * (STRING if dtype.hasobject else dtype.itemsize)
        # numpy counts bytes without the zeros
        if total > MAX_BYTES or prod(max(d, 1) for d in shape) * dtype.itemsize >= 1 << 62:
            raise InvalidValue(
                "inputs", f"{name} {list(shape)}", f"at most {MAX_BYTES >> 20} MB of inputs; set smaller sizes"
            )
        out[name] = _values(rng, name, kind, shape)
    return out


def _dtype(kind: shapes.Type) -> np.dtype:
    if kind.data_type == onnx.TensorProto.STRING:
        return np.dtype(object)
    try:
        return onnx.helper.tensor_dtype_to_np_dtype(kind.data_type)
    except KeyError:
        raise InvalidValue("inputs", dtype_name(kind.data_type), "dtypes that onnx knows") from None


def _values(rng: np.random.Generator, name: str, kind: shapes.Type, shape: tuple[int, ...]) -> np.ndarray:
    dtype, lower = _dtype(kind), name.lower()
    if dtype.hasobject:
        return np.array([f"word{k}" for k in rng.integers(0, 10, int(np.prod(shape)))], object).reshape(shape)
    if dtype == np.bool_:
        return np.ones(shape, np.bool_)
    if "mask" in lower and dtype.kind in "iu":
        return np.ones(shape, dtype)
    if "position" in lower and dtype.kind in "iu" and shape:
        return np.broadcast_to(np.arange(shape[-1]), shape).astype(dtype)
    if dtype.kind in "iu":
        return rng.integers(0, 10, shape).astype(dtype)
    if dtype.kind == "c":
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype)
    if dtype.kind == "V" or "int" in dtype.name:  # 4-bit and other ml_dtypes integers
        return rng.integers(0, 2, shape).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


def from_npz(path: Path, model: ModelProto) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` by input name; one array without a name goes to the only input.

    Raises InvalidFile for anything else than plain arrays (a pickled array is never opened) and for
    names, dtypes or ranks that the model does not take, saying what it takes.
    """
    inputs = input_types(model)
    try:
        found = npz(path, empty=not inputs)
    except InvalidFile as error:
        raise InvalidFile(f"The inputs are not an .npz file with plain arrays. {error.message}") from None
    if len(inputs) == 1 and list(found) == ["arr_0"]:
        found = {next(iter(inputs)): found["arr_0"]}
    takes = _takes(inputs)
    if missing := [n for n in inputs if n not in found]:
        raise InvalidFile(f"The .npz lacks {_names(missing)}. The model takes: {takes}.")
    if extra := [n for n in found if n not in inputs and n != LABELS]:  # an .npz of samples may have theirs
        raise InvalidFile(f"The .npz has {_names(extra)} too. The model takes: {takes}.")
    return {name: _fits(name, kind, found[name], takes) for name, kind in inputs.items()}


def from_lists(given: dict[str, Any], model: ModelProto) -> dict[str, np.ndarray]:
    """Nested lists by input name, as typed into a page: ``{"X": [[1, 2, 3, 4]]}``. Errors as in ``from_npz``."""
    inputs = input_types(model)
    takes = _takes(inputs)
    if missing := [n for n in inputs if n not in given]:
        raise InvalidFile(f"The values lack {_names(missing)}. The model takes: {takes}.")
    if extra := [n for n in given if n not in inputs]:
        raise InvalidFile(f"The values have {_names(extra)} too. The model takes: {takes}.")
    out = {}
    for name, kind in inputs.items():
        try:
            value = np.array(given[name], _dtype(kind))
            if (
                value.dtype.kind in "iu"
                and np.array(given[name], object).astype(float).tolist() != value.astype(float).tolist()
            ):
                raise ValueError  # 1.7 is no token id
        except (ValueError, TypeError, OverflowError, RecursionError):
            raise InvalidFile(
                f"The values of {cut(name, MAX_NAME)!r} are no array of {kind.dtype}. The model takes: {takes}."
            ) from None
        out[name] = _fits(name, kind, value, takes)
    return out


def _names(names: list[str]) -> str:
    return ", ".join(repr(cut(n, MAX_NAME)) for n in names[:5])


def _takes(inputs: dict[str, shapes.Type]) -> str:
    said = [f"{cut(n, MAX_NAME)} {k.dtype} {_shape(k)}" for n, k in islice(inputs.items(), MAX_NAMED)]
    return "; ".join(said) + "; …" * (len(inputs) > MAX_NAMED) or "no inputs"


def _fits(name: str, kind: shapes.Type, value: np.ndarray, takes: str) -> np.ndarray:
    dtype = _dtype(kind)
    if dtype.hasobject and value.dtype.kind == "U":
        value = value.astype(object)
    if value.dtype.kind == "V" and value.dtype.itemsize == dtype.itemsize:
        value = value.view(dtype)  # numpy's file format forgets the names of bfloat16 and its kin
    same_rank = kind.shape is None or len(kind.shape) == value.ndim
    fixed = (
        [] if kind.shape is None else [(d, n) for d, n in zip(kind.shape, value.shape, strict=False) if isinstance(d, int)]
    )
    if value.dtype != dtype or not same_rank or any(d != n for d, n in fixed):
        raise InvalidFile(f"{cut(name, MAX_NAME)!r} is {value.dtype} {list(value.shape)}. The model takes: {takes}.")
    return value


def _shape(kind: shapes.Type) -> str:
    return "any shape" if kind.shape is None else str([d if d is not None else "?" for d in kind.shape]).replace("'", "")


def described(values: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    return [{"name": n, "dtype": v.dtype.name, "shape": list(v.shape)} for n, v in values.items()]
