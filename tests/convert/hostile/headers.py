"""safetensors headers that lie, and configurations that name code or places."""

from __future__ import annotations

import struct
from typing import Any

from tests.convert.hostile import Made, hostile
from tests.convert.hostile.valid import config, safetensors


def entry(dtype: Any = "F32", shape: Any = (6,), offsets: Any = (0, 24), **more: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}


HEADERS: dict[str, tuple[Any, str]] = {
    "offsets after the end": ({"w": entry(shape=[60], offsets=[0, 240])}, "not fully covered"),
    "offsets too short": ({"w": entry(offsets=[0, 20])}, "invalid shape, data type, or offset"),
    "offsets backwards": ({"w": entry(offsets=[24, 0])}, "invalid offset"),
    "negative offset": ({"w": entry(offsets=[-24, 0])}, "expected usize"),
    "overlap": ({"a": entry(), "b": entry()}, "invalid offset"),
    "a gap": ({"a": entry(shape=[2], offsets=[0, 8]), "b": entry(shape=[2], offsets=[16, 24])}, "invalid offset"),
    "bytes that nobody names": ({"w": entry(shape=[2], offsets=[0, 8])}, "not fully covered"),
    "unknown dtype": ({"w": entry("PICKLE")}, "unknown variant `PICKLE`"),
    "shape of 2^200": ({"w": entry(shape=[1 << 50] * 4)}, "overflow"),
    "shape of 2^64, which is 0 in 64 bits": ({"w": entry(shape=[1 << 32, 1 << 30], offsets=[0, 0])}, "overflow"),
    "negative shape": ({"w": entry(shape=[-2, -3])}, "expected usize"),
    "shape of text": ({"w": entry(shape=["6"])}, "expected usize"),
    "shape of truth": ({"w": entry(shape=[True, 6])}, "expected usize"),
    "no object": ({"w": 3}, "expected struct"),
    "no tensors and bytes that nobody names": ({}, "not fully covered"),
    "metadata of objects": ({"__metadata__": {"x": {}}, "w": entry()}, "expected a string"),
    "a name twice": (b'{"w": {"dtype": "U8"}, "w": {"dtype": "U8"}}', "missing field"),
    "nested deep": (b'{"w": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", "recursion limit"),
    "digits": (b'{"w": ' + b"9" * 100_000 + b"}", "number out of range"),
    "no UTF-8": (b'{"\xff\xfe": 1}', "invalid UTF-8"),
    "cut JSON": (b'{"w": {"dtype"', "EOF while parsing"),
}
for name, (header, words) in HEADERS.items():
    hostile(words, f"safetensors: {name}")(lambda header=header: safetensors(header))

hostile("holds no tensors", "safetensors: no tensors")(lambda: safetensors({}, b""))
hostile("invalid header length", "safetensors: a header longer than the file")(lambda: struct.pack("<Q", 5000) + b'{"w": 1}')
hostile("Upload the whole file again", "safetensors: cut off")(lambda: safetensors()[:-3])
hostile("Upload the whole file again", "safetensors: longer than it says")(lambda: safetensors() + b"x")

CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "auto_map": ({"auto_map": {"AutoModel": "modeling--evil.Model"}}, "'auto_map'"),
    "auto_map inside": ({"text_config": {"auto_map": {"AutoModel": "x.Y"}}}, "'auto_map'"),
    "a path as model type": ({"model_type": "../../etc/passwd"}, "plain name"),
    "an absolute path as model type": ({"model_type": "/etc/passwd"}, "plain name"),
    "a Hub id as model type": ({"model_type": "owner/model"}, "plain name"),
    "a list as model type": ({"model_type": ["bert"]}, "plain name"),
    "a path as inner model type": ({"text_config": {"model_type": "../x"}}, "plain name"),
    "code as architecture": ({"architectures": ["__import__('os')"]}, "class names"),
    "a backbone from elsewhere": ({"backbone": "owner/model"}, "backbone"),
    "a pretrained backbone": ({"use_pretrained_backbone": True}, "pretrained backbone"),
    "quantization": ({"quantization_config": {"quant_method": "gptq"}}, "quantization_config"),
    "an address": ({"vision_file": "https://example.com/x"}, "path or URL"),
    "a path": ({"vocab_file": "/etc/passwd"}, "path or URL"),
}
for name, (more, words) in CONFIGS.items():
    hostile(words, f"config.json with {name}")(lambda more=more: {"config.json": config(**more)})


@hostile("must be safetensors")
def pickle_beside_config() -> Made:
    from tests.convert.hostile.torch_pickles import saved

    return {"config.json": config(), "pytorch_model.bin": saved({})}


@hostile("one weights file")
def two_weights_beside_config() -> Made:
    return {"config.json": config(), "a.safetensors": safetensors(), "b.safetensors": safetensors()}


@hostile("safetensors file cannot be read")
def lying_weights_beside_config() -> Made:
    return {"config.json": config(), "model.safetensors": safetensors() + b"x"}
