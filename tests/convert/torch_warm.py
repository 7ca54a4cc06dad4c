"""Imported once by the fork server of ``torch_coverage``: exports a tiny model, so that its children find the
exporter's tables and caches made. One thread only: a fork would lose others."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import torch

from lib.convert.edges import architecture_to_onnx
from lib.convert.formats.pytorch import architectures

torch.set_num_threads(1)

TINY = {"model_type": "vit", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}

with tempfile.TemporaryDirectory(prefix="warm-") as _home:
    _folder = Path(_home)
    (_folder / "config.json").write_text(json.dumps(TINY | {"image_size": 16, "patch_size": 8}))
    (_folder / "out").mkdir()
    architectures.prepare("transformers:", None, _folder / "config.json", _folder)
    architecture_to_onnx.convert(lambda *_: None, _folder, _folder / "out", {"opset": "default", "dynamic": True})
