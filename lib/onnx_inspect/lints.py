"""Lints for valid models. Each lint is a function that yields problems with a message and a fix.

To add a lint, decorate a function with ``@lint("its-name")`` and yield Problems of severity warning or info.
This is one list of rules, hence the length of the module.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

import onnx
from onnx import AttributeProto, ModelProto, TensorProto

from lib.onnx_inspect import graph, shapes
from lib.onnx_inspect.graph import Node
from lib.onnx_inspect.report import Problem, plural, size
from lib.onnx_model.open import Model, byte_size, count, dtype_name, tensors
from lib.onnx_model.runtime import kernels, supported

Lint = Callable[["Subject"], Iterator[Problem]]
LINTS: dict[str, Lint] = {}
OLD_OPSET = 13  # introduced per-axis quantization and axes as inputs
RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
PIECE = 1 << 20
BESIDE = {"json": "settings", "yaml": "settings", "yml": "settings", "md": "text", "txt": "text", "py": "text"}
TOKENIZER = {"vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model", "added_tokens.json"}
COMPARED = 64 << 20  # maximum bytes of weights read to confirm duplicates


@dataclass
class Subject:
    """Input of a lint: the opened model, the model with inferred shapes, and its main graph's nodes (symbolic shapes)."""

    model: Model
    inferred: ModelProto
    nodes: list[Node]

    @property
    def proto(self) -> ModelProto:
        return self.model.proto

    @cached_property
    def everything(self) -> list[Node]:
        return graph.flat(self.nodes)

    @cached_property
    def read(self) -> set[str]:
        """Names of values that a node reads or the graph returns."""
        return set(graph.readers(self.nodes)) | {v.name for v in self.inferred.graph.output}

    @cached_property
    def initializers(self) -> dict[str, TensorProto]:
        return {t.name: t for t in self.proto.graph.initializer}


def lint(name: str) -> Callable[[Lint], Lint]:
    def register(function: Lint) -> Lint:
        assert name not in LINTS, name
        LINTS[name] = function
        return function

    return register


@lint("old-opset")
def _old_opset(s: Subject) -> Iterator[Problem]:
    for opset in s.proto.opset_import:
        if opset.domain in ("", "ai.onnx") and opset.version < OLD_OPSET:
            yield Problem(
                "warning",
                "model",
                f"opset {opset.version} is old; quantisers and converters expect {OLD_OPSET} or later",
                "Export again with a newer opset, or use onnx.version_converter.",
            )


@lint("newer-than-onnxruntime")
def _newer(s: Subject) -> Iterator[Problem]:
    known = supported()
    if s.proto.ir_version > known["ir"]:
        text = f"IR version {s.proto.ir_version} is newer than onnxruntime {known['version']} reads ({known['ir']})"
        yield Problem("warning", "model", text, f"Set ir_version to {known['ir']} if the model uses nothing newer.")
    for opset in s.proto.opset_import:
        if opset.domain in ("", "ai.onnx") and opset.version > known["opset"]:
            text = f"opset {opset.version} is newer than onnxruntime {known['version']} knows ({known['opset']})"
            yield Problem("warning", "model", text, f"Export with opset {known['opset']} or earlier.")


@lint("no-kernel")
def _no_kernel(s: Subject) -> Iterator[Problem]:
    available, model_functions = kernels(), {(f.domain, f.name) for f in s.proto.functions}
    for (domain, op), n in Counter((x.domain, x.op_type) for x in s.everything).items():
        domain = "" if domain == "ai.onnx" else domain
        if (domain, op) in available | model_functions | {("", "Constant")}:  # onnxruntime turns Constants into initializers
            continue
        if onnx.defs.has(op, domain):
            schema = onnx.defs.get_schema(op, domain)
            if schema.has_function or schema.has_context_dependent_function:
                continue  # onnxruntime runs the operator's own definition
        text = f"{plural(n, 'node')} of {f'{domain}.' if domain else ''}{op}, which onnxruntime cannot run on a CPU"
        yield Problem("warning", op, text, "Replace the operator, or run the model where it is implemented.")


@lint("dead-node")
def _dead(s: Subject) -> Iterator[Problem]:
    made_by = {name: n for n in s.nodes for name in n.outputs if name}
    live, stack = set(), [v.name for v in s.inferred.graph.output]
    while stack:
        node = made_by.get(stack.pop())
        if node is not None and node.index not in live:
            live.add(node.index)
            stack += [*node.inputs, *node.captured]
    for node in s.nodes:
        if node.index not in live:
            yield Problem(
                "warning", node.name, f"this {node.operator} leads to no output", "Remove it, for example with onnxslim."
            )


