"""Exported programs (.pt2): closed by default; opened, every way to run something is refused."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from typing import Any

from tests.convert.hostile import Made, Touch, hostile
from tests.convert.hostile.torch_pickles import POISON
from tests.convert.hostile.valid import exported, saved, unzipped, zipped

hostile("PT2_UPLOADS=1", "exported program while uploads of them are off")(exported)


def changed(member: str, change: Callable[[Any], Any]) -> bytes:
    members = unzipped(exported())
    name = next(n for n in members if n.endswith(member))
    found = json.loads(members[name])
    change(found)
    return zipped(members | {name: json.dumps(found).encode()}, zipfile.ZIP_STORED)


def with_member(member: str, content: bytes) -> bytes:
    members = unzipped(exported())
    root = next(iter(members)).split("/")[0]
    return zipped(members | {f"{root}/{member}": content}, zipfile.ZIP_STORED)


SAMPLES = "data/sample_inputs/model.pt"
hostile("refers to", "pickle in sample inputs", pt2=True)(lambda: with_member(SAMPLES, saved((Touch(),))))
hostile("is not a checkpoint", "bare pickle as sample inputs", pt2=True)(lambda: with_member(SAMPLES, POISON))
hostile("is not a checkpoint", "old checkpoint as sample inputs", pt2=True)(
    lambda: with_member(SAMPLES, saved((Touch(),), _use_new_zipfile_serialization=False))
)
hostile("only graphs, weights", "compiled code in an exported program", pt2=True)(
    lambda: with_member("data/aotinductor/model/a.so", b"\x7fELF")
)
hostile("compressed", "compressed exported program", pt2=True)(lambda: zipped(unzipped(exported())))


@hostile("use_pickle", pt2=True)
def pickled_weights() -> Made:
    def change(found: dict[str, Any]) -> None:
        found["config"]["layer.weight"]["use_pickle"] = True

    return changed("model_weights_config.json", change)


@hostile("use_pickle", "pickled weights, said with a number", pt2=True)
def pickled_weights_by_number() -> Made:
    def change(found: dict[str, Any]) -> None:
        found["config"]["layer.weight"]["use_pickle"] = 1

    return changed("model_weights_config.json", change)


EXPRESSIONS = (
    "__import__('os').system('true')",
    "Symbol('s0', positive=True).__class__",
    "(lambda: 1)()",
    "[x for x in (1,)]",
    "Symbol(__import__('os').name)",
    "Symbol('s0', positive=__import__('os'))",
    "eval('1')",
    "f'{1}'",
    "Integer(open('/etc/passwd'))",
    "s0 if 1 else 2",
    "exit",
    "Lambda('x', 'x')",
    "Function('f')(1)",
    "S('1')",
    "Symbol('__import__')",
    "'text'",
    "1" + "+1" * 2000,
    "9" * 400,
    "Max(" * 40 + "1" + ")" * 40,
)
for text in EXPRESSIONS:
    name = f"exported program with the shape {text[:40]} ({len(text)})"

    def make(text: str = text) -> Made:
        def change(found: dict[str, Any]) -> None:
            values = found["graph_module"]["graph"]["tensor_values"]
            values["x"]["sizes"][0]["as_expr"]["expr_str"] = text

        return changed("models/model.json", change)

    hostile("more than symbols and numbers", name, pt2=True)(make)

for target in (
    "torch.os.system",
    "torch.ops.os.system",
    "_operator.attrgetter",
    "torch.hub.load",
    "math.__loader__",
    "#x:y",
):

    def call(target: str = target) -> Made:
        def change(found: dict[str, Any]) -> None:
            found["graph_module"]["graph"]["nodes"][0]["target"] = target

        return changed("models/model.json", change)

    hostile("only torch's own operators", f"exported program that calls {target}", pt2=True)(call)


@hostile("would be run", pt2=True)
def guards_as_code() -> Made:
    return changed("models/model.json", lambda found: found.update(guards_code=["__import__('os')"]))


@hostile("allowed: tuple, list, dict", pt2=True)
def inputs_in_a_class_of_its_own() -> Made:
    def change(found: dict[str, Any]) -> None:
        tree = json.dumps([1, {"type": "os.PathLike", "context": "null", "children_spec": []}])
        found["graph_module"]["module_call_graph"][0]["signature"]["in_spec"] = tree

    return changed("models/model.json", change)


@hostile("more than symbols and numbers", "code as the name of a range", pt2=True)
def named_range() -> Made:
    return changed("models/model.json", lambda found: found.update(range_constraints={"__import__('os')": {"min_val": 1}}))
