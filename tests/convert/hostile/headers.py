"""safetensors headers that lie, and configurations that name code or places."""

from __future__ import annotations

import struct
from typing import Any

from tests.convert.hostile import Made, hostile
from tests.convert.hostile.valid import config, safetensors


def entry(dtype: Any = "F32", shape: Any = (6,), offsets: Any = (0, 24), **more: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}


HEADERS: dict[str, tuple[Any, str]] = {
    "offsets after the end": ({"w": entry(shape=[60], offsets=[0, 240])}, "the file has"),
    "offsets too short": ({"w": entry(offsets=[0, 20])}, "by its shape and dtype"),
    "offsets backwards": ({"w": entry(offsets=[24, 0])}, "by its shape and dtype"),
    "negative offset": ({"w": entry(offsets=[-24, 0])}, "not whole numbers"),
    "overlap": ({"a": entry(), "b": entry()}, "begins at byte"),
    "a gap": ({"a": entry(shape=[2], offsets=[0, 8]), "b": entry(shape=[2], offsets=[16, 24])}, "begins at byte"),
    "bytes that nobody names": ({"w": entry(shape=[2], offsets=[0, 8])}, "the file has"),
    "unknown dtype": ({"w": entry("PICKLE")}, "dtype"),
    "shape of 2^200": ({"w": entry(shape=[1 << 50] * 4)}, "too many"),
    "shape of 2^64, which is 0 in 64 bits": ({"w": entry(shape=[1 << 32, 1 << 30], offsets=[0, 0])}, "too many"),
    "negative shape": ({"w": entry(shape=[-2, -3])}, "not whole numbers"),
    "shape of text": ({"w": entry(shape=["6"])}, "not whole numbers"),
    "shape of truth": ({"w": entry(shape=[True, 6])}, "not whole numbers"),
    "another key": ({"w": entry(pickle=1)}, "nothing else"),
    "no object": ({"w": 3}, "nothing else"),
    "no tensors": ({}, "no tensors"),
    "metadata of objects": ({"__metadata__": {"x": {}}, "w": entry()}, "__metadata__"),
    "a name twice": (b'{"w": {"dtype": "U8"}, "w": {"dtype": "U8"}}', "comes twice"),
    "nested deep": (b'{"w": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", "no proper JSON"),
    "digits": (b'{"w": ' + b"9" * 100_000 + b"}", "no proper JSON"),
    "no UTF-8": (b'{"\xff\xfe": 1}', "no proper JSON"),
    "cut JSON": (b'{"w": {"dtype"', "no proper JSON"),
}
for name, (header, words) in HEADERS.items():
    hostile(words, f"safetensors: {name}")(lambda header=header: safetensors(header))

hostile("should have", "safetensors: a header longer than the file")(lambda: struct.pack("<Q", 5000) + b'{"w": 1}')
hostile("the file has", "safetensors: cut off")(lambda: safetensors()[:-3])
hostile("the file has", "safetensors: longer than it says")(lambda: safetensors() + b"x")

CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "auto_map": ({"auto_map": {"AutoModel": "modeling--evil.Model"}}, "'auto_map'"),
    "auto_map inside": ({"text_config": {"auto_map": {"AutoModel": "x.Y"}}}, "'auto_map'"),
    "a path as model type": ({"model_type": "../../etc/passwd"}, "plain name"),
    "an absolute path as model type": ({"model_type": "/etc/passwd"}, "plain name"),
    "a Hub id as model type": ({"model_type": "owner/model"}, "plain name"),
    "a list as model type": ({"model_type": ["bert"]}, "plain name"),
    "a path as inner model type": ({"text_config": {"model_type": "../x"}}, "plain name"),
    "code as architecture": ({"architectures": ["__import__('os')"]}, "names of classes"),
    "a backbone from elsewhere": ({"backbone": "owner/model"}, "backbone"),
    "a pretrained backbone": ({"use_pretrained_backbone": True}, "pretrained backbone"),
    "quantization": ({"quantization_config": {"quant_method": "gptq"}}, "quantization_config"),
    "an address": ({"vision_file": "https://example.com/x"}, "path or address"),
    "a path": ({"vocab_file": "/etc/passwd"}, "path or address"),
}
for name, (more, words) in CONFIGS.items():
    hostile(words, f"config.json with {name}")(lambda more=more: {"config.json": config(**more)})


@hostile("must be safetensors")
def pickle_beside_config() -> Made:
    from tests.convert.hostile.torch_pickles import saved

    return {"config.json": config(), "pytorch_model.bin": saved({})}


@hostile("one file of weights")
def two_weights_beside_config() -> Made:
    return {"config.json": config(), "a.safetensors": safetensors(), "b.safetensors": safetensors()}


@hostile("the file has")
def lying_weights_beside_config() -> Made:
    return {"config.json": config(), "model.safetensors": safetensors() + b"x"}
