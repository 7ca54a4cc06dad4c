"""What both kinds of int8 quantisation need before and after: a prepared model, the tool kept quiet, a count.

onnxruntime's quantiser wants a graph without functions, with shapes, batch norms folded into convolutions, at
opset 13 or later (QuantizeLinear per channel).
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
ALREADY = "The model is quantised already ({}), so nothing would change. Give the float model instead."
NOTHING = (
    "Nothing was quantised: the model has no layers with constant weights that the tool takes, or all were left float. "
    "The file would be no smaller."
)
QUANTISED = ("MatMulInteger", "ConvInteger", "QLinearConv", "QLinearMatMul", "DynamicQuantizeLSTM", "DequantizeLinear")


def prepare(source: Path, folder: Path) -> tuple[Path, list[str]]:
    """The model of the artifact ``source``, ready to be quantised, as a file in ``folder``; and what to tell.

    Raises InvalidFile for a bad source, JobFailed where its opset cannot be raised.
    """
    model = onnx_files.tidied(source)
    messages = []
    found = onnx_files.opset(model)
    if 0 < found < OPSET:
        model = opset.convert(model, OPSET)
        messages.append(f"The opset was raised from {found} to {OPSET}: quantisation needs it.")
    path = folder / PREPARED
    raw = folder / "raw.onnx"
    onnx_files.save(model, raw)
    with quiet():
        from onnxruntime.quantization.shape_inference import quant_pre_process

        # symbolic inference knows transformers, the optimiser folds batch norms; either may give up on a model
        for given in ({}, {"skip_symbolic_shape": True}, {"skip_symbolic_shape": True, "skip_optimization": True}):
            try:
                quant_pre_process(str(raw), str(path), **given)
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
    if (now := onnx_files.opset(prepared)) != onnx_files.opset(model):
        messages.append(f"The opset was raised to {now}: quantisation needs it.")
    return path, messages


def scores(path: Path) -> list[str]:
    """Names of the nodes between an attention's product and its Softmax, that one included.

    A mask puts -10000 among scores of a few units there, and eight bits over that range leave no scores.
    """
    model = head(path)
    makers = {name: node for node in model.graph.node for name in node.output if name}
    found: dict[str, None] = {}
    todo = [node for node in model.graph.node if node.op_type in ("Softmax", "LogSoftmax")]
    while todo:
        node = todo.pop()
        if node.name not in found:
            found[node.name] = None
            before = (makers[name] for name in node.input if name in makers)
            todo += [n for n in before if n.op_type in ELEMENTWISE]
    return list(found)


def finish(model: ModelProto, target: Path) -> str:
    """The quantised model as the artifact ``target``, checked; which operators it has, "" if none. Raises JobFailed."""
    counts = already(model)
    if counts:
        onnx_files.loads(onnx_files.write(model, target))
    return f"Quantised operators: {counts}." if counts else ""


def already(model: ModelProto) -> str:
    """Operators of quantised arithmetic and how many of each; "" for a float model."""
    found = onnx_files.operators(model)
    return ", ".join(f"{found[name]} {name}" for name in QUANTISED if name in found)


@contextmanager
def quiet() -> Iterator[None]:
    """The quantiser logs advice, and stack traces of what it then gets over."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def refused(error: Exception) -> JobFailed:
    return JobFailed(f"The quantiser refused: {sanitize_message(error)}")


def named(model: ModelProto) -> None:
    """A name for every node: the quantiser is told by name what to leave alone."""
    taken = {node.name for node in model.graph.node}
    for k, node in enumerate(model.graph.node):
        if not node.name:
            node.name = next(n for n in (f"{node.op_type}_{k}{'_' * j}" for j in range(len(taken) + 1)) if n not in taken)
            taken.add(node.name)


def head(path: Path) -> ModelProto:
    import onnx

    return onnx.load(str(path), load_external_data=False)
