"""The opset of an ONNX model, and the size limit of a single protobuf."""

from __future__ import annotations

from onnx import ModelProto

WHOLE = 1_900_000_000  # bytes, below protobuf's limit of 2 GiB; larger models need external data


def opset(model: ModelProto) -> int:
    """Returns the ai.onnx opset that the model imports; 0 if none."""
    return next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
