"""Treats a tensor container as a model without inputs whose outputs are its tensors.

Pickles are only read by torch's restricted unpickler (``weights_only``).
"""

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
MAX_DIMENSIONS = 64  # numpy's limit
MAX_ENTRIES = 1_000_000


class WeightsRunner:
    """Returns the tensors of ``model.pt`` or ``model.safetensors``, bitwise; bfloat16 and float8 as ml_dtypes types."""

    def __init__(self, folder: Path) -> None:
        if (folder / SAFETENSORS).is_file():
            tensors = read_safetensors(folder / SAFETENSORS)[0]
        else:
            tensors = read_checkpoint(folder / CHECKPOINT)[0]
        self._arrays = {name: to_numpy(name, tensor) for name, tensor in tensors.items()}

    def signature(self) -> Signature:
        return Signature((), tuple(Value(name, a.dtype.name, a.shape) for name, a in self._arrays.items()))

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the tensors; ``inputs`` is ignored."""
        return dict(self._arrays)

    def close(self) -> None:
        self._arrays = {}


def read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Returns the tensors by name and the file's metadata. Raises InvalidFile."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in sorted(file.keys())}, dict(file.metadata() or {})
    except (SafetensorError, OSError, RuntimeError, AttributeError, KeyError, ValueError) as error:
        raise unreadable(error) from None


def read_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Returns the tensors by dotted name, and messages about what was left out. Executes no code from the pickle.

    If there is a dictionary under ``state_dict``, only that is read; other nested dictionaries and lists are flattened,
    so that no tensor is lost. numpy arrays become tensors. Raises InvalidFile.
    """
    import torch

    from lib.convert.formats.weights.numpy_pickles import STAND_INS

    try:
        with torch.serialization.safe_globals([(stand_in, name) for name, stand_in in STAND_INS.items()]):
            content = torch.load(path, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        raise InvalidFile(
            f"The checkpoint holds more than tensors ({_refused(str(error))}), and a pickle of Python objects can run "
            "arbitrary code: it was not opened. Save model.state_dict(), or safetensors."
        ) from None
    except InvalidFile:
        raise
    except Exception as error:  # a broken file raises zip, struct, storage and Unicode errors without a common base
        raise InvalidFile(f"This is not a readable PyTorch checkpoint ({clean(str(error))[:200]}).") from None
    messages = []
    while isinstance(content, dict) and isinstance(content.get(WRAPPER), dict):
        if extra_keys := [str(key) for key in content if key != WRAPPER]:
            messages.append(f"Weights taken from {WRAPPER!r}; other entries, left out: {_first(extra_keys)}.")
        content = content[WRAPPER]
    tensors: dict[str, torch.Tensor] = {}
    dropped: list[str] = []
    _flatten(content, "", tensors, dropped, 0, iter(range(MAX_ENTRIES)))
    if not tensors:
        raise InvalidFile("The checkpoint holds no named tensors; save model.state_dict().")
    if dropped:
        messages.append(f"Not tensors, left out: {_first(dropped)}.")
    return tensors, messages


def _flatten(found: Any, prefix: str, tensors: dict[str, Any], dropped: list[str], depth: int, left: Iterator[int]) -> None:
    """Collects nested tensors into ``tensors`` and the paths of other objects into ``dropped``. Raises InvalidFile.

    ``left`` limits the number of entries: a few lists that contain each other repeatedly expand without end.
    """
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
    """Returns the tensor as a numpy array, bitwise. Raises InvalidFile for a dtype or rank that numpy cannot represent."""
    import ml_dtypes
    import torch

    dtype_name = str(tensor.dtype).removeprefix("torch.")
    try:
        dtype = np.dtype(getattr(ml_dtypes, dtype_name, None) or dtype_name)
        if dtype.itemsize != tensor.element_size():
            raise TypeError
    except TypeError:
        raise InvalidFile(
            f"The tensor {name[:80]!r} has the dtype {dtype_name}, which numpy and ml_dtypes do not support."
        ) from None
    if tensor.dim() > MAX_DIMENSIONS:
        raise InvalidFile(f"The tensor {name[:80]!r} has {tensor.dim():,} dimensions; at most {MAX_DIMENSIONS} are read.")
    flat = tensor.contiguous().reshape(-1)
    if flat.numel():
        return flat.view(torch.uint8).numpy().view(dtype).reshape(tuple(tensor.shape))
    try:
        return np.empty(tensor.shape, dtype)
    except ValueError:  # one size is 0, and another exceeds numpy's limit
        raise InvalidFile(
            f"The tensor {name[:80]!r} has the shape {list(tensor.shape)}, which numpy does not support."
        ) from None


def sharing(tensors: dict[str, torch.Tensor]) -> list[list[str]]:
    """Returns groups of names whose tensors share storage."""
    groups: dict[int, list[str]] = {}
    for name, tensor in tensors.items():
        if tensor.numel():
            groups.setdefault(tensor.untyped_storage().data_ptr(), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def _first(names: list[str], most: int = 5) -> str:
    shown = ", ".join(name[:60] for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _refused(text: str) -> str:
    """Returns the name of the global that torch's unpickler refused, without its advice to trust the file."""
    for mark in ("Unsupported global: GLOBAL ", "Trying to load unsupported GLOBAL "):
        if mark in text:
            return text.split(mark, 1)[1].split()[0][:80]
    return "objects"
