"""Reads uploaded weights without running code, loads them strictly, and saves and restores them with tied weights."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lib.errors import InvalidFile

INSIDE = ("state_dict", "model_state_dict", "model", "module", "params", "net")  # keys under which trainers save weights
SHOWN = 5
USELESS = ".num_batches_tracked"  # a training counter, which frozen batch norms lack


def read(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Returns the tensors by name and messages about how names were changed. Raises InvalidFile."""
    with path.open("rb") as file:
        start = file.read(9)
    # safetensors start with the header length in 8 bytes, the first of which may look like a pickle's, then JSON
    pickled = start[8:] != b"{" and (start[:2] == b"PK" or start[:1] == b"\x80")
    try:
        if pickled:
            import torch

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                content = torch.load(path, map_location="cpu", weights_only=True)
        else:
            from safetensors.torch import load_file

            content = load_file(path)
    except Exception as error:
        expected = "a PyTorch checkpoint of tensors only" if pickled else "a safetensors file"
        raise InvalidFile(
            f"The weights could not be read as {expected}. Save model.state_dict() and upload that."
        ) from error
    return _plain(content)


def _plain(given: Any) -> tuple[dict[str, Any], list[str]]:
    """Unwraps a checkpoint to its state dict and strips common name prefixes; returns messages too. Raises InvalidFile."""
    import torch

    messages = []
    for name in INSIDE:
        if isinstance(given, Mapping) and isinstance(given.get(name), Mapping):
            given = given[name]
            messages.append(f"Weights taken from {name!r} in the checkpoint.")
    if not isinstance(given, Mapping) or not given:
        raise InvalidFile("The checkpoint holds no named weights. Save model.state_dict() and upload that.")
    state = {str(k): v for k, v in given.items() if isinstance(v, torch.Tensor)}
    if len(state) < len(given):
        raise InvalidFile("The checkpoint holds more than named tensors. Save model.state_dict() and upload that.")
    for prefix in ("module.", "_orig_mod."):  # added by DataParallel and torch.compile
        if all(k.startswith(prefix) for k in state):
            state = {k.removeprefix(prefix): v for k, v in state.items()}
            messages.append(f"{prefix!r} was removed from every name.")
    return state, messages


def load(model: Any, state: dict[str, Any], name: str) -> None:
    """Loads ``state`` into ``model``; all keys and shapes must match. Raises InvalidFile with the first that do not."""
    model_state = model.state_dict()
    missing = [k for k in model_state if k not in state and not k.endswith(USELESS)]
    unexpected = [k for k in state if k not in model_state and not k.endswith(USELESS)]
    shapes = [
        f"{k} is {list(state[k].shape)}, not {list(v.shape)}"
        for k, v in model_state.items()
        if k in state and v.shape != state[k].shape
    ]
    refuse(name, missing, unexpected, shapes)
    model.load_state_dict(_versioned({k: v for k, v in state.items() if k in model_state}, model), strict=False)


def refuse(name: str, missing: list[str], unexpected: list[str], shapes: list[str]) -> None:
    """Raises InvalidFile if any of the lists is not empty."""
    problems = (("missing", missing), ("not expected", unexpected), ("of another shape", shapes))
    messages = [
        f"{len(keys)} {label}: {', '.join(keys[:SHOWN])}" + " …" * (len(keys) > SHOWN) for label, keys in problems if keys
    ]
    if messages:
        raise InvalidFile(f"The weights do not match {name}: {'; '.join(messages)}.")


def save(model: Any, path: Path) -> dict[str, str]:
    """Saves each tensor once; returns the tied weights as alias -> the name it was saved under."""
    from safetensors.torch import save_file

    kept: dict[str, Any] = {}
    tied: dict[str, str] = {}
    saved_names: dict[tuple[Any, ...], str] = {}
    for name, tensor in model.state_dict().items():
        key = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
        if tensor.numel() and key in saved_names:
            tied[name] = saved_names[key]
        else:
            saved_names[key] = name
            kept[name] = tensor.detach().contiguous().clone()
    save_file(kept, path)
    return tied


def restore(model: Any, path: Path, tied: dict[str, str]) -> None:
    """Loads the weights written by ``save`` into a model of the same architecture."""
    from safetensors.torch import load_file

    state = load_file(path)
    model.load_state_dict(_versioned(state | {alias: state[name] for alias, name in tied.items()}, model), strict=True)


def _versioned(state: dict[str, Any], model: Any) -> dict[str, Any]:
    """Adds the module versions of ``model`` to ``state``: safetensors drop them, and some modules (MNASNet) need them."""
    versioned: Any = OrderedDict(state)
    versioned._metadata = model.state_dict()._metadata
    return versioned
