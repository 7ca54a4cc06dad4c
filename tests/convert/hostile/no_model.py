"""Files that are something else."""

from __future__ import annotations

import io
import json

import numpy as np

from tests.convert.hostile import Made, hostile
from tests.convert.hostile.valid import zipped

PLAIN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "one byte": (b"\x08", "Unknown file format"),
    "zeros": (bytes(1000), "Unknown file format"),
    "git-lfs pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
    "web page": (b"<!DOCTYPE html><html>", "a web page"),
    "PNG": (b"\x89PNG\r\n\x1a\n" + bytes(100), "a PNG image"),
    "gzip": (b"\x1f\x8b\x08\x00" + bytes(100), "unpack it first"),
    "tar": (b"model.onnx" + bytes(247) + b"ustar\x0000" + bytes(500), "a tar archive"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(100), "a 7z archive"),
    "rar": (b"Rar!\x1a\x07\x01" + bytes(100), "a RAR archive"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "model.save('model.keras')"),
    "OpenVINO IR": (b'<?xml version="1.0"?><net name="x"></net>', "is a target here, not a source"),
    "Python": (b"import os\nos.system('true')\n", "code is not run here"),
    "a program": (b"\x7fELF" + bytes(100), "a program"),
    "GGUF": (b"GGUF\x03\x00\x00\x00" + bytes(100), "GGUF"),
    "onnxruntime's own format": (b"\x1c\x00\x00\x00ORTM" + bytes(100), ".ort"),
    "JSON without a model type": (b'{"hidden_size": 8}', "it has no model_type"),
    "JSON list": (b"[1, 2]", "cannot be read"),
    "JSON nested 100,000 deep": (b'{"model_type":' + b"[" * 100_000, "cannot be read"),
    "index of shards": (b'{"weight_map": {"w": "model-00001-of-00002.safetensors"}}', "Merge the shards"),
    "an empty zip": (b"PK\x05\x06" + bytes(18), "is empty"),
}
for name, (content, words) in PLAIN.items():
    hostile(words, name)(lambda content=content: content)
for seed in range(6):
    hostile("Unknown file format", f"random bytes {seed}")(
        lambda seed=seed: b"\x0f" + np.random.default_rng(seed).bytes(10 ** (seed % 5 + 1))
    )


@hostile("(.npz)")
def arrays() -> Made:
    file = io.BytesIO()
    np.savez(file, x=np.zeros(3))
    return file.getvalue()


@hostile("a NumPy array")
def array() -> Made:
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    return file.getvalue()


for inner, words in {
    "model.onnx": "unpack it and upload the .onnx",
    "model.tflite": "upload the .tflite",
    "model.safetensors": "config.json and the .safetensors file together",
    "setup.py": "is not run here",
    "more.zip": "archives in it",
    "words.txt": "not a known kind of model",
}.items():
    hostile(words, f"zip of {inner}")(lambda inner=inner: zipped({inner: b"x" * 100}))


@hostile("needs no other file: send one file")
def two_models() -> Made:
    return {"a.tflite": b"\x1c\x00\x00\x00TFL3" + bytes(60), "b.tflite": b"x"}


for name in ("../escaped", "/etc/passwd", "a/b", "..", "a\\b", "a\0b", "c:x", "a\nb", ""):
    hostile("a plain file name is needed", f"a file called {name!r}")(lambda name=name: {name: json.dumps({}).encode()})
