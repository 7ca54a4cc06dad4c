"""What the fork server of the app's environment imports once, so that no job pays for it.

OpenBLAS and onnxruntime start threads at import that a fork loses; they start them anew in the child. Nothing else
here may: jax does, so it is imported in its jobs.
"""

import importlib

MODULES = (
    "onnx",
    "onnxruntime",
    "torch",
    "torch.export",
    "torch._dynamo",
    "torch.onnx._internal.exporter._compat",  # with it, all of the exporter: a second of every export
    "onnxscript.function_libs.torch_lib.ops",
    "torchvision",
    "transformers.modeling_utils",
    "safetensors.torch",
    "lib.convert.worker.entrypoints",
    "lib.convert.intake.sources",
    "lib.convert.intake.admit",
    "lib.convert.formats.pytorch.architectures",
    "lib.convert.formats.onnx.runner",
)

for name in MODULES:
    importlib.import_module(name)