@lint("unused-initializer")
def _unused(s: Subject) -> Iterator[Problem]:
    for name, tensor in s.initializers.items():
        if name not in s.read:
            yield Problem("warning", name, f"no node reads this initializer ({size(byte_size(tensor))})", "Remove it.")


@lint("unused-input")
def _unused_input(s: Subject) -> Iterator[Problem]:
    for value in s.proto.graph.input:
        if value.name not in s.read and value.name not in s.initializers:
            yield Problem("info", value.name, "no node reads this input", "Callers must still feed it: remove it.")


@lint("duplicate-initializer")
def _duplicates(s: Subject) -> Iterator[Problem]:
    groups: dict[tuple, list[TensorProto]] = {}
    for tensor in s.initializers.values():
        if byte_size(tensor) >= 256:
            groups.setdefault((tensor.data_type, tuple(tensor.dims)), []).append(tensor)
    budget, skipped = COMPARED, 0
    for group in groups.values():
        twins: dict[bytes, list[TensorProto]] = {}
        for tensor in group if len(group) > 1 else []:
            if (sample := _sample(s.model, tensor)) is not None:
                twins.setdefault(sample, []).append(tensor)
        for first, *duplicates in twins.values():
            for duplicate in duplicates:
                if (budget := budget - 2 * byte_size(duplicate)) < 0:
                    skipped += 1
                elif _same(s.model, first, duplicate):
                    text = f"holds the same values as {first.name[:80]!r} ({size(byte_size(duplicate))})"
                    yield Problem("warning", duplicate.name, text, "Let both nodes read one initializer.")
    if skipped:
        text = f"{skipped} more initializers may be duplicates; comparison stopped after {size(COMPARED)}"
        yield Problem("info", "graph", text, "Tools such as onnxslim compare them all.")


