"""Checks PyTorch checkpoints, in zip and legacy format, without torch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from lib.archives import Archive, Limits, opened
from lib.convert.core.archives import root_of
from lib.convert.formats.weights import numpy_pickles
from lib.convert.formats.weights.pickles import WAY_OUT, check_pickle
from lib.errors import InvalidFile

MAGIC = 0x1950A86A20F9469CFC6C  # magic number of the legacy format
OLD_START = b"\x8a\x0a" + MAGIC.to_bytes(10, "little") + b"."
TORCHSCRIPT = (
    "This is TorchScript, which contains code and is not opened here. Load it in your own Python with torch.jit.load and "
    "upload its torch.onnx.export, or torch.export of the original model, or its state_dict."
)
STORED = "{}: one of its members is compressed, which torch never does. Save it again with torch.save."
_CHECKPOINT = re.compile(  # older torch names storages after their addresses, with up to 20 digits
    r"data\.pkl|data/[0-9]{1,20}|version|byteorder|\.data/serialization_id|\.format_version|\.storage_alignment"
)


def is_checkpoint(head: bytes, size: int) -> bool:
    """Returns whether a file starts like a legacy torch.save file: with the magic number, or a pickle of protocol 2 or 3."""
    return head[2:].startswith(OLD_START[:12]) or (head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03"))


def is_checkpoint_zip(names: set[str], root: str) -> bool:
    """Returns whether a zip with these members is a checkpoint. Raises InvalidFile for TorchScript."""
    refuse_torchscript(names, root)
    return f"{root}data.pkl" in names


def refuse_torchscript(names: set[str], root: str) -> None:
    """Raises InvalidFile if the zip's members are those of TorchScript."""
    members = {name.removeprefix(root) for name in names}
    if members & {"constants.pkl", "attributes.pkl"} or any(name.startswith("code/") for name in members):
        raise InvalidFile(TORCHSCRIPT)


def check_checkpoint(path: Path) -> None:
    """Raises InvalidFile unless the checkpoint holds only tensors and inert objects in plain containers."""
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            file.seek(0)
            _check_old(file)
            return
    with opened(path, Limits(members=200_000, total=1 << 40)) as archive:
        check_zip(archive, numpy_pickles.NAMES)


def check_zip(archive: Archive, also: frozenset[str] = frozenset()) -> None:
    """Checks a zip checkpoint; ``also``: additional globals its pickle may name. Raises InvalidFile."""
    root = root_of(archive)
    for name, member in archive.members.items():
        member_name = name.removeprefix(root)
        if not _CHECKPOINT.fullmatch(member_name):
            raise InvalidFile(
                f"The checkpoint has a member {member_name[:80]!r}, which torch.save does not write. Save it again."
            )
        if member.compress_type != 0:
            raise InvalidFile(STORED.format("The checkpoint"))
    if f"{root}data.pkl" not in archive.members:
        raise InvalidFile("The checkpoint has no data.pkl. Save it again with torch.save.")
    with archive.stream(f"{root}data.pkl") as stream:
        _beside_tensors(check_pickle(stream, also))
        if stream.read(1):
            raise InvalidFile("Something follows the pickle in data.pkl. Save the checkpoint again with torch.save.")


def _check_old(file: Any) -> None:
    """Checks a legacy checkpoint: five pickles (magic number, version, system, content, storage keys), then the data."""
    if not file.read(14).endswith(OLD_START[:12]):
        file.seek(0)
        check_pickle(file)  # its error names the refused global
        raise InvalidFile(
            "This is a Python pickle, but not a PyTorch checkpoint. Save it with torch.save, or upload safetensors."
        )
    file.seek(0)
    _beside_tensors(set().union(*(check_pickle(file, numpy_pickles.NAMES) for _ in range(5))))


def _beside_tensors(names: set[str]) -> None:
    """Raises InvalidFile if a pickle names stand-in globals but no tensor: then it is not a checkpoint."""
    if (stand_ins := sorted(names & numpy_pickles.NAMES)) and not any(n.startswith("torch._utils _rebuild") for n in names):
        raise InvalidFile(f"The pickle in this file refers to {stand_ins[0].replace(' ', '.')}, but to no tensor. {WAY_OUT}")
