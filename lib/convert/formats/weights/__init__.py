"""Tensor containers without a graph: PyTorch checkpoints and safetensors."""

from lib.convert.core.format import Format, Upload

FORMATS = (
    Format(
        "checkpoint",
        "PyTorch checkpoint",
        "model.pt",
        "weights.runner:WeightsRunner",
        upload=Upload(
            wanted="a PyTorch checkpoint",
            matches="weights.torch_check:is_checkpoint",
            in_zip="weights.torch_check:is_checkpoint_zip",
            check="weights.torch_check:check_checkpoint",
        ),
        container=True,
    ),
    Format(
        "safetensors",
        "safetensors",
        "model.safetensors",
        "weights.runner:WeightsRunner",
        upload=Upload(
            wanted="safetensors",
            matches="weights.safetensors_check:is_safetensors",
            check="weights.safetensors_check:check_safetensors",
            admit="weights.safetensors_check:admit",
        ),
        container=True,
        place=2,
    ),
)
