"""Containers of tensors: no graph, no inputs, every tensor an output. Pickles only through torch's restricted reader."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib.convert.formats.weights.safetensors_check import unreadable
from lib.errors import InvalidFile
from lib.model_inputs.signature import Signature, Value
from lib.onnx_model.words import clean

if TYPE_CHECKING:
    import torch

CHECKPOINT, SAFETENSORS = "model.pt", "model.safetensors"
WRAPPER = "state_dict"
MAX_DEPTH = 16
MAX_DIMENSIONS = 64  # numpy's
MAX_ENTRIES = 1_000_000


class WeightsRunner:
    """``model.pt`` or ``model.safetensors``; bfloat16 and float8 come out in ml_dtypes' types, bit for bit."""

    def __init__(self, folder: Path) -> None:
        if (folder / SAFETENSORS).is_file():
            tensors = read_safetensors(folder / SAFETENSORS)[0]
        else:
            tensors = read_checkpoint(folder / CHECKPOINT)[0]
        self._arrays = {name: to_numpy(name, tensor) for name, tensor in tensors.items()}

    def signature(self) -> Signature:
        return Signature((), tuple(Value(name, a.dtype.name, a.shape) for name, a in self._arrays.items()))

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(self._arrays)

    def close(self) -> None:
        self._arrays = {}


def read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors by name, and the file's metadata. Raises InvalidFile."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in sorted(file.keys())}, dict(file.metadata() or {})
    except (SafetensorError, OSError, RuntimeError, AttributeError, KeyError, ValueError) as error:
        raise unreadable(error) from None


def read_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Tensors by dotted name, and messages on what was left out. Nothing in the pickle is executed.

    A dictionary under ``state_dict`` is taken alone; other nested dictionaries and lists are flattened, so that
    no tensor is lost. Arrays of numpy become tensors. Raises InvalidFile.
    """
    import torch

    from lib.convert.formats.weights.numpy_pickles import STAND_INS

    try:
        with torch.serialization.safe_globals([(thing, name) for name, thing in STAND_INS.items()]):
            found = torch.load(path, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        raise InvalidFile(
            f"The checkpoint holds more than tensors ({_refused(str(error))}), and a pickle of Python objects can run any "
            "code: it was not opened. Save model.state_dict(), or safetensors."
        ) from None
    except InvalidFile:
        raise
    except Exception as error:  # zip, struct, storage and Unicode errors of a broken file have no common base
        raise InvalidFile(f"This is no PyTorch checkpoint that can be read ({clean(str(error))[:200]}).") from None
    messages = []
    while isinstance(found, dict) and isinstance(found.get(WRAPPER), dict):
        if other := [str(key) for key in found if key != WRAPPER]:
            messages.append(f"Taken from {WRAPPER!r}; beside it and left out: {_first(other)}.")
        found = found[WRAPPER]
    tensors: dict[str, torch.Tensor] = {}
    dropped: list[str] = []
    _flatten(found, "", tensors, dropped, 0, iter(range(MAX_ENTRIES)))
    if not tensors:
        raise InvalidFile("The checkpoint holds no tensors by name; save model.state_dict().")
    if dropped:
        messages.append(f"Not tensors, left out: {_first(dropped)}.")
    return tensors, messages


def _flatten(found: Any, prefix: str, tensors: dict[str, Any], dropped: list[str], depth: int, left: Iterator[int]) -> None:
    """``left`` has a number for every entry that may come: a few lists that hold each other often have no end."""
    import torch

    from lib.convert.formats.weights.numpy_pickles import Array

    if next(left, None) is None:
        raise InvalidFile(f"The checkpoint has over {MAX_ENTRIES:,} entries; save model.state_dict() alone.")
    if isinstance(found, Array) and found.values is not None:
        found = torch.from_numpy(found.values.copy())
    if isinstance(found, torch.Tensor):
        name = prefix or "tensor"
        if found.layout != torch.strided or found.is_quantized or found.is_nested:
            raise InvalidFile(f"The tensor {name[:80]!r} is sparse, quantized or nested; store it dense.")
        if found.device.type != "cpu":
            raise InvalidFile(f"The tensor {name[:80]!r} has no values (device {found.device.type}).")
        if name in tensors:
            raise InvalidFile(f"Two tensors are both called {name[:80]!r} once nested names are joined; rename one.")
        tensors[name] = found.detach().resolve_conj().resolve_neg()
    elif isinstance(found, (dict, list, tuple)) and found and not isinstance(found, torch.Size):
        if depth >= MAX_DEPTH:
            raise InvalidFile(f"The checkpoint nests over {MAX_DEPTH} levels deep; save model.state_dict() alone.")
        for key, value in found.items() if isinstance(found, dict) else enumerate(found):
            _flatten(value, f"{prefix}.{key}" if prefix else str(key), tensors, dropped, depth + 1, left)
    else:
        dropped.append(prefix or type(found).__name__)


def to_numpy(name: str, tensor: torch.Tensor) -> np.ndarray:
    """The same bits as a numpy array. Raises InvalidFile for a dtype or a rank that numpy and ml_dtypes do not have."""
    import ml_dtypes
    import torch

    kind = str(tensor.dtype).removeprefix("torch.")
    try:
        dtype = np.dtype(getattr(ml_dtypes, kind, None) or kind)
        if dtype.itemsize != tensor.element_size():
            raise TypeError
    except TypeError:
        raise InvalidFile(f"The tensor {name[:80]!r} has the dtype {kind}, which numpy and ml_dtypes do not have.") from None
    if tensor.dim() > MAX_DIMENSIONS:
        raise InvalidFile(f"The tensor {name[:80]!r} has {tensor.dim():,} dimensions; at most {MAX_DIMENSIONS} are read.")
    flat = tensor.contiguous().reshape(-1)
    if flat.numel():
        return flat.view(torch.uint8).numpy().view(dtype).reshape(tuple(tensor.shape))
    try:
        return np.empty(tensor.shape, dtype)
    except ValueError:  # beside a size of 0 stands one that no array may have
        raise InvalidFile(
            f"The tensor {name[:80]!r} has the shape {list(tensor.shape)}, which numpy does not have."
        ) from None


def sharing(tensors: dict[str, torch.Tensor]) -> list[list[str]]:
    """Groups of names whose tensors lie in the same memory."""
    groups: dict[int, list[str]] = {}
    for name, tensor in tensors.items():
        if tensor.numel():
            groups.setdefault(tensor.untyped_storage().data_ptr(), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def _first(names: list[str], most: int = 5) -> str:
    shown = ", ".join(name[:60] for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _refused(text: str) -> str:
    """The name of the class or function that torch's reader refused, without its advice to trust the file."""
    for mark in ("Unsupported global: GLOBAL ", "Trying to load unsupported GLOBAL "):
        if mark in text:
            return text.split(mark, 1)[1].split()[0][:80]
    return "objects"
