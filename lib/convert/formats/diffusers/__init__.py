"""diffusers pipelines: folders, single networks, folders of ONNX files."""

from lib.convert.core.format import Format

FORMATS = (
    Format("diffusers", "diffusers folder", "pipeline/", "diffusers.runner:DiffusersRunner"),
    Format("diffusers-network", "one network of a diffusers folder", "pipeline/", "diffusers.runner:DiffusersRunner"),
    Format("diffusers-onnx", "ONNX folder of a diffusers pipeline", "onnx/", "diffusers.onnx_runner:DiffusersOnnxRunner"),
)
