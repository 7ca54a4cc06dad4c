"""ONNX operators in torch, one module per group. Importing this package fills ``registry.TABLE``."""

from lib.convert.tools.onnx_importer.operators import (  # noqa: F401
    control,
    convolution,
    elementwise,
    indexing,
    learning,
    matrices,
    normalization,
    pooling,
    quantization,
    recurrent,
    reduction,
    resize,
    sequences,
    shapes,
    signals,
    vision,
)
