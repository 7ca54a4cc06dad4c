"""Files that are something else, or only half a model."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np

from lib.onnx_inspect.examples import EXAMPLES
from lib.onnx_model.wire import _encode, _tag
from tests.onnx_inspect.bad import REFUSED, Made, bad

TOUCHED = Path("touched-by-a-pickle")  # in the child's folder, and in the tests' own
VALID = EXAMPLES["digits"]().SerializeToString()

for share in (0.001, 0.01, 0.3, 0.9, 0.9999):
    bad(REFUSED, "", f"truncated to {share:.2%}")(lambda share=share: VALID[: max(3, int(len(VALID) * share))])
for seed in range(8):
    bad(REFUSED, "", f"random bytes {seed}")(lambda seed=seed: np.random.default_rng(seed).bytes(10 ** (seed % 5 + 1)))

PLAIN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "one byte": (b"\x08", "Truncated"),
    "only an ir_version": (b"\x08\x08", "protobuf without a graph"),
    "only zeros": (bytes(1000), "field number 0"),
    "gzip": (b"\x1f\x8b\x08\x00" + bytes(60), "gzip data"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
    "TFLite": (struct.pack("<I", 28) + b"TFL3" + bytes(100), "TensorFlow Lite"),
    "onnxruntime's own format": (struct.pack("<I", 28) + b"ORTM" + bytes(100), ".ort"),
    "GGUF": (b"GGUF\x03\x00\x00\x00" + bytes(100), "GGUF"),
    "git-lfs pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
    "web page": (b"<!DOCTYPE html><html><body>Sign in</body></html>", "a web page"),
    "web page, small letters": (b"\n  <!doctype html>\n<html>", "a web page"),
    "web page with a byte order mark": (b"\xef\xbb\xbf<html>", "a web page"),
    "JSON": (json.dumps({"model": 1}).encode(), "JSON text"),
    "JSON after a newline": (b'\n{"model": 1}', "JSON text"),
    "ONNX text": (b'<ir_version: 10, opset_import: ["" : 20]> g (float[1] x) => (float[1] y) {}', "ONNX text"),
    "PNG": (b"\x89PNG\r\n\x1a\n" + bytes(100), "PNG"),
    "a program": (b"\x7fELF" + bytes(100), "a program"),
    "an empty graph": (b"\x08\x08\x3a\x00", "no nodes"),
    "wire type 7": (b"\x08\x08\x3f\x00", "wire type 7"),
    "group": (b"\x08\x08\x3b\x08\x01\x3c", "wire type 3"),
    "number of 11 bytes": (b"\x08" + b"\xff" * 10 + b"\x01", "over 64 bits"),
    "field of 2^60 bytes": (b"\x08\x08" + _tag(7) + _encode(1 << 60) + b"x", "Truncated"),
    "field number 2^60": (_encode(1 << 60 | 2) + b"\x01x", ""),
}
for name, (content, words) in PLAIN.items():
    bad(REFUSED, words, name)(lambda content=content: content)


@bad(REFUSED, "a zip archive")
def a_zip() -> Made:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model.onnx", VALID)
    return file.getvalue()


class Touch:
    def __reduce__(self) -> tuple:
        return Path.touch, (TOUCHED,)


for protocol in range(6):
    words = "pickle" if protocol > 1 else ""
    bad(REFUSED, words, f"pickle of protocol {protocol}")(lambda protocol=protocol: pickle.dumps(Touch(), protocol))


@bad(REFUSED, "safetensors")
def safetensors() -> Made:
    head = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(head)) + head + bytes(4)


@bad(REFUSED, "not an ONNX", "weights alone")
def a_tensor() -> Made:
    return EXAMPLES["digits"]().graph.initializer[1].SerializeToString()


@bad(REFUSED, "nest over 100 deep", "messages nested 5000 deep")
def nested() -> Made:
    """An attribute in a node in a graph in an attribute …: 3 levels of protobuf each."""
    data = b""
    for field in (6, 5, 1) * 1700:
        data = _tag(field) + _encode(len(data)) + data
    return b"\x08\x08" + _tag(7) + _encode(len(data)) + data


@bad(REFUSED, "", "small messages nested 110 deep")
def nested_a_little() -> Made:
    data = b""
    for field in (6, 5, 1) * 37:
        data = _tag(field) + _encode(len(data)) + data
    return b"\x08\x08" + _tag(7) + _encode(len(data)) + data
