"""A picture, or a zip of pictures whose folders are labels, as samples. A broken picture is left out and named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lib.archives import Limits, is_litter, opened
from lib.errors import InvalidFile, JobFailed
from lib.model_inputs import dimensions, fitting, folder_labels, made_up, sizes
from lib.model_inputs.preprocessing import Preprocessing, guess
from lib.model_inputs.signature import Signature, Value

MAX_BYTES = 64 << 20  # of one file, as lib/pictures.py has it, which needs Pillow: not every environment has that
LIMITS = Limits(members=20_000, total=1 << 30, member=MAX_BYTES, ratio=1000)
MAX_VALUES = 1 << 27  # numbers of all samples together: 512 MiB as float32
NAMED = 5  # left out pictures that a message names
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
HEADS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"II*\0", b"MM\0*")


def is_picture(head: bytes) -> bool:
    return head.startswith(HEADS) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP") or head[4:8] == b"ftyp"


def is_named_so(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES


def chosen(
    signature: Signature, given: Mapping[str, Any] | None, fixed: Mapping[str, int], hints: Mapping[str, Any] | None
) -> tuple[Preprocessing, Value]:
    """The preprocessing, guessed and changed as ``given``, and the input that takes the pictures. Raises InvalidFile."""
    value = next((v for v in signature.inputs if dimensions.picture_layout(v)), None)
    if value is None:
        raise InvalidFile(
            f"Pictures were sent, but no input of this model takes pictures: "
            f"{fitting.inputs_text(signature)}. Send an .npz of arrays."
        )
    known = {d: fixed[d] for d in value.shape if isinstance(d, str) and d in fixed}
    layout = dimensions.picture_layout(value)
    space = value.shape[-2:] if layout == "NCHW" else value.shape[-3:-1]
    sides = None
    if any(d in known or d in signature.sizes for d in space):  # the user's, or all that the model can take
        plausible = sizes.propose(signature) | known
        sides = tuple(d if isinstance(d, int) else plausible[d] for d in space)
    found = Preprocessing.from_dict(given or {}, guess(value, hints, size=sides))
    _check(found, value, space, known)
    return found, value


def _check(found: Preprocessing, value: Value, space: Sequence[int | str], known: Mapping[str, int]) -> None:
    channels = 1 if found.channels == "L" else 3
    shape = (channels, *found.size) if found.layout == "NCHW" else (*found.size, channels)
    wanted = [known.get(d, d) if isinstance(d, str) else d for d in value.shape[-3:]]
    if any(isinstance(d, int) and d != n for d, n in zip(wanted, shape, strict=True)):
        raise InvalidFile(
            f"The preprocessing gives {list(shape)} per picture, but {value.name[:80]!r} takes {fitting.shape_of(value)}. "
            "Change size, layout or channels."
        )


def read(
    path: Path,
    is_zip: bool,
    signature: Signature,
    value: Value,
    chosen: Preprocessing,
    fixed: Mapping[str, int],
    names: Sequence[str] = (),
) -> tuple[list[dict[str, np.ndarray]], folder_labels.Labels, list[str], list[str]]:
    """(rows, labels, classes, messages). ``names``: the model's own classes in order, where its file states them.

    A ``classes.txt`` in the zip states them, too, and comes first.
    """
    try:
        from lib.pictures import read as decode
    except ImportError:
        raise JobFailed("Pictures are not supported for this kind of model. Send an .npz of arrays.") from None
    if is_zip:
        with opened(path, LIMITS, {}) as archive:
            names = folder_labels.read_classes(archive) or names
    rows: list[dict[str, np.ndarray]] = []
    folders: list[str] = []
    left_out: list[str] = []
    notes: Counter[str] = Counter()
    beside = None
    numbers = (1 if chosen.channels == "L" else 3) * chosen.size[0] * chosen.size[1]
    numbers *= value.shape[0] if len(value.shape) == 4 and isinstance(value.shape[0], int) else 1
    most = max(1, min(fitting.MAX_SAMPLES, MAX_VALUES // numbers))
    for name, data in _pictures(path, is_zip, most, left_out):
        try:
            found = decode(data, about=max(chosen.size) * 2)
        except InvalidFile as error:
            if not is_zip:
                raise InvalidFile(f"The picture cannot be used: {error.message}.") from None
            left_out.append(f"{name[-80:]} ({error.message})")
            continue
        notes.update(found.notes)
        one = _shaped(chosen.apply(found.pixels, value.dtype), value)
        if beside is None:
            sizes = _sizes(value, one, signature, fixed)
            beside = made_up.companions(signature, sizes, {value.name})
        rows.append({v.name: one if v is value else beside[v.name] for v in signature.inputs})
        folders.append(name.rpartition("/")[0])
    more = f"; and {len(left_out) - NAMED:,} more" if len(left_out) > NAMED else ""
    out = f"Left out: {'; '.join(left_out[:NAMED])}{more}."
    if not rows:
        raise InvalidFile(
            f"No usable picture was found (JPEG, PNG, WebP, BMP, GIF, TIFF). {out if left_out else ''}".strip()
        )
    messages = [f"Pictures become {chosen.shown()}."]
    if len(rows) + len(left_out) >= most > 1:
        messages.append(f"At most {most:,} pictures of this size are used, sampled evenly by name.")
    messages += [
        f"{note[0].upper()}{note[1:]}, in {count:,} of {len(rows):,} pictures." for note, count in sorted(notes.items())
    ]
    messages += [out] if left_out else []
    if len(signature.inputs) > 1:
        messages.append(f"Besides the picture, {', '.join(list(beside or {})[:8])}: initial values.")
    labels, classes, said = folder_labels.of(folders, names)
    return rows, labels, classes, messages + said


def _pictures(path: Path, is_zip: bool, most: int, left_out: list[str]) -> Iterator[tuple[str, bytes]]:
    """(name, bytes). Of more than ``most``, evenly drawn ones by name, so that every folder has its share."""
    if not is_zip:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidFile(f"The picture has more than {MAX_BYTES >> 20} MB. Save it smaller.")
        yield "", path.read_bytes()
        return
    odd: dict[str, str] = {}
    with opened(path, LIMITS, odd) as archive:
        left_out += [f"{name[-80:]} ({what})" for name, what in odd.items() if not is_litter(name)]
        names = [n for n in sorted(archive.members) if not is_litter(n) and n != folder_labels.CLASSES]
        if len(names) > most:
            names = [names[k] for k in np.linspace(0, len(names) - 1, most).astype(int)]
        for name in names:
            if not is_named_so(name) and not is_picture(archive.head(name)):
                left_out.append(f"{name[-80:]} (no picture)")
                continue
            try:
                data = archive.read(name, MAX_BYTES)
            except InvalidFile:
                left_out.append(f"{name[-80:]} (damaged)")
                continue
            yield name, data


def _shaped(one: np.ndarray, value: Value) -> np.ndarray:
    """[1, …] as the input's rank and fixed batch want it; a batch of n is n times the picture."""
    if len(value.shape) == 3:
        return one[0]
    return np.repeat(one, value.shape[0], axis=0) if isinstance(value.shape[0], int) else one


def _sizes(value: Value, one: np.ndarray, signature: Signature, fixed: Mapping[str, int]) -> dict[str, int]:
    bound = {d: n for d, n in zip(value.shape, one.shape, strict=True) if isinstance(d, str)}
    return sizes.propose(signature) | dict(fixed) | bound
