"""Recognises files that are not ONNX models by their first bytes."""

from __future__ import annotations

import codecs

# Offset, first bytes, what it is, what to do.
MAGIC: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"PK\x03\x04", "a zip archive (a PyTorch checkpoint, an .npz?)", "export the model, or unpack the .onnx in it"),
    (0, b"\x93NUMPY", "a NumPy array", "upload an .onnx file; inputs belong to Run"),
    (0, b"--", "a form or text", "send the file itself: curl --data-binary @model.onnx"),
    (0, b"\x1f\x8b", "gzip data", "unpack it first"),
    (0, b"\x80\x02", "a Python pickle (a PyTorch checkpoint?)", "export the model to ONNX; pickles are never opened here"),
    (0, b"\x80\x03", "a Python pickle", "export the model to ONNX; pickles are never opened here"),
    (0, b"\x80\x04", "a Python pickle", "export the model to ONNX; pickles are never opened here"),
    (0, b"\x80\x05", "a Python pickle", "export the model to ONNX; pickles are never opened here"),
    (0, b"\x89HDF", "an HDF5 file (Keras?)", "export the model to ONNX first"),
    (0, b"\x89PNG", "a PNG picture", "upload an .onnx file"),
    (0, b"\xff\xd8\xff", "a JPEG picture", "upload an .onnx file"),
    (0, b"\x7fELF", "a program", "upload an .onnx file"),
    (0, b"GGUF", "a GGUF file", "upload an .onnx file"),
    (4, b"TFL3", "a TensorFlow Lite model", "convert it to ONNX first"),
    (4, b"ORTM", "a model in onnxruntime's own format (.ort)", "upload the .onnx file it was made from"),
    (8, b'{"', "a safetensors file", "these are weights without a graph; export the model to ONNX"),
    (0, b"version https://git-lfs", "a git-lfs pointer, not the model itself", "run `git lfs pull` and upload again"),
)
# The same for text, in small letters and without white space before it, which begins no ONNX file.
TEXTS: tuple[tuple[bytes, str, str], ...] = (
    (b"<!doctype", "a web page", "download the model itself and upload that"),
    (b"<html", "a web page", "download the model itself and upload that"),
    (b"{", "JSON text", "upload the binary .onnx file"),
    (b"<", "text (ONNX text?)", "paste ONNX text under Build; upload the binary .onnx file here"),
)


def recognised(head: bytes) -> str | None:
    """A sentence on the file that begins with ``head`` (64 bytes are enough); None where it may be ONNX."""
    text = head.removeprefix(codecs.BOM_UTF8).lstrip().lower()
    found = [(what, advice) for offset, magic, what, advice in MAGIC if head[offset:].startswith(magic)]
    found += [(what, advice) for start, what, advice in TEXTS if text.startswith(start)]
    return f"This is {found[0][0]}, not an ONNX model; {found[0][1]}." if found else None


def is_text(head: bytes) -> bool:
    """Whether a file's first bytes are words, for a file that turned out to be no ONNX."""
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # else only a character cut in two
            return False
        text = head[: error.start].decode()
    return len(text) >= 12 and all(c.isprintable() or c in "\r\n\t" for c in text)
