"""Types and shapes of every value of a graph, with symbols or with the symbols set to numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import onnx
from onnx import ModelProto, TypeProto, ValueInfoProto

from lib.errors import InvalidValue
from lib.onnx_model.functions import all_nodes
from lib.onnx_model.open import MAX_EXACT, Model, bits, count, dtype_name
from lib.onnx_model.wire import MARK

Dim = int | str | None  # a number, a symbol, or unknown
# An upload cannot name its external data like these.
SKELETON, TO_INFER, INFERRED = f"{MARK}-skeleton.onnx", f"{MARK}-to-infer.onnx", f"{MARK}-inferred.onnx"
FOLLOWING = {"Add", "Cast", "Concat", "Gather", "Identity", "Mul", "Slice", "Squeeze", "Sub", "Unsqueeze"}
MAX_FOLLOWED = 100_000  # elements
MAX_SYMBOL = 200  # characters of a dimension's name; every value's shape repeats it
MAX_RANK = 64  # numpy's; onnxruntime's kernels stop far earlier


@dataclass(slots=True)
class Type:
    """``kind`` is tensor, sparse_tensor, sequence, map or optional; ``shape`` is None where the rank is unknown.

    ``inside`` says what a sequence, map or optional holds, as ``dtype`` writes it; "" where the element type says it.
    """

    kind: str
    data_type: int = 0
    shape: tuple[Dim, ...] | None = None
    inside: str = ""

    @property
    def dtype(self) -> str:
        """``float32``, ``sequence of float32``, ``sequence(map(int64, float32))``."""
        if self.inside:
            return f"{self.kind}({self.inside})"
        return dtype_name(self.data_type) if self.kind == "tensor" else f"{self.kind} of {dtype_name(self.data_type)}"

    @property
    def elements(self) -> int | None:
        """None while a dimension is not a number, and for more than there can be."""
        if self.shape is None or not all(isinstance(d, int) for d in self.shape):
            return None
        out = prod(self.shape)  # type: ignore[arg-type]
        return out if out <= MAX_EXACT else None

    @property
    def bytes(self) -> int | None:
        return None if self.elements is None else (self.elements * bits(self.data_type) + 7) // 8


def of(proto: TypeProto) -> Type:
    which = proto.WhichOneof("value") or "unknown"
    kind = which.removesuffix("_type")
    if kind in ("tensor", "sparse_tensor"):
        inner = getattr(proto, which)
        shape = None
        if inner.HasField("shape") and len(inner.shape.dim) <= MAX_RANK:
            shape = tuple(map(_dim, inner.shape.dim))
        return Type(kind, inner.elem_type, shape)
    if kind in ("sequence", "optional") and getattr(proto, which).HasField("elem_type"):
        held = of(getattr(proto, which).elem_type)
        return Type(kind, held.data_type, None, "" if held.kind == "tensor" else held.dtype[:MAX_SYMBOL])
    if kind == "map" and proto.map_type.HasField("value_type"):
        inside = f"{dtype_name(proto.map_type.key_type)}, {of(proto.map_type.value_type).dtype}"
        return Type(kind, inside=inside[:MAX_SYMBOL])
    return Type(kind)


def _dim(proto: onnx.TensorShapeProto.Dimension) -> Dim:
    """Exporters write -1, and nothing, for what they do not know."""
    if proto.HasField("dim_value"):
        return proto.dim_value if proto.dim_value >= 0 else None
    return proto.dim_param[:MAX_SYMBOL] or None


def symbols(model: ModelProto) -> dict[str, list[str]]:
    """Symbols of the inputs' shapes and where each stands: ``batch: ["x[0]"]``. A nameless one is called after its place."""
    held = {t.name for t in model.graph.initializer}
    found: dict[str, list[str]] = {}
    for value in model.graph.input:
        kind = of(value.type)
        if value.name in held or kind.shape is None:
            continue
        for k, dim in enumerate(kind.shape):
            if not isinstance(dim, int):
                found.setdefault(dim or f"{value.name}[{k}]", []).append(f"{value.name}[{k}]")
    return found


