"""Weights: read from an upload without running anything, loaded strictly, saved and found again with ties intact."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lib.errors import InvalidFile

INSIDE = ("state_dict", "model_state_dict", "model", "module", "params", "net")  # where trainers put the weights
SHOWN = 5
USELESS = ".num_batches_tracked"  # a counter of training; frozen batch norms lack it


def read(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Tensors by name, and what was done to the names. Raises InvalidFile."""
    with path.open("rb") as file:
        start = file.read(9)
    # safetensors: the length of a JSON header, whose lowest byte may be anything, then the header
    pickled = start[8:] != b"{" and (start[:2] == b"PK" or start[:1] == b"\x80")
    try:
        if pickled:
            import torch

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                given = torch.load(path, map_location="cpu", weights_only=True)
        else:
            from safetensors.torch import load_file

            given = load_file(path)
    except Exception as error:
        what = "a PyTorch checkpoint of tensors only" if pickled else "a safetensors file"
        raise InvalidFile(f"The weights could not be read as {what}. Save model.state_dict() and upload that.") from error
    return _plain(given)


def _plain(given: Any) -> tuple[dict[str, Any], list[str]]:
    import torch

    messages = []
    for name in INSIDE:
        if isinstance(given, Mapping) and isinstance(given.get(name), Mapping):
            given = given[name]
            messages.append(f"Weights taken from {name!r} in the checkpoint.")
    if not isinstance(given, Mapping) or not given:
        raise InvalidFile("The checkpoint holds no weights by name. Save model.state_dict() and upload that.")
    state = {str(k): v for k, v in given.items() if isinstance(v, torch.Tensor)}
    if len(state) < len(given):
        raise InvalidFile("The checkpoint holds more than tensors by name. Save model.state_dict() and upload that.")
    for prefix in ("module.", "_orig_mod."):  # data parallel training, torch.compile
        if all(k.startswith(prefix) for k in state):
            state = {k.removeprefix(prefix): v for k, v in state.items()}
            messages.append(f"{prefix!r} was taken off every name.")
    return state, messages


def load(model: Any, state: dict[str, Any], name: str) -> None:
    """Every key must be there and fit. Raises InvalidFile with the first keys that do not."""
    own = model.state_dict()
    missing = [k for k in own if k not in state and not k.endswith(USELESS)]
    unexpected = [k for k in state if k not in own and not k.endswith(USELESS)]
    shapes = [
        f"{k} is {list(state[k].shape)}, not {list(v.shape)}"
        for k, v in own.items()
        if k in state and v.shape != state[k].shape
    ]
    refuse(name, missing, unexpected, shapes)
    model.load_state_dict(_versioned({k: v for k, v in state.items() if k in own}, model), strict=False)


def refuse(name: str, missing: list[str], unexpected: list[str], shapes: list[str]) -> None:
    """Raises InvalidFile if any list has something in it."""
    found = (("missing", missing), ("not expected", unexpected), ("of another shape", shapes))
    said = [f"{len(some)} {what}: {', '.join(some[:SHOWN])}" + " …" * (len(some) > SHOWN) for what, some in found if some]
    if said:
        raise InvalidFile(f"The weights do not belong to {name}: {'; '.join(said)}.")


def save(model: Any, path: Path) -> dict[str, str]:
    """Each tensor once; the answer names what shares memory: alias -> the name it was saved under."""
    from safetensors.torch import save_file

    kept: dict[str, Any] = {}
    tied: dict[str, str] = {}
    seen: dict[tuple[Any, ...], str] = {}
    for name, tensor in model.state_dict().items():
        key = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
        if tensor.numel() and key in seen:
            tied[name] = seen[key]
        else:
            seen[key] = name
            kept[name] = tensor.detach().contiguous().clone()
    save_file(kept, path)
    return tied


def restore(model: Any, path: Path, tied: dict[str, str]) -> None:
    """What ``save`` wrote, into a model made alike."""
    from safetensors.torch import load_file

    state = load_file(path)
    model.load_state_dict(_versioned(state | {alias: state[name] for alias, name in tied.items()}, model), strict=True)


def _versioned(state: dict[str, Any], model: Any) -> dict[str, Any]:
    """With the versions of the model's modules, which safetensors do not keep and some modules (MNASNet) ask for."""
    out: Any = OrderedDict(state)
    out._metadata = model.state_dict()._metadata
    return out
