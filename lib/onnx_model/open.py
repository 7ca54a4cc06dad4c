"""Opens an uploaded ONNX file without trusting it and without reading its weights.

The order is the point: the file's first bytes, then the structure without weights (``wire``), then
every tensor's claim on external data, and only then anything else may look. Runs in a child process
(``lib/jobs.py``). Knows nothing of reports.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import onnx
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message
from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from lib.errors import InvalidFile
from lib.onnx_model import functions
from lib.onnx_model.magic import is_text, recognised
from lib.onnx_model.wire import MARK, message_with, skeleton

PLAIN_NAME = re.compile(r"[^/\\:\x00-\x1f]{1,255}")
NUMBER = re.compile(r"[0-9]{0,19}")  # as C++ reads it too; Python's int takes more
OURS = re.compile(rf"{MARK}-[0-9]+")
TEXT = "This is a text file, not an ONNX model. Upload the .onnx file that the exporter wrote."
ENTRIES = {"location", "offset", "length", "checksum"}  # of external data, as onnx.proto has them
NAME = 100  # characters of a name in words for a place
MAX_EXACT = 1 << 48  # elements: more is not counted exactly, and bytes of many such tensors still fit 64 bits


@dataclass(slots=True)
class Payload:
    """Where a tensor's bytes are: ``length`` bytes at ``offset`` of ``path``; ``field`` of TensorProto."""

    path: Path
    offset: int
    length: int
    field: int


@dataclass(slots=True)
class Model:
    """An opened model. ``proto`` holds everything but the big payloads; ``array`` fetches one of those."""

    proto: ModelProto
    path: Path
    externals: dict[str, Path]  # the files uploaded beside the model, by name
    missing: dict[str, str] = field(default_factory=dict)  # tensor's place: what its external data lack

    @property
    def size(self) -> int:
        """Bytes of the model file and of the external files it names."""
        used = {e.value for _, t in tensors(self.proto) for e in t.external_data if e.key == "location"}
        return self.path.stat().st_size + sum(p.stat().st_size for name, p in self.externals.items() if name in used)

    def payload(self, tensor: TensorProto) -> Payload | None:
        """None for a tensor whose values are in ``proto``, or nowhere."""
        if tensor.data_location != TensorProto.EXTERNAL:
            return None
        entry = {e.key: e.value for e in tensor.external_data}
        location = entry.get("location", "")
        offset = int(entry.get("offset") or 0)
        if location.startswith(MARK):
            return Payload(self.path, offset, int(entry["length"]), int(location.rsplit("-", 1)[1]))
        if location not in self.externals:
            return None
        path = self.externals[location]
        return Payload(path, offset, int(entry.get("length") or path.stat().st_size - offset), 9)

    def array(self, tensor: TensorProto) -> np.ndarray:
        """The values; a view of the file where they lie there in the machine's own form.

        Raises InvalidFile for values that are not there or do not fit the declared shape and dtype.
        """
        found = self.payload(tensor)
        if found is None and tensor.data_location == TensorProto.EXTERNAL:
            raise InvalidFile(f"The values of {tensor.name[:200]!r} are in a file that was not uploaded.")
        try:
            if any(d < 0 for d in tensor.dims):
                raise ValueError  # numpy would take it for "whatever fits"
            return numpy_helper.to_array(tensor) if found is None else _read(tensor, found)
        except MemoryError:
            raise
        except Exception:  # onnx raises what numpy, protobuf and ml_dtypes raise
            raise InvalidFile(
                f"The values of {tensor.name[:200]!r} do not fit its shape {list(tensor.dims[:8])!s} and "
                f"dtype {dtype_name(tensor.data_type)}. The file is damaged or incomplete: save it again."
            ) from None


def _read(tensor: TensorProto, found: Payload) -> np.ndarray:
    kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    plain = found.field == 9 or (found.field == 4 and kind == np.float32) or (found.field == 10 and kind == np.float64)
    if plain and bits(tensor.data_type) >= 8 and count(tensor) * kind.itemsize == found.length:
        shape = tuple(tensor.dims)
        return np.memmap(found.path, kind, "r", found.offset, shape) if found.length else np.empty(shape, kind)
    copy = TensorProto()
    copy.CopyFrom(tensor)
    copy.ClearField("external_data")
    copy.ClearField("data_location")
    with found.path.open("rb") as file:
        file.seek(found.offset)
        copy.MergeFromString(message_with(found.field, file.read(found.length)))
    return numpy_helper.to_array(copy)


