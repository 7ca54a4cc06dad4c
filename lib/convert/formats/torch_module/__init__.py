"""PyTorch modules as readable Python source with weights in safetensors."""

from lib.convert.core.format import Format

FORMATS = (
    Format(
        "torch-module", "PyTorch module (Python + safetensors)", "model.py", "torch_module.runner:TorchModuleRunner", place=8
    ),
)
