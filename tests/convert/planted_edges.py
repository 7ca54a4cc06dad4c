"""Edges that do wrong things, for tests of what surrounds them; run in the child process like any other."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import onnx
from onnx import numpy_helper


def flips_a_sign(progress: Any, source: Path, target: Path, options: dict[str, Any]) -> None:
    model = onnx.load(str(source / "model.onnx"))
    held = next(t for t in model.graph.initializer if len(t.dims) > 1)
    values = numpy_helper.to_array(held).copy()
    values.reshape(-1)[0] *= -1
    held.CopyFrom(numpy_helper.from_array(values, held.name))
    onnx.save(model, str(target / "model.onnx"))


def fixes_the_batch_silently(progress: Any, source: Path, target: Path, options: dict[str, Any]) -> None:
    model = onnx.load(str(source / "model.onnx"))
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, str(target / "model.onnx"))


def fixes_the_batch_and_says_so(progress: Any, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    fixes_the_batch_silently(progress, source, target, options)
    return {"fixed": {"batch": 1}, "messages": ["The batch is 1 now."]}


def renames(progress: Any, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    model = onnx.load(str(source / "model.onnx"))
    old, new = model.graph.input[0].name, "renamed"
    for node in model.graph.node:
        for k, used in enumerate(node.input):
            node.input[k] = new if used == old else used
    model.graph.input[0].name = new
    onnx.save(model, str(target / "model.onnx"))
    return {"inputs": {old: new}}


def flips_a_sign_of_a_pte(progress: Any, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    """In the environment ``executorch``: of the largest number in a weight or bias that stands in the file as it is."""
    from lib.convert.edges.pt2_to_executorch import convert
    from lib.convert.formats.pt2 import files as pt2_files

    said = convert(progress, source, target, options)
    data = bytearray((target / "model.pte").read_bytes())
    for value in pt2_files.load(source)[0].state_dict.values():
        found = value.detach().numpy()
        if found.size > 4 and (at := data.find(found.tobytes())) >= 0:
            at += 4 * int(abs(found).argmax())
            data[at + 3] ^= 0x80
            (target / "model.pte").write_bytes(data)
            return said
    raise AssertionError("no weight of the program stands in the file")


def crashes(progress: Any, source: Path, target: Path, options: dict[str, Any]) -> None:
    raise RuntimeError(f"no kernel for Foo in {source.resolve()}/model.onnx")


def never_ends(progress: Any, source: Path, target: Path, options: dict[str, Any]) -> None:
    shutil.copyfile(source / "model.onnx", target / "half.onnx")
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    progress(f"Waiting for ever, and so does {child.pid}")
    time.sleep(600)
