"""Containers of tensors: PyTorch checkpoints and safetensors."""

from lib.convert.core.format import Format

FORMATS = (
    Format("checkpoint", "PyTorch checkpoint", "model.pt", "weights.runner:WeightsRunner"),
    Format("safetensors", "safetensors", "model.safetensors", "weights.runner:WeightsRunner"),
)
