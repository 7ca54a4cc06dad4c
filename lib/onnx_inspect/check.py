"""Validate a model: ``onnx.checker`` with full checks, tensor sizes against the file, and the lints."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto

from lib.onnx_inspect import wiring
from lib.onnx_inspect.graph import Node
from lib.onnx_inspect.lints import LINTS, Lint, Subject
from lib.onnx_inspect.report import Problem
from lib.onnx_inspect.shapes import write_skeleton
from lib.onnx_model.open import Model, bits, byte_size, count, dtype_name, tensors
from lib.onnx_model.words import clean

MAX_PER_KIND = 50  # listed problems per kind; the rest is only counted


def guarded(problems: list[Problem], where: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call ``function`` and return its result, or append a problem and return None if it fails.

    onnx raises many kinds of errors, so all but MemoryError are caught.
    """
    try:
        return function(*arguments)
    except MemoryError:
        raise
    except Exception as error:
        message = clean(str(error)) or type(error).__name__
        if message not in {p.message for p in problems}:  # a recursive function trips inlining, inference and checker
            problems.append(Problem("error", where, message, "Export the model again or fix the named node.", "onnx"))
        return None


def check(model: Model, inferred: ModelProto, nodes: list[Node], folder: Path) -> list[Problem]:
    """Return the problems of the tensors, then of onnx's checker and the node order, then of the lints."""
    problems = _tensors(model)
    for file, n in islice(missing(model).items(), MAX_PER_KIND):
        text = f"the values of {n:,} tensor{'s are' if n > 1 else ' are'} in {file[:200]!r}, which was not uploaded"
        problems.append(Problem("error", file, text, "Add that file: it completes the model.", "external data"))
    if not model.missing:  # otherwise the checker would only report the first missing tensor again
        path = write_skeleton(model, _inferable(model.proto), folder)
        guarded(problems, "model", _full_check, path)
    problems += wiring.order(nodes)
    subject = Subject(model, inferred, nodes)
    for name, lint in LINTS.items():
        found = _linted(lint, subject)
        for problem in found[:MAX_PER_KIND]:
            problem.rule = name
            problems.append(problem)
        if len(found) > MAX_PER_KIND:
            problems.append(Problem(found[0].severity, "model", f"{len(found) - MAX_PER_KIND} more like these.", "", name))
    return problems


def missing(model: Model) -> dict[str, int]:
    """Return the missing files of external data and the number of tensors in each."""
    counts: dict[str, int] = {}
    for where, tensor in tensors(model.proto):
        if where in model.missing:
            name = next((e.value for e in tensor.external_data if e.key == "location"), "")
            counts[name] = counts.get(name, 0) + 1
    return counts


def _inferable(proto: ModelProto) -> ModelProto:
    """Write out the default axes of MeanVarianceNormalization: onnx 1.23 cannot infer its own definition without them."""
    if not any(n.op_type == "MeanVarianceNormalization" for n in proto.graph.node):
        return proto
    copy = ModelProto()
    copy.CopyFrom(proto)
    for node in copy.graph.node:
        if node.op_type == "MeanVarianceNormalization" and node.domain in ("", "ai.onnx") and not node.attribute:
            node.attribute.append(onnx.helper.make_attribute("axes", [0, 2, 3]))
    return copy


def _linted(lint: Lint, subject: Subject) -> list[Problem]:
    """Run a lint. It may fail on a damaged tensor or node, which the checker reports."""
    try:
        return list(lint(subject))
    except MemoryError:
        raise
    except Exception as error:
        text = f"this lint failed on the damaged model ({type(error).__name__})"
        return [Problem("info", "model", text)]


def _full_check(path: Path) -> None:
    onnx.checker.check_model(str(path), full_check=True)


def _tensors(model: Model) -> list[Problem]:
    """Compare the declared sizes with the stored bytes, such as a shape of 10⁹ elements with ten bytes of data."""
    problems = []
    for where, tensor in tensors(model.proto):
        if where in model.missing:
            continue
        if any(d < 0 for d in tensor.dims):
            problems.append(
                Problem("error", where, f"a dimension is negative: {list(tensor.dims)}", "Export the model again.")
            )
            continue
        if not bits(tensor.data_type) and tensor.data_type != onnx.TensorProto.STRING:
            problems.append(
                Problem("error", where, f"its dtype ({dtype_name(tensor.data_type)}) is not defined by onnx", "")
            )
            continue
        payload = model.payload(tensor)
        raw = payload.field == 9 if payload else tensor.HasField("raw_data")
        held = payload.length if payload else len(tensor.raw_data)
        if raw and held != byte_size(tensor):
            problems.append(
                Problem(
                    "error",
                    where,
                    f"shape {list(tensor.dims)} of {dtype_name(tensor.data_type)} takes {byte_size(tensor):,} "
                    f"bytes, but there are {held:,}",
                    "The file is damaged or incomplete: save it again.",
                    "tensor size",
                )
            )
        elif payload and not raw and not _may_hold(payload.field, payload.length, tensor):
            text = f"it declares {count(tensor):,} elements of {dtype_name(tensor.data_type)} and holds {held:,} bytes"
            problems.append(
                Problem("error", where, text, "The file is damaged or incomplete: save it again.", "tensor size")
            )
        elif not raw and not payload and count(tensor) > 64 and not _values(tensor):
            problems.append(
                Problem("error", where, f"it declares {count(tensor):,} elements and holds none", "Save it again.")
            )
    return problems[:MAX_PER_KIND]


def _may_hold(field: int, length: int, tensor: onnx.TensorProto) -> bool:
    """Return whether a typed payload of ``length`` bytes can hold the tensor's elements.

    float_data and double_data store 4 and 8 bytes per number, the other fields 1 to 10 (varints).
    """
    numbers = count(tensor) * (2 if dtype_name(tensor.data_type).startswith("complex") else 1)
    if field in (4, 10):
        return length == numbers * (4 if field == 4 else 8)
    packed = -(-numbers * bits(tensor.data_type) // 8) if bits(tensor.data_type) < 8 else numbers
    return packed <= length <= 10 * packed


def _values(tensor: onnx.TensorProto) -> int:
    fields = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
    return sum(len(getattr(tensor, f)) for f in fields)
