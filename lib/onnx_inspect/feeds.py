"""Inputs for a run: random ones from a seed that suit dtype and name, an .npz file, or typed lists."""

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
MAX_NAMED, MAX_NAME = 20, 100  # per message: inputs named, characters of each name
STRING = 64  # bytes of a short Python string
UNKNOWN_RANK = (1,)


def input_types(model: ModelProto) -> dict[str, shapes.Type]:
    """Return the inputs that a caller must feed, in order: the graph's inputs without initializers."""
    initializers = {t.name for t in model.graph.initializer} | {s.values.name for s in model.graph.sparse_initializer}
    return {v.name: shapes.of(v.type) for v in model.graph.input if v.name not in initializers}


@dataclass(slots=True)
class RunInputs:
    """Inputs for a run. ``sizes``: of the dynamic dimensions if they were chosen here; ``note``: how they were chosen."""

    values: dict[str, np.ndarray]
    sizes: dict[str, int] | None = None
    note: str = ""
    samples: dict[str, Any] | None = None


def random_inputs_that_run(
    model: ModelProto, given: dict[str, int], seed: int, refusal: Callable[[dict[str, np.ndarray]], str]
) -> RunInputs:
    """Return random inputs at the sizes ``given`` or plausible ones, or at other sizes if ``refusal`` rejects those."""

    def at(sizes: dict[str, int]) -> dict[str, np.ndarray]:
        return random_inputs(shapes.bind(model, sizes)[0], seed)

    sizes, note = dynamic.plausible(model, given)
    values = at(sizes)
    free = shapes.symbols(model).keys() - given.keys()
    if free and refusal(values) and (result := dynamic.search(model, given, lambda some: refusal(at(some)))) is not None:
        sizes, note = result
        values = at(sizes)
    return RunInputs(values, sizes, note)


def random_inputs(bound: ModelProto, seed: int) -> dict[str, np.ndarray]:
    """Return random arrays for all inputs of a model with fixed sizes. The same seed gives the same arrays.

    Floats are standard normal. Integers are 0 to 9, which are valid token ids and indices nearly everywhere, but
    ``*mask*`` is 1 and ``*position*`` counts up. Booleans are True.
    Raises InvalidValue for other inputs (a sequence, an optional, an unknown type).
    """
    rng = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray] = {}
    total = 0
    for name, kind in input_types(bound).items():
        if kind.kind != "tensor":
            raise InvalidValue("inputs", name, f"tensors; this input is a {kind.dtype}, which cannot be generated")
        shape = tuple(d if isinstance(d, int) else 1 for d in (UNKNOWN_RANK if kind.shape is None else kind.shape))
        dtype = _dtype(kind)
        total += prod(shape) * (STRING if dtype.hasobject else dtype.itemsize)
        # numpy checks the byte count of an empty array without its zero dimensions
        if total > MAX_BYTES or prod(max(d, 1) for d in shape) * dtype.itemsize >= 1 << 62:
            raise InvalidValue(
                "inputs", f"{name} {list(shape)}", f"at most {MAX_BYTES >> 20} MB of inputs; set smaller sizes"
            )
        arrays[name] = _values(rng, name, kind, shape)
    return arrays


def _dtype(kind: shapes.Type) -> np.dtype:
    if kind.data_type == onnx.TensorProto.STRING:
        return np.dtype(object)
    try:
        return onnx.helper.tensor_dtype_to_np_dtype(kind.data_type)
    except KeyError:
        raise InvalidValue("inputs", dtype_name(kind.data_type), "dtypes that onnx defines") from None


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
    """Read the arrays of an ``.npz`` by input name. A single unnamed array is used for the only input.

    Raises InvalidFile for anything but plain arrays (pickled arrays are never loaded) and for names, dtypes or shapes
    that do not match the model; the message lists its inputs.
    """
    inputs = input_types(model)
    try:
        arrays = npz(path, empty=not inputs)
    except InvalidFile as error:
        raise InvalidFile(f"The inputs are not an .npz file with plain arrays. {error.message}") from None
    if len(inputs) == 1 and list(arrays) == ["arr_0"]:
        arrays = {next(iter(inputs)): arrays["arr_0"]}
    takes = _takes(inputs)
    if missing := [n for n in inputs if n not in arrays]:
        raise InvalidFile(f"The .npz lacks {_names(missing)}. The model takes: {takes}.")
    if extra := [n for n in arrays if n not in inputs and n != LABELS]:  # an .npz of samples may have labels
        raise InvalidFile(f"The .npz also has {_names(extra)}. The model takes: {takes}.")
    return {name: _fits(name, kind, arrays[name], takes) for name, kind in inputs.items()}


def from_lists(given: dict[str, Any], model: ModelProto) -> dict[str, np.ndarray]:
    """Convert nested lists by input name, such as ``{"X": [[1, 2, 3, 4]]}``, to arrays. Raises as ``from_npz`` does."""
    inputs = input_types(model)
    takes = _takes(inputs)
    if missing := [n for n in inputs if n not in given]:
        raise InvalidFile(f"The values lack {_names(missing)}. The model takes: {takes}.")
    if extra := [n for n in given if n not in inputs]:
        raise InvalidFile(f"The values also have {_names(extra)}. The model takes: {takes}.")
    arrays = {}
    for name, kind in inputs.items():
        try:
            value = np.array(given[name], _dtype(kind))
            if (
                value.dtype.kind in "iu"
                and np.array(given[name], object).astype(float).tolist() != value.astype(float).tolist()
            ):
                raise ValueError  # for example 1.7 as a token id
        except (ValueError, TypeError, OverflowError, RecursionError):
            raise InvalidFile(
                f"The values of {cut(name, MAX_NAME)!r} are not an array of {kind.dtype}. The model takes: {takes}."
            ) from None
        arrays[name] = _fits(name, kind, value, takes)
    return arrays


def _names(names: list[str]) -> str:
    return ", ".join(repr(cut(n, MAX_NAME)) for n in names[:5])


def _takes(inputs: dict[str, shapes.Type]) -> str:
    descriptions = [f"{cut(n, MAX_NAME)} {k.dtype} {_shape(k)}" for n, k in islice(inputs.items(), MAX_NAMED)]
    return "; ".join(descriptions) + "; …" * (len(inputs) > MAX_NAMED) or "no inputs"


def _fits(name: str, kind: shapes.Type, value: np.ndarray, takes: str) -> np.ndarray:
    dtype = _dtype(kind)
    if dtype.hasobject and value.dtype.kind == "U":
        value = value.astype(object)
    if value.dtype.kind == "V" and value.dtype.itemsize == dtype.itemsize:
        value = value.view(dtype)  # .npy files store bfloat16 and similar dtypes as raw bytes
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
    """Return the name, dtype and shape of each array."""
    return [{"name": n, "dtype": v.dtype.name, "shape": list(v.shape)} for n, v in values.items()]
