"""Previews a file of samples: counts, classes, and a few pictures as the model will see them.

Runs in a child process, like everything that opens an upload.
"""

from __future__ import annotations

import base64
import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from lib.model_inputs import dimensions
from lib.model_inputs.preprocessing import MEAN, STD, Preprocessing
from lib.model_inputs.samples import Samples, read
from lib.model_inputs.signature import Signature, Value

MAX_PICTURES, SIDE = 8, 96  # number of thumbnails, and pixels of their longer side
MAX_CLASSES = 20


def preview(
    path: Path, name: str, signature: Signature, preprocessing: dict[str, Any] | None, sizes: dict[str, int]
) -> dict[str, Any]:
    """Returns ``count``, ``kind``, ``classes`` (name -> count), ``arrays`` of the first sample, ``pictures`` (base64 PNG).

    Raises InvalidFile and InvalidValue, like ``samples.read``.
    """
    samples = read(path, name, signature, preprocessing=preprocessing, sizes=sizes)
    row = samples.rows[0] if samples.rows else {}
    counts = Counter(samples.labels or ())
    return {
        "name": name[:200],
        "kind": samples.kind,
        "count": len(samples.rows),
        "classes": {_class(samples, k): n for k, n in counts.most_common(MAX_CLASSES)},
        "labels": len(counts),
        "preprocessing": samples.preprocessing.as_dict() if samples.preprocessing else None,
        "arrays": [{"name": n[:200], "dtype": str(v.dtype), "shape": list(v.shape)} for n, v in list(row.items())[:20]],
        "pictures": _pictures(samples, signature),
        "messages": samples.messages,
    }


def _class(found: Samples, number: int) -> str:
    return found.classes[number][:80] if number < len(found.classes) else str(number)


def _pictures(found: Samples, signature: Signature) -> list[dict[str, str]]:
    value = next((v for v in signature.inputs if dimensions.picture_layout(v)), None)
    if value is None or not found.rows:
        return []
    order = np.linspace(0, len(found.rows) - 1, min(MAX_PICTURES, len(found.rows))).astype(int)
    if found.labels is not None:  # the first of each class, as far as there is room
        firsts = {label: k for k, label in reversed(list(enumerate(found.labels)))}
        order = np.array(sorted({*list(firsts.values())[:MAX_PICTURES], *order})[:MAX_PICTURES])
    out = []
    for number in order:
        label = "" if found.labels is None else _class(found, found.labels[number])
        out.append({"png": _png(pixels(found.rows[number][value.name], value, found.preprocessing)), "label": label})
    return out


def pixels(array: np.ndarray, value: Value, preprocessing: Preprocessing | None) -> np.ndarray:
    """Converts an image input, [..., c, h, w] or [..., h, w, c], to uint8 [h, w] or [h, w, 3]: its first picture.

    Undoes the normalization if it is known; otherwise stretches the values to 0..255.
    """
    picture = np.asarray(array, np.float32)
    picture = picture.reshape(-1, *picture.shape[-3:])[0]
    if dimensions.picture_layout(value) == "NCHW":
        picture = picture.transpose(1, 2, 0)
    if preprocessing is None or np.asarray(array).dtype.kind not in "fu":
        low, high = float(picture.min(initial=0.0)), float(picture.max(initial=0.0))
        picture = (picture - low) * (255 / (high - low) if high > low else 1)
    else:
        picture = picture[..., ::-1] if preprocessing.channels == "BGR" else picture
        if np.asarray(array).dtype.kind == "f":
            picture = _undone(picture, preprocessing.normalization)
    picture = np.clip(np.nan_to_num(np.rint(picture)), 0, 255).astype(np.uint8)
    return picture[..., 0] if picture.shape[-1] != 3 else picture


def _undone(one: np.ndarray, normalization: str) -> np.ndarray:
    if normalization == "-1..1":
        return (one + 1) * 127.5
    if normalization == "imagenet":
        grey = one.shape[-1] == 1
        return (one * (STD.mean() if grey else STD) + (MEAN.mean() if grey else MEAN)) * 255
    return one * 255 if normalization == "0..1" else one


def _png(picture: np.ndarray) -> str:
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(picture))
    scale = SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    image = image.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BILINEAR)
    out = io.BytesIO()
    image.save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()
