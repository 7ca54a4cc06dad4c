"""Facts about a model without loading it: whether its files are present, and the size it was trained at.

Reads small JSON files of a local folder or of the Hub's cache. Uses no network, no torch and no diffusers.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from lib.text_to_image.models import Source


def local_folder(source: Source) -> Path | None:
    """Return the local folder with the files of ``source``, or None if they, or the weights, are missing."""
    home = source.folder
    if home is None:
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError

        try:
            cached = try_to_load_from_cache(source.repository, "model_index.json", revision=source.revision)
        except HFValidationError:
            return None
        home = Path(cached).parent if isinstance(cached, str) else None
    if home is None or not (home / "model_index.json").is_file():
        return None
    return home if any(home.glob("*/*.safetensors")) else None


def pipeline_class(source: Source) -> str:
    """Return the class of the source's diffusers pipeline, or "" if unknown."""
    home = local_folder(source)
    class_name = _read(home / "model_index.json").get("_class_name") if home is not None else None
    return class_name if isinstance(class_name, str) else ""


def trained_size(source: Source) -> int | None:
    """Return the trained size in pixels per side, equal to ``Model.size``, or None if unknown."""
    home = local_folder(source)
    if home is None:
        return None
    network = _read(home / "unet" / "config.json") or _read(home / "transformer" / "config.json")
    vae = _read(home / "vae" / "config.json")
    size, blocks = network.get("sample_size"), vae.get("block_out_channels")
    size = size[0] if isinstance(size, list) and size else size
    if not isinstance(size, int) or not isinstance(blocks, list) or not blocks:
        return None
    return math.ceil(size * 2 ** (len(blocks) - 1) / 8) * 8


def size_bounds(size: int) -> tuple[int, int]:
    """Return the smallest and largest side in pixels that ``models.resolve_size`` accepts for a trained ``size``."""
    return max(64, size // 2), size * 2


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
