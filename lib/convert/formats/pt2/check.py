"""Checks an exported program (.pt2) without torch, on upload and before each load, so that loading cannot run code."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from lib.archives import Limits, opened
from lib.convert.core import json_text
from lib.convert.core.archives import root_of
from lib.convert.formats.pt2.expressions import check_expression
from lib.convert.formats.weights.torch_check import STORED, check_zip, refuse_torchscript
from lib.errors import InvalidFile

_PT2 = re.compile(
    r"archive_format|archive_version|byteorder|version|\.data/[a-z_]+|\.format_version|\.storage_alignment"
    r"|models/[\w.-]{1,100}\.json|data/(weights|constants)/(weight|tensor)_[0-9]{1,9}"
    r"|data/(weights|constants)/[\w.-]{1,100}_config\.json|data/sample_inputs/[\w.-]{1,100}\.pt|extra/[\w./-]{1,100}"
)


def is_pt2(names: set[str], root: str) -> bool:
    """Returns whether a zip with these members is a .pt2 archive.

    Raises InvalidFile for TorchScript and for programs saved by torch before 2.8.
    """
    refuse_torchscript(names, root)
    members = {name.removeprefix(root) for name in names}
    if "archive_format" in members or any(name.startswith("models/") and name.endswith(".json") for name in members):
        return True
    if "serialized_exported_program.json" in members:
        raise InvalidFile("This exported program is from an old torch (before 2.8), which is not supported. Upload ONNX.")
    return False


def check_pt2(path: Path) -> list[str]:
    """Checks the archive and returns messages.

    Raises InvalidFile for every known way to make torch.export.load execute code.
    """
    with opened(path, Limits(members=200_000, total=1 << 40)) as archive:
        root = root_of(archive)
        for name, member in archive.members.items():
            member_name = name.removeprefix(root)
            if not _PT2.fullmatch(member_name):
                raise InvalidFile(
                    f"The exported program contains {member_name[:80]!r}; only graphs, weights and inputs are allowed."
                )
            if member.compress_type != 0:
                raise InvalidFile(STORED.format("The exported program"))
        if not any(name.startswith(f"{root}models/") for name in archive.members):
            raise InvalidFile("The exported program contains no graph. Save it again with torch.export.save.")
        for name in archive.members:
            member_name = name.removeprefix(root)
            if member_name.endswith(".json"):
                _check_graph(json_text.parse(archive.read(name), f"{member_name} in the exported program"))
            elif member_name.startswith("data/sample_inputs/"):
                _check_samples(archive.read(name), member_name)
    return ["The exported program was loaded after a check of its pickles, expressions and operators."]


def _check_samples(data: bytes, inner: str) -> None:
    if not data:  # our own files store no samples
        return
    if not data.startswith(b"PK\x03\x04"):
        raise InvalidFile(f"{inner} in the exported program is not a checkpoint. Save it again with torch.export.save.")
    with NamedTemporaryFile() as file:  # a nested archive
        file.write(data)
        file.flush()
        with opened(Path(file.name)) as archive:
            check_zip(archive)


# Targets the graph may call: torch's own operators and arithmetic on sizes. The loader resolves a target with ``getattr``
# from ``torch``, which reaches everything.
_TARGET = re.compile(
    # excludes the few aten operators that open files, print, or access memory by address
    r"torch\.ops\.(aten|prims|torchvision|quantized_decomposed)\.(?!from_file|_?print|_?save|_?load|from_blob|set_)\w+(\.\w+)?"
    r"|torch\.ops\.higher_order\.(cond|wrap_with_set_grad_enabled|wrap_with_autocast)"
    r"|torch\.sym_(float|int|max|min|not|ite|sum)|torch\._sym_sqrt|math\.(ceil|floor|trunc|sqrt)"
    r"|_operator\.(add|sub|mul|floordiv|truediv|mod|neg|pow|lt|le|gt|ge|eq|ne|and_|or_|not_|pos|lshift|rshift|getitem)"
)
_TREES = {"builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict", None}


def _check_graph(found: dict[str, Any]) -> None:
    """Raises InvalidFile for pickles, guards, custom objects, expressions or call targets that are not allowed."""
    for entry in json_text.objects(found):
        if entry.get("use_pickle", False) is not False:
            raise InvalidFile(
                "The exported program has pickled weights (use_pickle), which can run arbitrary code. Upload ONNX."
            )
        if entry.get("guards_code"):
            raise InvalidFile("The exported program has guards in Python code, which would be run. Upload ONNX instead.")
        if entry.get("custom_obj_values") or "as_custom_obj" in entry or "custom_obj" in entry:
            raise InvalidFile("The exported program has custom objects, which are not opened. Upload ONNX instead.")
        if "expr_str" in entry:
            check_expression(entry["expr_str"])
        for symbol in entry.get("range_constraints") or ():
            check_expression(symbol)
        if (
            "target" in entry
            and "inputs" in entry
            and not (isinstance(entry["target"], str) and _TARGET.fullmatch(entry["target"]))
        ):
            raise InvalidFile(
                f"The exported program calls {str(entry['target'])[:80]!r}; only torch's own operators may be called."
            )
        for key in ("in_spec", "out_spec"):
            if key in entry:
                _check_tree(entry[key])
        if entry.get("treespec_namedtuple_fields"):
            raise InvalidFile(
                "The exported program has named tuples as inputs or outputs, which are not supported. Upload ONNX instead."
            )


def _check_tree(text: object) -> None:
    """Raises InvalidFile unless a pytree spec (JSON inside a JSON string) uses plain containers only."""
    if text in ("", None):
        return
    tree = json_text.parse(f'{{"tree": {text}}}'.encode(errors="replace"), "A tree of inputs in the exported program")
    for node in json_text.objects(tree["tree"]):
        if "type" in node and node["type"] not in _TREES:
            raise InvalidFile(
                f"The exported program has inputs or outputs in {str(node['type'])[:80]!r}; allowed: tuple, list, dict."
            )
