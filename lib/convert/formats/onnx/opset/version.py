"""What every tool asks of an ONNX model first: its opset, and whether it fits one protobuf."""

from __future__ import annotations

from onnx import ModelProto

WHOLE = 1_900_000_000  # bytes; protobuf ends at 2 GiB, and a bigger model's weights go into a file of their own


def opset(model: ModelProto) -> int:
    """Of ai.onnx; 0 where the model does not import it."""
    return next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
