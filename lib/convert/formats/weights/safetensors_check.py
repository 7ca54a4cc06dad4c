"""Checks a safetensors file's header against its bytes (format: huggingface.co/docs/safetensors). Reads no tensor."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from lib.convert.core import json_text
from lib.convert.formats import main_file
from lib.errors import InvalidFile

MOST_HEADER = 100_000_000  # bytes, as the format's own reader has it
BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
    **{"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6},
}
SINGLE_FILE = "model.diffusion_model."  # what every name of the UNet begins with in Stable Diffusion's own layout


def is_safetensors(head: bytes, size: int) -> bool:
    """Whether a file of ``size`` bytes begins as safetensors do: the length of a header, and JSON."""
    return 2 <= int.from_bytes(head[:8], "little") <= max(size, MOST_HEADER) and head[8:10] in (b'{"', b"{ ", b"{}", b"{\n")


def admit(name: str, path: Path, beside: dict[str, Path], folder: Path) -> tuple[str, list[str]]:
    """``safetensors``, or ``sd-single-file`` by the tensors' names. Raises InvalidFile."""
    names = check_safetensors(path)
    format = "sd-single-file" if any(one.startswith(SINGLE_FILE) for one in names) else "safetensors"
    shutil.copyfile(path, main_file(format, folder))
    return format, []


def check_safetensors(path: Path) -> list[str]:
    """The tensors' names. Raises InvalidFile for a header that lies about the file."""
    size = os.stat(path).st_size
    with path.open("rb") as file:
        head = file.read(8)
        length = int.from_bytes(head, "little")
        if len(head) < 8 or length < 2 or 8 + length > size:
            raise InvalidFile(
                f"The safetensors header should have {length:,} bytes; the file has {size:,} in all. "
                "Upload the whole file again."
            )
        if length > MOST_HEADER:
            raise InvalidFile(f"The safetensors header has {length:,} bytes; at most {MOST_HEADER:,} are read.")
        text = file.read(length)
    if not text.startswith(b"{"):
        raise InvalidFile("The safetensors header does not begin with { as it must.")
    header = json_text.parse(text, "The safetensors header", MOST_HEADER)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise InvalidFile("The safetensors header's __metadata__ must be texts by name.")
    if not header:
        raise InvalidFile("The safetensors file holds no tensors.")
    places = sorted((*_tensor(name, entry), name) for name, entry in header.items())
    at = 0
    for start, end, name in places:
        if start != at:
            raise InvalidFile(f"Tensor {name[:80]!r} begins at byte {start}; the one before it ends at {at}. {_SAVE}")
        at = end
    if 8 + length + at != size:
        raise InvalidFile(
            f"The safetensors header tells of {8 + length + at:,} bytes, the file has {size:,}. Upload the whole file again."
        )
    return [name for _, _, name in places]


_SAVE = "Tensors must follow each other without gap or overlap: save the file again with safetensors."


def _tensor(name: str, entry: object) -> tuple[int, int]:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise InvalidFile(f"Tensor {name[:80]!r} must have dtype, shape and data_offsets, and nothing else.")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise InvalidFile(f"Tensor {name[:80]!r} has the dtype {str(dtype)[:40]!r}; known are {', '.join(BITS)}.")
    if not _sizes(shape) or not _sizes(offsets) or len(offsets) != 2:
        raise InvalidFile(f"Shape or data_offsets of tensor {name[:80]!r} are not whole numbers from 0.")
    bits = BITS[dtype]
    for d in shape:
        bits *= d
    start, end = offsets
    if end - start != bits // 8 or bits % 8:
        raise InvalidFile(
            f"Tensor {name[:80]!r} takes {bits // 8 if bits < 1 << 63 else 'too many'} bytes by its shape and dtype, "
            f"{end - start} by its data_offsets. {_SAVE}"
        )
    return start, end


def _sizes(found: object) -> bool:
    return (
        isinstance(found, list)
        and len(found) <= 64
        and all(isinstance(d, int) and not isinstance(d, bool) and 0 <= d < 1 << 62 for d in found)
    )
