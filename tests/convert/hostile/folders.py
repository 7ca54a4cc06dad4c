"""Folders of diffusers pipelines: pickles, programs and classes from elsewhere."""

from __future__ import annotations

import json
import pickle
from typing import Any

from tests.convert.hostile import Touch, hostile
from tests.convert.hostile.valid import PIPELINE, diffusers, safetensors

for member in ("unet/diffusion_pytorch_model.bin", "model.ckpt", "unet/x.pkl", "unet/x.PT"):
    hostile("is a pickle", f"pipeline with {member}")(
        lambda member=member: diffusers(**{f"pipe/{member}": pickle.dumps(Touch())})
    )
for member in ("pipeline.py", "unet/model.py", "x.so"):
    hostile("is code", f"pipeline with {member}")(lambda member=member: diffusers(**{f"pipe/{member}": b"print()"}))
hostile("does not belong", "pipeline with ONNX")(lambda: diffusers(**{"pipe/unet/model.onnx": b"x"}))
hostile("does not belong", "pipeline with deeper folders")(lambda: diffusers(**{"pipe/a/b/c.json": b"{}"}))

INDEXES: dict[str, dict[str, Any]] = {
    "a module of its own": {"unet": ["my_unet", "UNet"]},
    "a module of Python": {"unet": ["os", "system"]},
    "a path": {"unet": ["../evil", "UNet"]},
    "three words": {"unet": ["diffusers", "UNet2DConditionModel", "x"]},
    "code as class": {"unet": ["diffusers", "__import__('os')"]},
    "a class of dots": {"unet": ["diffusers", "utils.os"]},
    "a pipeline from elsewhere": {"_class_name": ["pipeline", "Mine"]},
    "a path as component": {"../unet": ["diffusers", "UNet2DConditionModel"]},
    "an object": {"unet": {"x": 1}},
}
for name, more in INDEXES.items():
    hostile("components must be", f"pipeline whose index has {name}")(lambda more=more: diffusers({**PIPELINE, **more}))

hostile("name the pipeline's class", "pipeline without a class")(
    lambda: diffusers({"unet": ["diffusers", "UNet2DConditionModel"]})
)
hostile("auto_map", "pipeline whose encoder has auto_map")(
    lambda: diffusers(**{"pipe/text_encoder/config.json": json.dumps({"auto_map": {"AutoModel": "x.Y"}}).encode()})
)
hostile("unet/x.safetensors: The safetensors file", "pipeline with lying weights")(
    lambda: diffusers(**{"pipe/unet/x.safetensors": safetensors() + b"x"})
)
hostile("not valid JSON", "pipeline with broken JSON")(lambda: diffusers(**{"pipe/unet/x.json": b"{"}))
