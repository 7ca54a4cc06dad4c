"""ONNX whose tensors lie elsewhere, SavedModels whose operators touch the machine."""

from __future__ import annotations

from typing import Any

from tests.convert.hostile import hostile
from tests.convert.hostile.valid import external, function, node, onnx, part, saved_model, saved_model_graph

for place in (
    "../w.bin",
    "/etc/passwd",
    "a/../../w",
    "C:\\w",
    "..\\w",
    "file:///etc/passwd",
    "/proc/self/mem",
    "*/_ORT_MEM_ADDR_/*",
):
    hostile("Only the plain name", f"onnx: external data at {place}")(lambda place=place: {"net.onnx": external(place)})
hostile("also upload 'w.bin'", "onnx: external data that are not there")(lambda: {"net.onnx": external("w.bin")})
hostile("which has 16", "onnx: external data after the end")(
    lambda: {"net.onnx": external("w.bin", offset="17"), "w.bin": bytes(16)}
)
hostile("the model's own name", "onnx: external data in the model's own name")(
    lambda: {"net.onnx": external("model.onnx"), "model.onnx": bytes(16)}
)
hostile("Truncated", "onnx: cut off")(lambda: {"net.onnx": onnx()[:-20]})

OPERATORS = {
    "PyFunc": "runs Python",
    "EagerPyFunc": "runs Python",
    "ReadFile": "reads or writes files",
    "WriteFile": "reads or writes files",
    "MatchingFiles": "reads or writes files",
    "InitializeTableFromTextFileV2": "reads or writes files",
    "XlaCallModule": "runs embedded code",
    "SomethingNew": "not allowed",
    "": "not allowed",
}
X = node("x", "Placeholder")
for op, words in OPERATORS.items():
    hostile(words, f"SavedModel with {op!r} in its graph")(
        lambda op=op: saved_model(saved_model_graph(X, node("call", op, "x")))
    )
    hostile(words, f"SavedModel with {op!r} in a function that nobody calls")(
        lambda op=op: saved_model(
            saved_model_graph(functions=function("f", node("y", "Relu")) + function("g", node("y", op)))
        )
    )


def called(*functions: bytes, **how: Any) -> bytes:
    return saved_model(saved_model_graph(functions=b"".join(functions), **how))


FILES = "reads or writes files when it computes"
hostile(FILES, "SavedModel that saves in its graph")(lambda: saved_model(saved_model_graph(X, node("call", "SaveV2", "x"))))
hostile(FILES, "SavedModel that saves before its output")(
    lambda: saved_model(saved_model_graph(X, node("s", "SaveV2", "x"), node("call", "Relu", "x", "^s")))
)
hostile(FILES, "SavedModel that restores in a function")(lambda: called(function("f", node("y", "RestoreV2"))))
hostile(FILES, "SavedModel that restores two functions down")(
    lambda: called(
        function("f", node("y", "If", calls="g")), function("g", node("y", "h")), function("h", node("y", "RestoreV2"))
    )
)
hostile(FILES, "SavedModel whose function calls the saver")(
    lambda: called(function("f", node("y", "PartitionedCall", calls="__inference__traced_save_1")))
)
hostile(FILES, "SavedModel whose output is the saver")(lambda: saved_model(saved_model_graph(output="saver:0")))
hostile(FILES, "SavedModel that saves when it is loaded")(
    lambda: saved_model(saved_model_graph(saved_model_main_op="saver"))
)
hostile("the name of an operator", "SavedModel with a function called as an operator is")(
    lambda: called(function("f", node("y", "Relu")), function("ReadFile", node("y", "Relu")))
)


hostile(FILES, "SavedModel with a function that saves and that nobody calls")(
    lambda: called(function("f", node("y", "Relu")), function("g", node("y", "SaveV2")))
)
hostile(FILES, "SavedModel whose saver TensorFlow may put in another function's place")(
    lambda: called(
        function("f", node("y", "Relu"), attribute="api_implements"),
        function("g", node("y", "SaveV2"), attribute="api_implements"),
        function("h", node("y", "g")),
        output="x:0",
        meta=part(2, part(1, node("s", "h"))),
    )
)
hostile("when it is loaded", "SavedModel that saves when it is restored")(
    lambda: saved_model(saved_model_graph(X, node("call", "Relu", "x"), node("evil", "SaveV2"), restore="evil"))
)
ELSEWHERE = "reads or writes files other than its own variables when it is loaded"
hostile(ELSEWHERE, "SavedModel that restores from a file of its choice")(
    lambda: saved_model(
        saved_model_graph(X, node("call", "Relu", "x"), node("c", "Const"), node("evil", "RestoreV2", "c"), restore="evil")
    )
)
hostile(ELSEWHERE, "SavedModel that restores in a function from a file of its choice")(
    lambda: saved_model(
        saved_model_graph(
            X, node("call", "Relu", "x"), node("evil", "PartitionedCall", "f", calls="g"), restore="evil",
            functions=function("g", node("c", "Const"), node("r", "RestoreV2", "c"), argument="file_prefix"),
        )
    )
)  # fmt: skip
SAVES = (X, node("call", "Relu", "x"), node("evil", "SaveV2"))
GROUP = b"\xc3\x3e\xc4\x3e"  # field 1000, begun and ended: protobuf skips what it does not know
META = {
    "object calls the saver": part(7, part(2, part(1, "__inference__traced_save_1") + part(2, b""))),
    "variable begins with the saver": part(
        4, part(1, "local_variables") + part(2, part(2, part(1, part(1, "v:0") + part(2, "evil"))))
    ),
    "output has parts, one of them the saver": part(
        5, part(1, "other") + part(2, part(2, part(1, "y") + part(2, part(5, part(2, part(1, "evil:0"))))))
    ),
}
# the same with the group inside, of fields that are shorter than 128 bytes
META |= {f"{w}, a group inside": bytes([m[0], m[1] + len(GROUP)]) + m[2:] + GROUP for w, m in META.items()}
for what, meta in META.items():
    hostile(FILES, f"SavedModel whose {what}")(lambda meta=meta: saved_model(saved_model_graph(*SAVES, meta=meta)))
hostile("Two nodes", "SavedModel with two nodes of one name")(
    lambda: saved_model(saved_model_graph(X, X, node("call", "Relu", "x")))
)
hostile("is empty", "SavedModel: empty graph")(lambda: saved_model(b""))
hostile("contains no graph", "SavedModel: only a version")(lambda: saved_model(b"\x08\x01"))
hostile("damaged", "SavedModel: cut off")(lambda: saved_model(saved_model_graph()[:-5]))
hostile("damaged", "SavedModel: noise")(lambda: saved_model(b"\x12\xff\xff\xff\xff\x0f" + bytes(40)))
hostile("SavedModel contains", "SavedModel: a library in it")(lambda: saved_model(**{"model/evil.so": b"\x7fELF"}))
hostile("SavedModel contains", "SavedModel: a program in it")(lambda: saved_model(**{"model/variables/x.py": b"print()"}))
