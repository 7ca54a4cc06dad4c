"""Reads a model from the Hugging Face Hub or a folder with the same layout: only config and safetensors, never code."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lib.convert.core import json_text
from lib.errors import InvalidFile, InvalidValue, JobFailed

INDEX, WHOLE = "model.safetensors.index.json", "model.safetensors"
SHARD = re.compile(r"[A-Za-z0-9][\w.-]{0,200}\.safetensors")
WANTED = ("config.json", INDEX, "*.safetensors")
MAX_BYTES = 3 << 30


@contextmanager
def downloaded(repository: str, allowed: bool) -> Iterator[Path]:
    """Downloads the files in ``WANTED`` of ``owner/name`` to a temporary folder, removed afterwards.

    Raises InvalidValue if the app's owner has not allowed the Hub or the model is too big, JobFailed if it cannot be
    fetched.
    """
    if not allowed:
        raise InvalidValue(
            "hub model", repository, "an upload or a built-in name: the owner of this app has not allowed the Hub"
        )
    from huggingface_hub import HfApi, snapshot_download

    with tempfile.TemporaryDirectory(prefix="hub-") as folder:
        try:
            files = HfApi().model_info(repository, files_metadata=True).siblings or []
            sizes = {f.rfilename: f.size or 0 for f in files if f.rfilename.endswith(".safetensors")}
            if sum(sizes.values()) > MAX_BYTES:
                raise InvalidValue("hub model", repository, f"at most {MAX_BYTES >> 30} GB of safetensors")
            snapshot_download(repository, local_dir=folder, allow_patterns=list(WANTED))
        except InvalidValue:
            raise
        except Exception as error:  # network errors, or errors from the Hub
            raise JobFailed(f"{repository} could not be fetched from the Hub ({type(error).__name__}).") from error
        yield Path(folder)


def state(folder: Path) -> dict[str, Any]:
    """Returns all tensors of the model, from the shards in its index or from model.safetensors. Raises InvalidFile."""
    from safetensors.torch import load_file

    if not (folder / "config.json").is_file():
        raise InvalidFile("The model has no config.json with safetensors, and nothing else is read from the Hub.")
    weight_map = _placed(folder)
    files = [folder / name for name in (sorted(set(weight_map.values())) if weight_map else [WHOLE])]
    for file in files:
        if not file.is_file() or file.is_symlink():
            raise InvalidFile(f"The model has no {file.name[:80]}, and only safetensors under that name are read.")
    if sum(f.stat().st_size for f in files) > MAX_BYTES:
        raise InvalidFile(f"The model has more than {MAX_BYTES >> 30} GB of safetensors.")
    tensors: dict[str, Any] = {}
    for file in files:
        try:
            shard = load_file(file)
        except Exception as error:
            raise InvalidFile(f"{file.name[:80]} is not a safetensors file.") from error
        if duplicates := sorted(shard.keys() & tensors.keys()):
            raise InvalidFile(f"The tensor {duplicates[0][:100]!r} is in two files of the model. Save the model again.")
        tensors |= shard
    if missing := sorted(name for name in weight_map if name not in tensors):
        raise InvalidFile(f"{INDEX} assigns {missing[0][:100]!r} to a file that does not contain it. Save the model again.")
    return tensors


def _placed(folder: Path) -> dict[str, str]:
    """Returns the index's map of tensor to file; empty if there is no index. Raises InvalidFile."""
    index = folder / INDEX
    if not index.is_file() or index.is_symlink():
        return {}
    weight_map = json_text.parse(index.read_bytes(), INDEX).get("weight_map")
    valid = isinstance(weight_map, dict) and all(isinstance(f, str) and SHARD.fullmatch(f) for f in weight_map.values())
    if not weight_map or not isinstance(weight_map, dict) or not valid:
        raise InvalidFile(f"{INDEX} does not map tensors to files in the same folder. Save the model again.")
    return weight_map
