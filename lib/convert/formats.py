"""The formats: what they are called, what an artifact of each is on disk, and who runs it.

An artifact is a folder with one main file (or, where ``main`` ends in ``/``, one main folder) and what belongs
beside it. ``recognise`` tells a format by content; its name never decides alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lib.errors import InvalidValue

APP = "app"  # the environment that the app itself runs in


@dataclass(frozen=True, slots=True)
class Format:
    """``main`` is the main file's name in an artifact's folder; ``runner`` is ``module:Class`` of ``runners/``.

    ``base`` is the format that files of a variant (fp16, int8 …) are in: a variant is a target, never a source.
    """

    name: str
    title: str
    main: str
    runner: str
    environment: str = APP
    base: str = ""

    @property
    def on_disk(self) -> str:
        return self.base or self.name


FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        Format("architecture", "PyTorch architecture", "architecture.json", "architecture:ArchitectureRunner"),
        Format("pt2", "PyTorch exported program", "model.pt2", "pt2:Pt2Runner"),
        Format("torch-module", "PyTorch module (Python + safetensors)", "model.py", "torch_module:TorchModuleRunner"),
        Format("checkpoint", "PyTorch checkpoint", "model.pt", "weights:WeightsRunner"),
        Format("safetensors", "safetensors", "model.safetensors", "weights:WeightsRunner"),
        Format("onnx", "ONNX", "model.onnx", "onnx:OnnxRunner"),
        Format("onnx-opset", "ONNX, another opset", "model.onnx", "onnx:OnnxRunner", base="onnx"),
        Format("onnx-slim", "ONNX, slimmed", "model.onnx", "onnx:OnnxRunner", base="onnx"),
        Format("onnx-fp16", "ONNX, float16", "model.onnx", "onnx:OnnxRunner", base="onnx"),
        Format("onnx-int8-dynamic", "ONNX, int8 weights (dynamic)", "model.onnx", "onnx:OnnxRunner", base="onnx"),
        Format("onnx-int8-static", "ONNX, int8 (static, calibrated)", "model.onnx", "onnx:OnnxRunner", base="onnx"),
        Format("openvino", "OpenVINO IR", "model.xml", "openvino:OpenvinoRunner"),
        Format("keras", "Keras 3", "model.keras", "keras:KerasRunner"),
        Format("saved-model", "TensorFlow SavedModel", "saved_model/", "saved_model:SavedModelRunner", "tensorflow"),
        Format("tflite", "TensorFlow Lite", "model.tflite", "tflite:TfliteRunner"),
        Format("tflite-fp16", "TensorFlow Lite, float16 weights", "model.tflite", "tflite:TfliteRunner", base="tflite"),
        Format("tflite-int8", "TensorFlow Lite, int8", "model.tflite", "tflite:TfliteRunner", base="tflite"),
        Format("jax", "JAX example", "jax.json", "jax:JaxRunner"),
        Format("diffusers", "diffusers folder", "pipeline/", "diffusers:DiffusersRunner"),
        Format("diffusers-network", "one network of a diffusers folder", "pipeline/", "diffusers:DiffusersRunner"),
        Format("sd-single-file", "Stable Diffusion single file", "model.safetensors", "single_file:SingleFileRunner"),
        Format("diffusers-onnx", "ONNX folder of a diffusers pipeline", "onnx/", "diffusers_onnx:DiffusersOnnxRunner"),
    )
}


def find(name: str) -> Format:
    """Raises InvalidValue, which lists what there is."""
    if name not in FORMATS:
        raise InvalidValue("target", name, ", ".join(FORMATS))
    return FORMATS[name]


def main_file(name: str, folder: Path) -> Path:
    """Where an artifact of the format ``name`` lies in its folder."""
    return folder / find(name).main.rstrip("/")