def bind(model: ModelProto, given: Mapping[str, int]) -> tuple[ModelProto, dict[str, int]]:
    """A copy whose input symbols are numbers: those ``given``, 1 for the others; and which they were.

    Raises InvalidValue for a name that is no symbol of the inputs, or a number below 1.
    """
    names = symbols(model)
    for name, value in given.items():
        if name not in names:
            known = ", ".join(list(names)[:20]) or "it has none"
            raise InvalidValue("sizes", name, f"dynamic dimensions of this model's inputs: {known}")
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1 << 24:
            raise InvalidValue(f"sizes[{name}]", value, "a whole number from 1 to 16777216")
    chosen = {name: given.get(name, 1) for name in names}
    copy = ModelProto()
    copy.CopyFrom(model)
    place = {where: name for name, places in names.items() for where in places}
    for value in copy.graph.input:
        for k, dim in enumerate(_dims(value)):
            if (name := place.get(f"{value.name}[{k}]")) is not None:
                dim.dim_value = chosen[name]
    # what was written down for other values would keep the symbols alive
    kept = [v for v in copy.graph.value_info if of(v.type).elements is not None]
    if len(kept) != len(copy.graph.value_info):
        del copy.graph.value_info[:]
        copy.graph.value_info.extend(kept)
    for value in copy.graph.output:
        for dim in _dims(value):
            if dim.HasField("dim_param"):
                dim.ClearField("dim_param")
    return copy, chosen


def _dims(value: ValueInfoProto) -> list[onnx.TensorShapeProto.Dimension]:
    return list(value.type.tensor_type.shape.dim) if value.type.HasField("tensor_type") else []


def write_skeleton(model: Model, proto: ModelProto, folder: Path, name: str = SKELETON) -> Path:
    """The skeleton as a file whose references hold: empty (sparse) files of the right size stand for the payloads."""
    sizes = {location: path.stat().st_size for location, path in model.externals.items()}
    sizes |= {f"{MARK}-{n}": model.path.stat().st_size for n in (4, 5, 7, 9, 10, 11)}
    for location, size in sizes.items():
        if not (folder / location).exists():
            with (folder / location).open("wb") as file:
                file.truncate(size)
    (folder / name).write_bytes(proto.SerializeToString())
    return folder / name


def infer(model: Model, proto: ModelProto, folder: Path) -> ModelProto:
    """``proto`` with inferred value_info. By path: onnx's in-memory inference gives up silently at 2 GB.

    Raises onnx.shape_inference.InferenceError where the declared and the inferred types cannot both be true.
    """
    path = write_skeleton(model, proto, folder, TO_INFER)
    onnx.shape_inference.infer_shapes_path(str(path), str(folder / INFERRED), data_prop=_can_be_followed(proto))
    return ModelProto.FromString((folder / INFERRED).read_bytes())


def _can_be_followed(proto: ModelProto) -> bool:
    """onnx writes down every element of the values that it follows; a row of 40 Concat(v, v) makes 2⁴⁰ of one."""
    sizes = {t.name: count(t) for t in proto.graph.initializer if len(t.dims) == 1}
    for node in all_nodes(proto.graph.node):
        if node.op_type in FOLLOWING:
            found = [sizes.get(name, 1) for name in node.input]
            size = sum(found) if node.op_type == "Concat" else max(found, default=1)
            if size > MAX_FOLLOWED:
                return False
            sizes.update(dict.fromkeys(node.output, size))
    return True


def types(proto: ModelProto) -> dict[str, Type]:
    """Every typed value of the main graph: inputs, outputs, inferred ones, initializers."""
    graph = proto.graph
    found = {v.name: of(v.type) for v in [*graph.value_info, *graph.output, *graph.input]}
    found |= {t.name: _declared(t.data_type, t.dims) for t in graph.initializer}
    found |= {s.values.name: _declared(s.values.data_type, s.dims) for s in graph.sparse_initializer}
    return found


def _declared(data_type: int, dims: Sequence[int]) -> Type:
    fits = len(dims) <= MAX_RANK and all(d >= 0 for d in dims)
    return Type("tensor", data_type, tuple(dims) if fits else None)
