"""Types and shapes of all values of a graph, symbolic or with the symbols bound to numbers."""

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
# External data of an upload cannot have these names.
SKELETON, TO_INFER, INFERRED = f"{MARK}-skeleton.onnx", f"{MARK}-to-infer.onnx", f"{MARK}-inferred.onnx"
FOLLOWING = {"Add", "Cast", "Concat", "Gather", "Identity", "Mul", "Slice", "Squeeze", "Sub", "Unsqueeze"}
MAX_FOLLOWED = 100_000  # elements
MAX_SYMBOL = 200  # characters of a dimension's name, which shapes repeat
MAX_RANK = 64  # limit of numpy; onnxruntime's kernels support far less


@dataclass(slots=True)
class Type:
    """Type of a value. ``kind``: tensor, sparse_tensor, sequence, map or optional; ``shape``: None if the rank is unknown.

    ``inside``: content of a map or a nested sequence or optional, in the notation of ``dtype``; else "".
    """

    kind: str
    data_type: int = 0
    shape: tuple[Dim, ...] | None = None
    inside: str = ""

    @property
    def dtype(self) -> str:
        """Readable type: ``float32``, ``sequence of float32``, ``sequence(map(int64, float32))``."""
        if self.inside:
            return f"{self.kind}({self.inside})"
        return dtype_name(self.data_type) if self.kind == "tensor" else f"{self.kind} of {dtype_name(self.data_type)}"

    @property
    def elements(self) -> int | None:
        """Number of elements; None if a dimension is not a number or the product exceeds ``MAX_EXACT``."""
        if self.shape is None or not all(isinstance(d, int) for d in self.shape):
            return None
        total = prod(self.shape)  # type: ignore[arg-type]
        return total if total <= MAX_EXACT else None

    @property
    def bytes(self) -> int | None:
        return None if self.elements is None else (self.elements * bits(self.data_type) + 7) // 8


def of(proto: TypeProto) -> Type:
    """Convert a TypeProto to a Type."""
    which = proto.WhichOneof("value") or "unknown"
    kind = which.removesuffix("_type")
    if kind in ("tensor", "sparse_tensor"):
        inner = getattr(proto, which)
        shape = None
        if inner.HasField("shape") and len(inner.shape.dim) <= MAX_RANK:
            shape = tuple(map(_dim, inner.shape.dim))
        return Type(kind, inner.elem_type, shape)
    if kind in ("sequence", "optional") and getattr(proto, which).HasField("elem_type"):
        element = of(getattr(proto, which).elem_type)
        return Type(kind, element.data_type, None, "" if element.kind == "tensor" else element.dtype[:MAX_SYMBOL])
    if kind == "map" and proto.map_type.HasField("value_type"):
        inside = f"{dtype_name(proto.map_type.key_type)}, {of(proto.map_type.value_type).dtype}"
        return Type(kind, inside=inside[:MAX_SYMBOL])
    return Type(kind)


def _dim(proto: onnx.TensorShapeProto.Dimension) -> Dim:
    """Return a dimension. Exporters write -1 or nothing for an unknown one."""
    if proto.HasField("dim_value"):
        return proto.dim_value if proto.dim_value >= 0 else None
    return proto.dim_param[:MAX_SYMBOL] or None


def symbols(model: ModelProto) -> dict[str, list[str]]:
    """Return the symbols of the inputs' shapes with their places: ``batch: ["x[0]"]``. Unnamed ones are named by place."""
    initializers = {t.name for t in model.graph.initializer}
    places: dict[str, list[str]] = {}
    for value in model.graph.input:
        kind = of(value.type)
        if value.name in initializers or kind.shape is None:
            continue
        for k, dim in enumerate(kind.shape):
            if not isinstance(dim, int):
                places.setdefault(dim or f"{value.name}[{k}]", []).append(f"{value.name}[{k}]")
    return places


def bind(model: ModelProto, given: Mapping[str, int]) -> tuple[ModelProto, dict[str, int]]:
    """Return a copy whose input symbols are bound to the numbers ``given``, 1 for the others, and all bound sizes.

    Raises InvalidValue for a name that is not a symbol of the inputs, or a size outside 1 to 2²⁴.
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
    # stored types of other values would keep the symbols
    static_values = [v for v in copy.graph.value_info if of(v.type).elements is not None]
    if len(static_values) != len(copy.graph.value_info):
        del copy.graph.value_info[:]
        copy.graph.value_info.extend(static_values)
    for value in copy.graph.output:
        for dim in _dims(value):
            if dim.HasField("dim_param"):
                dim.ClearField("dim_param")
    return copy, chosen


def _dims(value: ValueInfoProto) -> list[onnx.TensorShapeProto.Dimension]:
    return list(value.type.tensor_type.shape.dim) if value.type.HasField("tensor_type") else []


def write_skeleton(model: Model, proto: ModelProto, folder: Path, name: str = SKELETON) -> Path:
    """Write the skeleton with valid references: sparse files of the right size replace the payloads. Returns its path."""
    sizes = {location: path.stat().st_size for location, path in model.externals.items()}
    sizes |= {f"{MARK}-{n}": model.path.stat().st_size for n in (4, 5, 7, 9, 10, 11)}
    for location, size in sizes.items():
        if not (folder / location).exists():
            with (folder / location).open("wb") as file:
                file.truncate(size)
    (folder / name).write_bytes(proto.SerializeToString())
    return folder / name


def infer(model: Model, proto: ModelProto, folder: Path) -> ModelProto:
    """Return ``proto`` with inferred value_info. Uses files, as onnx's in-memory inference fails silently above 2 GB.

    Raises onnx.shape_inference.InferenceError if the declared and the inferred types contradict each other.
    """
    path = write_skeleton(model, proto, folder, TO_INFER)
    onnx.shape_inference.infer_shapes_path(str(path), str(folder / INFERRED), data_prop=_can_be_followed(proto))
    return ModelProto.FromString((folder / INFERRED).read_bytes())


def _can_be_followed(proto: ModelProto) -> bool:
    """Return whether onnx's data propagation is safe. It stores every element, and 40 Concat(v, v) in a row make 2⁴⁰."""
    sizes = {t.name: count(t) for t in proto.graph.initializer if len(t.dims) == 1}
    for node in all_nodes(proto.graph.node):
        if node.op_type in FOLLOWING:
            input_sizes = [sizes.get(name, 1) for name in node.input]
            size = sum(input_sizes) if node.op_type == "Concat" else max(input_sizes, default=1)
            if size > MAX_FOLLOWED:
                return False
            sizes.update(dict.fromkeys(node.output, size))
    return True


def types(proto: ModelProto) -> dict[str, Type]:
    """Return the types of all values of the main graph: inputs, outputs, inferred values and initializers."""
    graph = proto.graph
    by_name = {v.name: of(v.type) for v in [*graph.value_info, *graph.output, *graph.input]}
    by_name |= {t.name: _declared(t.data_type, t.dims) for t in graph.initializer}
    by_name |= {s.values.name: _declared(s.values.data_type, s.dims) for s in graph.sparse_initializer}
    return by_name


def _declared(data_type: int, dims: Sequence[int]) -> Type:
    fits = len(dims) <= MAX_RANK and all(d >= 0 for d in dims)
    return Type("tensor", data_type, tuple(dims) if fits else None)
