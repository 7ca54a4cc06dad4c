"""Checks a safetensors file with the format's own reader, which validates the header. Reads no tensor data."""

from __future__ import annotations

import shutil
from pathlib import Path

from lib.convert.formats import main_file
from lib.errors import InvalidFile
from lib.onnx_model.words import clean

MAX_HEADER = 100_000_000  # bytes, the limit of the safetensors library
SINGLE_FILE = "model.diffusion_model."  # prefix of the UNet's tensors in Stable Diffusion single files


def is_safetensors(head: bytes, size: int) -> bool:
    """Returns whether a file of ``size`` bytes starts like safetensors: a header length, then JSON."""
    return 2 <= int.from_bytes(head[:8], "little") <= max(size, MAX_HEADER) and head[8:10] in (b'{"', b"{ ", b"{}", b"{\n")


def admit(name: str, path: Path, beside: dict[str, Path], folder: Path) -> tuple[str, list[str]]:
    """Stores the upload and returns its format, ``safetensors`` or ``sd-single-file`` by its tensor names, and messages.

    Raises InvalidFile.
    """
    names = check_safetensors(path)
    format = "sd-single-file" if any(tensor_name.startswith(SINGLE_FILE) for tensor_name in names) else "safetensors"
    shutil.copyfile(path, main_file(format, folder))
    return format, []


def check_safetensors(path: Path) -> list[str]:
    """Returns the tensor names. Raises InvalidFile for a header that does not match the file.

    The reader rejects gaps, overlaps, unused bytes, overflowing sizes, unknown dtypes and bad JSON. It accepts unknown
    keys of a tensor, and of duplicate names it takes the last; later readers of the file do the same.
    """
    from safetensors import SafetensorError, safe_open  # not installed in the TensorFlow environments

    try:
        with safe_open(path, framework="np") as file:
            names = list(file.keys())
    except SafetensorError as error:
        raise unreadable(error) from None
    if not names:
        raise InvalidFile("The safetensors file holds no tensors. Save the model's state_dict to it.")
    return names


def unreadable(error: Exception) -> InvalidFile:
    """Returns the InvalidFile for an error of the reader."""
    reason = clean(str(error).removeprefix("Error while deserializing header: "))[:200]
    return InvalidFile(
        f"The safetensors file cannot be read ({reason}): it is damaged, cut off or invalid. Upload the whole file again, "
        "or save it again with safetensors."
    )
