"""External data: every place where a tensor can be, every form that a location can take."""

from __future__ import annotations

import onnx
from onnx import ModelProto, StringStringEntryProto, TensorProto, helper

from tests.onnx_inspect.bad import ANSWERED, REFUSED, REPORTED, VALID, Made, Upload, bad

SECRET = "/etc/passwd"


def tensor(name: str = "w", kind: int = TensorProto.FLOAT, dims: tuple[int, ...] = (4,), **entries: str) -> TensorProto:
    out = TensorProto(name=name, data_type=kind, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        out.external_data.add(key=key, value=value)
    return out


def model(held: TensorProto | None = None, nodes: list[onnx.NodeProto] | None = None) -> ModelProto:
    """y = x + w."""
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [4]) for n in "xy"]
    nodes = nodes or [helper.make_node("Add", ["x", "w"], ["y"], "add")]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], [held] if held is not None else [])
    out = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return out


def identity(*attributes: onnx.AttributeProto, op: str = "Identity") -> onnx.NodeProto:
    node = helper.make_node(op, ["x"], ["y"], "n")
    node.attribute.extend(attributes)
    return node


def body(held: TensorProto) -> onnx.GraphProto:
    value = helper.make_tensor_value_info("w", TensorProto.FLOAT, [4])
    return helper.make_graph([], "body", [], [value], [held])


LOCATIONS = {
    "parent": "../w.bin",
    "parent far up": "../" * 20 + "etc/passwd",
    "parent inside": "a/../../w.bin",
    "only ..": "..",
    "only .": ".",
    "nothing": "",
    "absolute": SECRET,
    "double slash": "//etc/passwd",
    "folder": "sub/w.bin",
    "backslashes": "..\\..\\w.bin",
    "drive letter": "C:\\windows\\win.ini",
    "drive letter, no slash": "C:w.bin",
    "share": "\\\\host\\share",
    "NUL": "w.bin\x00.txt",
    "newline": "w.bin\n",
    "file URL": "file:///etc/passwd",
    "onnxruntime's memory": "*/_ORT_MEM_ADDR_/*",
    "dev": "/dev/zero",
    "own memory": "/proc/self/mem",
    "300 letters": "w" * 300,
    "our mark, guessed": "inline-0123456789abcdef-9/../x",
}
for name, location in LOCATIONS.items():
    words = "Only the plain name" if location else ""
    bad(REFUSED, words, f"location: {name}")(lambda location=location: model(tensor(location=location)))


def place(make: str, out: TensorProto) -> ModelProto:
    """``out`` at the place that ``make`` names; the model is otherwise as plain as it can be."""
    A = onnx.AttributeProto
    if make == "initializer":
        return model(out)
    if make == "subgraph initializer":
        return model(None, [identity(A(name="body", type=A.GRAPH, g=body(out)))])
    if make == "one of several graphs":
        return model(None, [identity(A(name="bodies", type=A.GRAPHS, graphs=[body(out)]))])
    if make == "node attribute":
        return model(None, [helper.make_node("Constant", [], ["y"], value=out)])
    if make == "list of tensors":
        return model(None, [identity(A(name="list", type=A.TENSORS, tensors=[out]))])
    if make == "attribute of another declared type":
        return model(None, [identity(A(name="lie", type=A.INT, i=1, t=out))])
    if make == "sparse attribute":
        sparse = onnx.SparseTensorProto(values=out, dims=[4])
        return model(None, [identity(A(name="value", type=A.SPARSE_TENSOR, sparse_tensor=sparse))])
    if make == "list of sparse tensors":
        sparse = onnx.SparseTensorProto(values=TensorProto(name="v"), indices=out, dims=[4])
        return model(None, [identity(A(name="value", type=A.SPARSE_TENSORS, sparse_tensors=[sparse]))])
    plain = model(helper.make_tensor("w", TensorProto.FLOAT, [4], [1.0] * 4))
    if make.startswith("sparse initializer"):
        inside = {"values": out} if "values" in make else {"values": TensorProto(name="s"), "indices": out}
        plain.graph.sparse_initializer.append(onnx.SparseTensorProto(dims=[4], **inside))
    elif make == "function body":
        node = helper.make_node("Constant", [], ["o"], value=out)
        plain.functions.append(helper.make_function("local", "f", [], ["o"], [node], [helper.make_opsetid("", 20)]))
    elif make == "default of a function":
        default = A(name="d", type=A.TENSOR, t=out)
        plain.functions.append(helper.make_function("local", "f", [], [], [], [], [], [default]))
    else:
        training = plain.training_info.add()
        (training.algorithm if make == "training algorithm" else training.initialization).CopyFrom(body(out))
    return plain


