"""Real inputs of a model, from a visitor's file: arrays, pictures, a text, a wave. Recognised by content, not by name.

An uploaded file is opened in a child process only. Knows no runtime; the readers of each kind stand beside.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lib.archives import Limits, is_litter, opened
from lib.errors import InvalidFile
from lib.model_inputs import arrays, fitting, picture_files, text_files, wave_files
from lib.model_inputs import sizes as sizes_
from lib.model_inputs.signature import Signature
from lib.model_inputs.stored import Row, Samples, load, save

MAX_BYTES = 1 << 30
NAMES_ONLY = Limits(members=20_000, total=1 << 50, member=1 << 50, ratio=1 << 30)  # nothing is unpacked
MIN_TO_DIVIDE = 4  # samples that are worth dividing
ALLOWED = "an .npz or .npy of arrays, a .zip of pictures or one picture, a .wav, a .txt where the model has a tokenizer"

__all__ = ["Samples", "halves", "load", "read", "save"]


def read(
    path: Path,
    name: str,
    signature: Signature,
    *,
    preprocessing: Mapping[str, Any] | None = None,
    sizes: Mapping[str, int] | None = None,
    tokenizer: Path | None = None,
    rate: int | None = None,
    hints: Mapping[str, Any] | None = None,
) -> Samples:
    """The samples of a file, for a model of this signature. ``name`` is the visitor's, for messages.

    ``preprocessing`` changes what is guessed for pictures (``preprocessing.Preprocessing.from_dict``); ``sizes`` are
    those of free dimensions; ``tokenizer`` a tokenizer.json or a transformers folder; ``rate`` the model's samples a
    second; ``hints`` what the model's files say (``hints.py``; ``labels`` are its classes in order). Raises InvalidFile,
    InvalidValue.
    """
    sizes_.check(fixed := dict(sizes or {}), signature)
    shown = repr(name[-80:])
    if not signature.inputs:
        raise InvalidFile("This model has no inputs, so it takes no samples.")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise InvalidFile(f"{shown} has {size:,} bytes; at most {MAX_BYTES:,} are allowed. Send fewer.")
    with path.open("rb") as file:
        head = file.read(64)
    kind, names = _kind(path, head), list((hints or {}).get("labels") or ())
    if kind in ("npz", "npy"):
        given = arrays.npz(path) if kind == "npz" else arrays.npy(path.read_bytes())
        found = fitting.arrays_of(given, signature, fixed, names)
        return Samples(*found[:3], "arrays", None, found[3])
    if kind in ("zip", "picture"):
        chosen, value = picture_files.chosen(signature, preprocessing, fixed, hints)
        rows, labels, classes, messages = picture_files.read(path, kind == "zip", signature, value, chosen, fixed, names)
        return Samples(rows, labels, classes, "pictures", chosen, messages)
    if kind == "wave":
        rows, messages = wave_files.read(path, signature, fixed, rate)
        return Samples(rows, kind="wave", messages=messages)
    if not size:
        raise InvalidFile(f"{shown} is empty (0 bytes). Send {ALLOWED}.")
    if kind == "text":
        rows, messages = text_files.read(path, signature, fixed, tokenizer)
        return Samples(rows, kind="text", messages=messages)
    raise InvalidFile(f"{shown} is not a readable file of samples. Send {ALLOWED}.")


def _kind(path: Path, head: bytes) -> str:
    if head.startswith(arrays.MAGIC):
        return "npy"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        with opened(path, NAMES_ONLY, {}) as archive:
            names = [n for n in archive.members if not is_litter(n)]
            pictures = any(picture_files.is_named_so(n) or picture_files.is_picture(archive.head(n)) for n in names)
        if not names:
            raise InvalidFile(f"The archive is empty. Send {ALLOWED}.")
        if not pictures and not any(n.endswith(".npy") for n in names):
            raise InvalidFile(f"The archive holds no pictures and no arrays, but {names[0][-80:]!r}. Send {ALLOWED}.")
        return "zip" if pictures else "npz"
    if head.startswith((b"RIFF", b"RF64", b"RIFX")) and head[8:12] == b"WAVE":
        return "wave"
    if picture_files.is_picture(head):
        return "picture"
    return "text" if text_files.is_text(head) else ""


def halves(samples: Samples, stream: int = 0) -> tuple[list[int], list[int]]:
    """(calibration, judged): numbers of rows, each about half of every class, none in both, the same every time.

    Equal samples stay on one side. ``stream`` gives another division. Fewer than 4 different samples are all in both.
    """
    labels = samples.labels or [0] * len(samples.rows)
    groups: dict[str, list[int]] = {}
    for number, row in enumerate(samples.rows):
        groups.setdefault(_digest(row, stream), []).append(number)
    everything = list(range(len(samples.rows)))
    if len(groups) < MIN_TO_DIVIDE:
        return everything, everything
    sides: tuple[list[int], list[int]] = ([], [])
    counts: dict[int, list[int]] = {}
    for key in sorted(groups):
        label = labels[groups[key][0]]
        count = counts.setdefault(label, [0, 0])
        # the smaller side of the class; where both are equal, the smaller side of all
        side = int(count[0] > count[1]) if count[0] != count[1] else int(len(sides[0]) > len(sides[1]))
        sides[side].extend(groups[key])
        count[side] += len(groups[key])
    return sorted(sides[0]), sorted(sides[1])


def _digest(row: Row, stream: int) -> str:
    total = hashlib.blake2b(str(stream).encode(), digest_size=16)
    for name in sorted(row):
        value = row[name]
        total.update(f"{name}\0{value.dtype}{value.shape}\0".encode())
        total.update(
            "\0".join(map(str, value.flat)).encode() if value.dtype.hasobject else np.ascontiguousarray(value).tobytes()
        )
    return total.hexdigest()
