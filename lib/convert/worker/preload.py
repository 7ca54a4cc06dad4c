"""Imports that the fork server of the app's environment does once, so that no job pays for them.

A fork loses the threads of its parent. OpenBLAS and onnxruntime start threads at import, but restart them in the child; no
other module listed here may start any. jax does, so it is imported in its jobs.
"""

import importlib

MODULES = (
    "onnx",
    "onnxruntime",
    "torch",
    "torch.export",
    "torch._dynamo",
    "torch.onnx._internal.exporter._compat",  # imports the whole exporter, which takes a second
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
