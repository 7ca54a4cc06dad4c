"""The tensors part of the page: all tensors of a TensorFlow Lite file with their quantization, and its signatures."""

from __future__ import annotations

from typing import Any

import gradio as gr

from web.html import Html

from . import view_tflite
from .page_shared import Updates, table


class Tensors:
    def __init__(self) -> None:
        self.signatures = Html(padding=False, elem_id="onnx-signatures")
        kinds = ["number", "str", "str", "str", "str", "str", "number"]
        shown: dict[str, Any] = {"elem_id": "onnx-tensors", "column_widths": view_tflite.TENSOR_WIDTHS}
        self.tensors = table(view_tflite.TENSOR_COLUMNS, kinds, "Tensors of the first graph", **shown)
        self.outputs = [self.signatures, self.tensors]

    def show(self, report: dict[str, Any]) -> Updates:
        if report["format"] != "tflite":
            return {self.signatures: "", self.tensors: gr.Dataframe(value=None)}
        return {self.signatures: view_tflite.signatures(report), self.tensors: view_tflite.tensors(report)}
