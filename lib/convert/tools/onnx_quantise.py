"""Shared steps of dynamic and static ONNX quantisation: preparing the model, silencing the tool, saving the result.

onnxruntime's quantiser wants a graph without functions, with shapes, with batch norms folded into convolutions, at opset
13 or later (QuantizeLinear per channel).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onnx import ModelProto

from lib.convert.core.tool_messages import sanitize_message
from lib.convert.formats.onnx import files as onnx_files
from lib.convert.formats.onnx.opset import convert as opset
from lib.errors import JobFailed

OPSET = 13
WHOLE = onnx_files.WHOLE
PREPARED = "prepared.onnx"
ELEMENTWISE = {"Add", "Sub", "Mul", "Div", "Where", "Max", "Min", "Clip", "Cast", "Expand", "Reshape", "Unsqueeze"}
ALREADY = "The model is already quantised ({}), so nothing would change. Upload the float model instead."
NOTHING = (
    "Nothing was quantised: the model has no layers with constant weights that the tool supports, or all were left float. "
    "The file would be no smaller."
)
QUANTISED = ("MatMulInteger", "ConvInteger", "QLinearConv", "QLinearMatMul", "DynamicQuantizeLSTM", "DequantizeLinear")


def prepare(source: Path, folder: Path) -> tuple[Path, list[str]]:
    """Writes the artifact ``source``, ready to be quantised, to ``folder``; returns the path and messages.

    Raises InvalidFile for a bad source, JobFailed if its opset cannot be raised.
    """
    model = onnx_files.tidied(source)
    messages = []
    source_opset = onnx_files.opset(model)
    if 0 < source_opset < OPSET:
        model = opset.convert(model, OPSET)
        messages.append(f"The opset was raised from {source_opset} to {OPSET}: quantisation needs it.")
    path = folder / PREPARED
    raw = folder / "raw.onnx"
    onnx_files.save(model, raw)
    with quiet():
        from onnxruntime.quantization.shape_inference import quant_pre_process

        # symbolic inference helps transformers, the optimiser folds batch norms; either may fail on a model
        for settings in ({}, {"skip_symbolic_shape": True}, {"skip_symbolic_shape": True, "skip_optimization": True}):
            try:
                quant_pre_process(str(raw), str(path), **settings)
                break
            except Exception:
                path.unlink(missing_ok=True)
        else:
            path = raw
            messages.append("Shapes could not be inferred first, so fewer layers may be quantised.")
    prepared = head(path)
    if not all(node.name for node in prepared.graph.node):
        named(prepared)
        path.write_bytes(prepared.SerializeToString())
    if (prepared_opset := onnx_files.opset(prepared)) != onnx_files.opset(model):
        messages.append(f"The opset was raised to {prepared_opset}: quantisation needs it.")
    return path, messages


def scores(path: Path) -> list[str]:
    """Returns the names of every Softmax and of the elementwise nodes between it and an attention's score product.

    A mask adds -10000 there to scores of a few units, and eight bits over that range cannot resolve the scores.
    """
    model = head(path)
    makers = {name: node for node in model.graph.node for name in node.output if name}
    names: dict[str, None] = {}
    todo = [node for node in model.graph.node if node.op_type in ("Softmax", "LogSoftmax")]
    while todo:
        node = todo.pop()
        if node.name not in names:
            names[node.name] = None
            producers = (makers[name] for name in node.input if name in makers)
            todo += [n for n in producers if n.op_type in ELEMENTWISE]
    return list(names)


def finish(model: ModelProto, target: Path) -> str:
    """Writes and loads the artifact ``target``; returns its count of quantised operators, "" if none. Raises JobFailed."""
    counts = already(model)
    if counts:
        onnx_files.loads(onnx_files.write(model, target))
    return f"Quantised operators: {counts}." if counts else ""


def already(model: ModelProto) -> str:
    """Returns the model's quantised operators with their counts; "" for a float model."""
    counts = onnx_files.operators(model)
    return ", ".join(f"{counts[name]} {name}" for name in QUANTISED if name in counts)


@contextmanager
def quiet() -> Iterator[None]:
    """Disables logging: the quantiser logs advice, and stack traces of errors that it recovers from."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def refused(error: Exception) -> JobFailed:
    """Returns a JobFailed with the quantiser's message."""
    return JobFailed(f"The quantiser refused: {sanitize_message(error)}")


def named(model: ModelProto) -> None:
    """Names every node in place, since nodes are excluded from quantisation by name."""
    used_names = {node.name for node in model.graph.node}
    for k, node in enumerate(model.graph.node):
        if not node.name:
            node.name = next(
                n for n in (f"{node.op_type}_{k}{'_' * j}" for j in range(len(used_names) + 1)) if n not in used_names
            )
            used_names.add(node.name)


def head(path: Path) -> ModelProto:
    """Loads the model at ``path`` without its external data."""
    import onnx

    return onnx.load(str(path), load_external_data=False)
