"""Suggestions for a withheld file: sentences, some with options or a target to try."""

from __future__ import annotations

from typing import Any

Remedy = dict[str, Any]


def remedies(report: dict[str, Any], reachable: list[str]) -> list[Remedy]:
    """Return up to four suggestions {text, options, target}; none for a proven file.

    ``options`` (in addition to the given ones) or ``target`` are set if one click can try the suggestion, else None.
    ``report``: of the conversion; ``reachable``: the targets of its source.
    """
    if report["verdict"] == "proven":
        return []
    target, precision = report["target"]["format"], report["precision"]
    suggestions: list[Remedy] = []
    if report["weights"] == "random":
        suggestions.append(
            _advice(
                "Drop trained weights (.pth, .safetensors) beside the name: random ones say little about a real network."
            )
        )
    if precision in ("fp16", "int8") and not report["samples"]:
        suggestions.append(_advice("Give samples of real inputs: they calibrate and test the file."))
    if precision == "int8":
        suggestions += _int8(report, target, reachable)
    if target == "onnx-fp16" and report["lost"]:
        suggestions.append(
            _other_target("onnx-int8-dynamic", "Make int8 weights instead: their scale follows the weights.", reachable)
        )
    if precision in ("fp16", "int8") and report["samples"] and not _good(report) and report["min_agreement"] > 0.9:
        suggestions.append({"text": "Accept 90 % equal decisions.", "options": {"min_agreement": 0.9}, "target": None})
    if report["messages"] and any("refuses inputs" in m for m in report["messages"]):
        suggestions.append(_advice('Say which sizes the model takes, as in sizes="batch=1, samples=512".'))
    return [remedy for remedy in suggestions if remedy is not None][:4]


def _int8(report: dict[str, Any], target: str, reachable: list[str]) -> list[Remedy | None]:
    options, suggestions = report["options"], []
    if options.get("per_channel") is False:
        suggestions.append(
            {"text": "Use a separate scale for each channel.", "options": {"per_channel": True}, "target": None}
        )
    if target == "onnx-int8-dynamic":
        suggestions.append(
            _other_target("onnx-int8-static", "Measure the ranges beforehand (static int8), with samples.", reachable)
        )
    fp16_target = {"onnx-int8-dynamic": "onnx-fp16", "onnx-int8-static": "onnx-fp16", "tflite-int8": "tflite-fp16"}.get(
        target, ""
    )
    return [*suggestions, _other_target(fp16_target, "Use float16: half the size instead of a quarter.", reachable)]


def _good(report: dict[str, Any]) -> bool:
    return report["quality"] is None or bool(report["quality"]["good"])


def _advice(text: str) -> Remedy:
    return {"text": text, "options": None, "target": None}


def _other_target(target: str, text: str, reachable: list[str]) -> Remedy | None:
    return {"text": text, "options": None, "target": target} if target in reachable else None