def open_model(path: Path, externals: dict[str, Path]) -> Model:
    """Raises InvalidFile for anything that is no ONNX model or that reaches outside the upload."""
    with path.open("rb") as file:
        head = file.read(64)
    if (mistake := recognised(head)) is not None:
        raise InvalidFile(mistake)
    if odd := [name for name in externals if not _plain(name)]:
        raise InvalidFile(f"A file uploaded with the model is named {odd[0][:80]!r}; a plain name is required.")
    try:
        proto = _parse(skeleton(path))
    except InvalidFile:
        if is_text(head):
            raise InvalidFile(TEXT) from None
        raise
    if not proto.HasField("graph"):
        if is_text(head):
            raise InvalidFile(TEXT)
        raise InvalidFile("This is not an ONNX file: it is protobuf without a graph.")
    if not (proto.graph.node or proto.graph.output or proto.graph.input or proto.graph.initializer):
        raise InvalidFile("This is not an ONNX model: its graph has no nodes, no inputs and no outputs.")
    model = Model(proto, path, externals)
    _refuse_escapes(model)
    with suppress(functions.Recursive):  # onnx's checker says so
        if (size := functions.inlined_size(proto)) > functions.MAX_NODES:
            raise InvalidFile(
                f"The model has {size:,} nodes with its functions inlined; at most {functions.MAX_NODES:,} are allowed."
            )
    return model


def _parse(data: bytes) -> ModelProto:
    try:
        strict().FromString(data)
        return ModelProto.FromString(data)
    except DecodeError as error:
        why = "wrong content, or nested over 100 deep"
        if "UTF-8" in str(error):
            why = "a name or text in it is not UTF-8"
        raise InvalidFile(f"This is not an ONNX file: protobuf cannot decode it ({why}).") from None


@cache
def strict() -> type[Message]:
    """ModelProto, but text must be UTF-8: onnx's own class gives bytes where a str belongs, and everything trips."""
    file = descriptor_pb2.FileDescriptorProto()
    onnx.onnx_ml_pb2.DESCRIPTOR.CopyToProto(file)
    file.syntax, file.edition = "editions", descriptor_pb2.EDITION_2023
    messages = list(file.message_type)
    while messages:
        message = messages.pop()
        messages += message.nested_type
        for one in message.field:
            one.options.ClearField("packed")  # not in editions; both encodings are read either way
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("onnx.ModelProto"))


def _plain(name: str) -> bool:
    return bool(PLAIN_NAME.fullmatch(name)) and name not in (".", "..") and Path(name).name == name


def _refuse_escapes(model: Model) -> None:
    own = model.path.stat().st_size
    for where, tensor in tensors(model.proto):
        if tensor.data_location != TensorProto.EXTERNAL and not tensor.external_data:
            continue
        entries = [(e.key, e.value) for e in tensor.external_data]
        locations = [value for key, value in entries if key == "location"]
        if len(locations) != 1:
            raise InvalidFile(f"{where}: its external data names {len(locations)} locations; exactly one is allowed.")
        if len({key for key, _ in entries}) != len(entries):
            raise InvalidFile(f"{where}: its external data has a duplicate entry.")
        location, entry = locations[0], dict(entries)
        if odd := sorted(entry.keys() - ENTRIES):
            raise InvalidFile(f"{where}: its external data has {odd[0][:80]!r}; allowed: {', '.join(sorted(ENTRIES))}.")
        if not all(NUMBER.fullmatch(entry.get(key, "")) for key in ("offset", "length")):
            raise InvalidFile(f"{where}: offset or length of its external data is not a number.")
        offset, length = int(entry.get("offset") or 0), int(entry.get("length") or 0)
        if OURS.fullmatch(location) and offset + length <= own:
            continue
        if not _plain(location) or location.startswith(MARK):
            raise InvalidFile(
                f"{where}: its external data is at {location[:80]!r}. Only the plain name of a file uploaded beside "
                "the model is allowed: save the model again with all external data in one file next to it."
            )
        if location not in model.externals:
            model.missing[where] = f"its values are in {location!r}, which was not uploaded"
            continue
        size = model.externals[location].stat().st_size
        if offset + length > size:
            raise InvalidFile(
                f"{where}: its external data is bytes {offset} to {offset + length} of {location!r}, which has {size}."
            )


