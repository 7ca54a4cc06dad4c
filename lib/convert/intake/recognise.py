"""Recognize an uploaded file by its content: the name of a format that can be uploaded, or an error with advice.

Reads only the first bytes, a zip's list of members, and JSON. A file name alone never decides.
"""

from __future__ import annotations

import codecs
import json
from pathlib import Path

from lib.archives import Archive, Limits, is_litter, opened
from lib.convert.core.archives import root_of
from lib.convert.formats import FORMATS, function
from lib.errors import InvalidFile

UPLOADS = {f.name: f.upload for f in FORMATS.values() if f.upload}
WANTED = f"Supported: {', '.join(upload.wanted for upload in UPLOADS.values() if upload.wanted)}"
# (offset, magic bytes, description, advice)
MAGIC: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\x93NUMPY", "a NumPy array", "it contains no model; calibration data belong in the options of a conversion"),
    (0, b"\x1f\x8b", "gzip data", "unpack it first"),
    (0, b"BZh", "bzip2 data", "unpack it first"),
    (0, b"\xfd7zXZ", "xz data", "unpack it first"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it, or repack it as a zip"),
    (0, b"Rar!", "a RAR archive", "unpack it, or repack it as a zip"),
    (257, b"ustar", "a tar archive", "unpack it, or repack it as a zip"),
    (
        0,
        b"\x89HDF\r\n\x1a\n",
        "an HDF5 file (an old Keras model, or weights alone)",
        "load it in your own Keras 3 and use model.save('model.keras'); weights alone have no graph",
    ),
    (0, b"\x89PNG", "a PNG image", WANTED),
    (0, b"\xff\xd8\xff", "a JPEG image", WANTED),
    (0, b"GIF8", "a GIF image", WANTED),
    (0, b"%PDF", "a PDF", WANTED),
    (0, b"\x7fELF", "a program", WANTED),
    (0, b"MZ", "a program", WANTED),
    (0, b"GGUF", "a GGUF file", "its quantised weights cannot be converted here; upload the original model"),
    (4, b"ORTM", "a model in onnxruntime's own format (.ort)", "upload the .onnx file it was made from"),
    (0, b"version https://git-lfs", "a git-lfs pointer, not the model itself", "run `git lfs pull` and upload again"),
    (
        0,
        b"\x80\x04\x95",
        "a Python pickle that torch did not write",
        "a pickle can run arbitrary code; save with torch.save or as safetensors",
    ),
    (
        0,
        b"\x80\x05\x95",
        "a Python pickle that torch did not write",
        "a pickle can run arbitrary code; save with torch.save or as safetensors",
    ),
    (0, b"--", "a form or text", "send the file itself"),
)
TEXTS: tuple[tuple[bytes, str, str], ...] = (
    (b"<!doctype", "a web page", "download the model itself and upload that"),
    (b"<html", "a web page", "download the model itself and upload that"),
    (b"<?xml", "XML text (OpenVINO IR?)", "OpenVINO IR is a target here, not a source: upload the model it was made from"),
    (b"<net", "XML text (OpenVINO IR?)", "OpenVINO IR is a target here, not a source: upload the model it was made from"),
    (b"<", "text", WANTED),
    (b"#", "text", WANTED),
    (b"import ", "Python text", "code is not run here; upload the exported model"),
    (b"from ", "Python text", "code is not run here; upload the exported model"),
)
MAX_JSON = 16 << 20


def recognise(path: Path) -> str:
    """Return the name of the format, one of ``UPLOADS``, or ``architecture`` for a config.json of transformers.

    Raises InvalidFile for other files; the message says what the file is and what to do.
    """
    size = path.stat().st_size
    if size == 0:
        raise InvalidFile(f"The file is empty. {WANTED}.")
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(b"PK") and size < 22:  # a zip's last record alone has 22 bytes
        raise InvalidFile("This zip archive ends after a few bytes. Upload the whole file.")
    if head.startswith(b"PK\x05\x06"):
        raise InvalidFile(f"The zip archive is empty. {WANTED}.")
    if head.startswith(b"PK\x03\x04"):
        with opened(path, Limits(members=200_000, total=1 << 40)) as archive:
            return in_archive(archive)
    for name, upload in UPLOADS.items():
        if any(head[offset:].startswith(start) for offset, start in upload.magic):
            return name
        if upload.matches and function(upload.matches)(head, size):
            return name
    if (description := _other(head)) is not None:
        raise InvalidFile(f"This is {description[0]}, not a model that can be converted here; {description[1]}.")
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if text.startswith((b"{", b"[")):
        return _json(path, size)
    return "onnx"  # protobuf has no magic bytes; its reader reports errors


def _other(head: bytes) -> tuple[str, str] | None:
    text = head.removeprefix(codecs.BOM_UTF8).lstrip().lower()
    matches = [(description, advice) for offset, magic, description, advice in MAGIC if head[offset:].startswith(magic)]
    matches += [(description, advice) for start, description, advice in TEXTS if text.startswith(start)]
    return matches[0] if matches else None


def _json(path: Path, size: int) -> str:
    if size <= MAX_JSON:
        try:
            content = json.loads(path.read_bytes())
        except (ValueError, RecursionError):
            content = None
        if isinstance(content, dict):
            if "model_type" in content:
                return "architecture"
            if "weight_map" in content:
                raise InvalidFile("This is the index of sharded weights. Merge the shards into one safetensors file.")
            if "_class_name" in content:
                raise InvalidFile("This is a diffusers configuration; upload the whole pipeline folder as a zip.")
            if "class_name" in content and "config" in content:
                raise InvalidFile("This is a Keras configuration without weights; upload model.save('model.keras').")
            raise InvalidFile(
                "This is JSON, but not a config.json of transformers: it has no model_type. Upload the config.json that "
                "comes with a model's weights."
            )
    raise InvalidFile(f"This JSON text cannot be read, or is too long. {WANTED}.")


def in_archive(archive: Archive) -> str:
    """Return the format of a zip, by its members. Raises InvalidFile."""
    names = {name for name in archive.members if not is_litter(name)}
    if not names:
        raise InvalidFile(f"The zip archive contains no files. {WANTED}.")
    root = root_of(archive)
    for name, upload in UPLOADS.items():
        if upload.in_zip and function(upload.in_zip)(names, root):
            return name
    inner = {name.removeprefix(root) for name in names}
    for suffix, content in CONTENTS:
        if any(name.endswith(suffix) for name in inner):
            raise InvalidFile(f"This is a zip archive {content}.")
    raise InvalidFile(f"This is a zip archive, but its members are not a known kind of model. {WANTED}.")


CONTENTS = (
    (".npy", "of NumPy arrays (.npz), which contain no model"),
    (".onnx", "with ONNX in it: unpack it and upload the .onnx file together with its external data"),
    (".tflite", "with a TensorFlow Lite model in it: unpack it and upload the .tflite file"),
    (".safetensors", "with safetensors in it: unpack it and upload config.json and the .safetensors file together"),
    (".mlmodel", "of Core ML, which is not supported here: upload the model it was converted from"),
    (".py", "with Python code in it, which is not run here: upload the exported model"),
    (".zip", "with archives in it: upload the model itself"),
    *((s, f"with a {s} file in it: upload that file itself") for upload in UPLOADS.values() for s in upload.suffixes),
)