def _same(model: Model, one: TensorProto, other: TensorProto) -> bool:
    """Return whether the stored bytes are equal. Reads them in chunks."""
    a, b = model.payload(one), model.payload(other)
    if a is None or b is None:
        return a is b and model.array(one).tobytes() == model.array(other).tobytes()
    if (a.length, a.field) != (b.length, b.field):
        return False
    with a.path.open("rb") as left, b.path.open("rb") as right:
        left.seek(a.offset)
        right.seek(b.offset)
        pieces = [PIECE] * (a.length // PIECE) + [a.length % PIECE]
        return all(left.read(n) == right.read(n) for n in pieces)


def _sample(model: Model, tensor: TensorProto) -> bytes | None:
    """Return a digest of the first and last stored bytes, to tell most tensors apart without reading them all."""
    payload = model.payload(tensor)
    if payload is None:
        return tensor.SerializePartialToString()[-64:] if tensor.data_location != TensorProto.EXTERNAL else None
    with payload.path.open("rb") as file:
        file.seek(payload.offset)
        head = file.read(min(4096, payload.length))
        file.seek(payload.offset + max(0, payload.length - 4096))
        return blake2b(head + file.read(min(4096, payload.length)), digest_size=16).digest()


@lint("float64")
def _float64(s: Subject) -> Iterator[Problem]:
    wide = {n: byte_size(t) for n, t in s.initializers.items() if t.data_type == TensorProto.DOUBLE}
    if wide and sum(wide.values()) >= 64:
        verb = "is" if len(wide) == 1 else "are"
        text = f"{plural(len(wide), 'initializer')} {verb} float64 ({size(sum(wide.values()))}); few accelerators run that"
        yield Problem("warning", next(iter(wide)), text, "Convert them to float32 unless the model needs the precision.")
    for value in s.proto.graph.input:
        if shapes.of(value.type).data_type == TensorProto.DOUBLE and value.name not in s.initializers:
            yield Problem(
                "info", value.name, "this input is float64", "Most callers have float32: cast inside or export again."
            )


@lint("weights-as-inputs")
def _weights_as_inputs(s: Subject) -> Iterator[Problem]:
    names = [v.name for v in s.proto.graph.input if v.name in s.initializers]
    if names:
        text = f"initializers among the inputs ({len(names)}): a runtime must not fold them into their nodes"
        yield Problem("warning", names[0], text, "Remove them from the inputs (IR 4 and later do not need them there).")


@lint("fixed-batch")
def _fixed_batch(s: Subject) -> Iterator[Problem]:
    inputs = [v for v in s.proto.graph.input if v.name not in s.initializers]
    kinds = [shapes.of(v.type) for v in inputs]
    if kinds and all(k.shape and len(k.shape) >= 2 and isinstance(k.shape[0], int) for k in kinds):
        text = f"the first dimension is fixed to {kinds[0].shape[0]}: no other batch size runs"  # type: ignore[index]
        yield Problem("info", inputs[0].name, text, "Export with a dynamic first dimension if it is the batch.")


@lint("non-deterministic")
def _random(s: Subject) -> Iterator[Problem]:
    for node in s.everything:
        if node.op_type in RANDOM and node.attribute("seed") is None:
            text = f"{node.op_type} without a seed: its output differs in every run"
            yield Problem("warning", node.name, text, "Set its seed, or feed the noise as an input.")


@lint("training-mode")
def _training(s: Subject) -> Iterator[Problem]:
    for node in s.everything:
        if node.op_type == "BatchNormalization" and node.attribute("training_mode", 0):
            yield Problem(
                "warning", node.name, "this BatchNormalization is in training mode", "Call model.eval() before the export."
            )
        if node.op_type == "Dropout" and len(node.inputs) > 2 and node.inputs[2]:
            mode = s.initializers.get(node.inputs[2])
            if mode is not None and count(mode) == 1 and s.model.array(mode).any():
                yield Problem(
                    "warning", node.name, "this Dropout is in training mode", "Call model.eval() before the export."
                )


@lint("not-finite")
def _not_finite(s: Subject) -> Iterator[Problem]:
    for node in s.everything:
        for a in node.proto.attribute:
            values = [a.f] if a.type == AttributeProto.FLOAT else list(a.floats)
            if any(math.isnan(v) or (math.isinf(v) and a.name != "value_float") for v in values):
                yield Problem("warning", node.name, f"its attribute {a.name[:60]!r} is NaN or infinite", "Check the export.")


@lint("no-op")
def _no_op(s: Subject) -> Iterator[Problem]:
    no_ops = Counter(
        n.op_type for n in s.everything if n.op_type == "Identity" or (n.op_type == "Dropout" and len(n.inputs) < 3)
    )
    for op, n in no_ops.items():
        if n >= 3:
            yield Problem("info", op, f"{n} {op} nodes do nothing", "onnxslim removes them; runtimes do too when they load.")


@lint("unnamed-node")
def _unnamed(s: Subject) -> Iterator[Problem]:
    unnamed = sum(not n.proto.name for n in s.everything)
    if unnamed:
        text = f"nodes without a name ({unnamed}): profiles and comparisons then go by position"
        yield Problem("info", "graph", text, "Name them in the exporter.")


@lint("unknown-shape")
def _unknown_shape(s: Subject) -> Iterator[Problem]:
    for value in s.inferred.graph.output:
        kind = shapes.of(value.type)
        if kind.kind == "tensor" and kind.shape is None:
            yield Problem(
                "info", value.name, "the shape of this output is not known before a run", "Declare it if you know it."
            )


@lint("large-constant")
def _large_constant(s: Subject) -> Iterator[Problem]:
    for node in s.everything:
        value = node.attribute("value") if node.op_type == "Constant" else None
        if isinstance(value, TensorProto) and byte_size(value) > 1 << 20:
            text = f"a Constant node holds {size(byte_size(value))} of {dtype_name(value.data_type)}"
            yield Problem("info", node.name, text, "Make it an initializer: tools then find, share and quantise it.")


def beside(name: str) -> str:
    """Classify a file next to the model by its name: "tokenizer", "settings", "text", or "" if it may be weights."""
    plain, suffix = name.lower(), name.lower().rpartition(".")[2]
    if plain in TOKENIZER or suffix in ("spm", "bpe", "vocab") or (suffix in ("model", "json") and "token" in plain):
        return "tokenizer"
    return BESIDE.get(suffix, "")


@lint("unused-file")
def _unused_file(s: Subject) -> Iterator[Problem]:
    used = {e.value for _, t in tensors(s.proto) for e in t.external_data if e.key == "location"}
    for name in s.model.externals:
        if name not in used and not beside(name):
            yield Problem("info", name, "no tensor of the model names this uploaded file", "Check the file's name.")