def tensors(model: ModelProto) -> Iterator[tuple[str, TensorProto]]:
    """Every TensorProto anywhere in the model, with where it is in words."""
    yield from _of_graph(model.graph, "")
    for k, function in enumerate(model.functions):
        yield from _of_function(function, f"function {function.name[:NAME] or k}: ")
    for k, training in enumerate(model.training_info):
        yield from _of_graph(training.initialization, f"training {k}: ")
        yield from _of_graph(training.algorithm, f"training {k}: ")


def _of_graph(graph: GraphProto, prefix: str) -> Iterator[tuple[str, TensorProto]]:
    for tensor in graph.initializer:
        yield f"{prefix}initializer {tensor.name[:NAME]!r}", tensor
    for sparse in graph.sparse_initializer:
        yield f"{prefix}sparse initializer {sparse.values.name[:NAME]!r}", sparse.values
        yield f"{prefix}indices of sparse initializer {sparse.values.name[:NAME]!r}", sparse.indices
    for k, node in enumerate(graph.node):
        if node.attribute:
            yield from _of_node(node, f"{prefix}node {(node.name or f'{node.op_type} #{k}')[:NAME]!r}")


def _of_function(function: FunctionProto, prefix: str) -> Iterator[tuple[str, TensorProto]]:
    for k, node in enumerate(function.node):
        if node.attribute:
            yield from _of_node(node, f"{prefix}node {(node.name or f'{node.op_type} #{k}')[:NAME]!r}")
    for attribute in function.attribute_proto:
        yield from _of_attribute(attribute, f"{prefix}default of {attribute.name[:NAME]!r}")


def _of_node(node: NodeProto, where: str) -> Iterator[tuple[str, TensorProto]]:
    for attribute in node.attribute:
        yield from _of_attribute(attribute, f"{where}, attribute {attribute.name[:NAME]!r}")


def _of_attribute(attribute: AttributeProto, where: str) -> Iterator[tuple[str, TensorProto]]:
    # whatever the declared type says: a loader may look at the field
    if attribute.HasField("t"):
        yield where, attribute.t
    for tensor in attribute.tensors:
        yield where, tensor
    for sparse in ([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []) + list(
        attribute.sparse_tensors
    ):
        yield where, sparse.values
        yield f"{where} (indices)", sparse.indices
    for graph in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
        yield from _of_graph(graph, f"{where}: ")


def count(tensor: TensorProto) -> int:
    """Elements by the declared shape; 1 for a scalar, 0 where a dimension is 0 or less, ``MAX_EXACT`` at most."""
    if any(d <= 0 for d in tensor.dims):
        return 0
    out = 1
    for d in tensor.dims:
        if (out := out * d) > MAX_EXACT:
            return MAX_EXACT
    return out


BITS = {"BOOL": 8, "COMPLEX64": 64, "COMPLEX128": 128, "STRING": 0, "UNDEFINED": 0}


@cache
def bits(data_type: int) -> int:
    """Bits of one element as stored; 0 for strings and for types that onnx does not know."""
    name = dtype_name(data_type).upper()
    if name in BITS:
        return BITS[name]
    found = re.match(r"\D+(\d+)", name) if data_type in TensorProto.DataType.values() else None
    return int(found.group(1)) if found else 0


@cache
def dtype_name(data_type: int) -> str:
    """``float32``, ``int64``, … the names numpy and ml_dtypes use."""
    try:
        name = TensorProto.DataType.Name(data_type).lower()
    except ValueError:
        return f"type {data_type}"
    return {"float": "float32", "double": "float64"}.get(name, name)


def byte_size(tensor: TensorProto) -> int:
    """Bytes of the values as stored raw: two 4-bit elements share a byte. Strings count their characters."""
    if tensor.data_type == TensorProto.STRING:
        return sum(len(s) for s in tensor.string_data)
    return (count(tensor) * bits(tensor.data_type) + 7) // 8
