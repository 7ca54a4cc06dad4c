"""Checks a safetensors file by the format's own reader, which compares the header with the file. Reads no tensor."""

from __future__ import annotations

import shutil
from pathlib import Path

from lib.convert.formats import main_file
from lib.errors import InvalidFile
from lib.onnx_model.words import clean

MAX_HEADER = 100_000_000  # bytes, as the format's own reader has it
SINGLE_FILE = "model.diffusion_model."  # what every name of the UNet begins with in Stable Diffusion's own layout


def is_safetensors(head: bytes, size: int) -> bool:
    """Whether a file of ``size`` bytes begins as safetensors do: the length of a header, and JSON."""
    return 2 <= int.from_bytes(head[:8], "little") <= max(size, MAX_HEADER) and head[8:10] in (b'{"', b"{ ", b"{}", b"{\n")


def admit(name: str, path: Path, beside: dict[str, Path], folder: Path) -> tuple[str, list[str]]:
    """``safetensors``, or ``sd-single-file`` by the tensors' names. Raises InvalidFile."""
    names = check_safetensors(path)
    format = "sd-single-file" if any(one.startswith(SINGLE_FILE) for one in names) else "safetensors"
    shutil.copyfile(path, main_file(format, folder))
    return format, []


def check_safetensors(path: Path) -> list[str]:
    """The tensors' names. Raises InvalidFile for a header that lies about the file.

    The reader refuses gaps, overlaps, bytes that no tensor has, sizes that overflow, unknown dtypes and bad JSON. It
    takes an unknown key of a tensor, and the last of two entries of one name: so does whoever reads the file later.
    """
    from safetensors import SafetensorError, safe_open  # not in the environments of TensorFlow

    try:
        with safe_open(path, framework="np") as file:
            names = list(file.keys())
    except SafetensorError as error:
        raise unreadable(error) from None
    if not names:
        raise InvalidFile("The safetensors file holds no tensors. Save the model's state_dict in it.")
    return names


def unreadable(error: Exception) -> InvalidFile:
    """What to tell of an error of the reader."""
    why = clean(str(error).removeprefix("Error while deserializing header: "))[:200]
    return InvalidFile(
        f"The safetensors file cannot be read ({why}): it is damaged, cut off, or not as the format wants it. Upload the "
        "whole file again, or save it again with safetensors."
    )