PLACES = (
    "initializer",
    "subgraph initializer",
    "one of several graphs",
    "node attribute",
    "list of tensors",
    "attribute of another declared type",
    "sparse attribute",
    "list of sparse tensors",
    "sparse initializer's values",
    "sparse initializer's indices",
    "function body",
    "default of a function",
    "training initialization",
    "training algorithm",
)
for name in PLACES:
    bad(REFUSED, "Only the plain name", f"escape in {name}")(lambda name=name: place(name, tensor(location=SECRET)))
    bad(ANSWERED, "", f"missing file in {name}")(lambda name=name: place(name, tensor(location="w.bin")))

ENTRIES: dict[str, tuple[dict[str, str], str, str]] = {
    "offset after the end": ({"offset": "17"}, REFUSED, "which has 16"),
    "length after the end": ({"length": "17"}, REFUSED, "which has 16"),
    "negative offset": ({"offset": "-1"}, REFUSED, "not a number"),
    "negative length": ({"length": "-16"}, REFUSED, "not a number"),
    "offset of 10,000 digits": ({"offset": "9" * 10_000}, REFUSED, "not a number"),
    "offset of 19 digits": ({"offset": "9" * 19}, REFUSED, "which has 16"),
    "offset in words": ({"offset": "ten"}, REFUSED, "not a number"),
    "offset in other digits": ({"offset": "１"}, REFUSED, "not a number"),
    "offset that Python alone reads": ({"offset": "1_0"}, REFUSED, "not a number"),
    "offset with a space": ({"offset": " 8"}, REFUSED, "not a number"),
    "length too short": ({"length": "8"}, REPORTED, "takes 16 bytes, but there are 8"),
    "offset that leaves too little": ({"offset": "8"}, REPORTED, "takes 16 bytes, but there are 8"),
    "unknown key": ({"basepath": "/etc"}, REFUSED, "'basepath'"),
    "prepacked weights": ({"prepacked_0": "key|0;99999999"}, REFUSED, "'prepacked_0'"),
    "an attribute of onnx's own class": ({"__class__": "x"}, REFUSED, "'__class__'"),
}
for name, (extra, outcome, words) in ENTRIES.items():
    bad(outcome, words, name)(
        lambda extra=extra: Upload(model(tensor(location="w.bin", **extra)).SerializeToString(), {"w.bin": bytes(16)})
    )

# Names that the inspector or the runs could use themselves.
OWN = ("model.onnx", "model-.onnx", "skeleton.onnx", "to-infer.onnx", "inferred.onnx", "outputs.npz", "profile", "model")
for name in OWN:
    bad(VALID, "", f"external data in {name}")(
        lambda name=name: Upload(model(tensor(location=name)).SerializeToString(), {name: bytes(16)})
    )
    bad(REPORTED, "was not uploaded", f"missing external data in {name}")(lambda name=name: model(tensor(location=name)))


@bad(VALID)
def external_data_in_all_our_names_at_once() -> Made:
    plain = model(tensor(location=OWN[0]))
    return Upload(plain.SerializeToString(), dict.fromkeys(OWN, bytes(16)))


@bad(REPORTED, "'w.bin', which was not uploaded")
def missing_external_data() -> Made:
    return model(tensor(location="w.bin"))


@bad(REFUSED, "Only the plain name")
def external_data_but_location_default() -> Made:
    held = tensor(location=SECRET)
    held.ClearField("data_location")
    return model(held)


@bad(REFUSED, "exactly one")
def two_locations() -> Made:
    held = tensor(location="w.bin")
    held.external_data.append(StringStringEntryProto(key="location", value=SECRET))
    return Upload(model(held).SerializeToString(), {"w.bin": bytes(16)})


@bad(REFUSED, "duplicate entry")
def two_offsets() -> Made:
    held = tensor(location="w.bin", offset="0")
    held.external_data.append(StringStringEntryProto(key="offset", value="1"))
    return Upload(model(held).SerializeToString(), {"w.bin": bytes(16)})


@bad(REFUSED, "exactly one")
def external_without_a_location() -> Made:
    return model(tensor(offset="0"))


@bad(REPORTED, "there are 16", "a 2 GB tensor in 16 bytes")
def two_gigabytes() -> Made:
    return Upload(model(tensor(dims=(1 << 29,), location="w.bin")).SerializeToString(), {"w.bin": bytes(16)})


@bad(REPORTED, "", "external strings")
def strings() -> Made:
    return Upload(model(tensor(kind=TensorProto.STRING, location="w.bin")).SerializeToString(), {"w.bin": bytes(16)})


@bad(VALID, "", "a file that nobody names")
def unused() -> Made:
    plain = model(helper.make_tensor("w", TensorProto.FLOAT, [4], [1.0] * 4))
    return Upload(plain.SerializeToString(), {"other.bin": bytes(4)})
