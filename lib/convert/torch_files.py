"""Checks PyTorch's files without torch: checkpoints (zip and the old form) and exported programs (.pt2)."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from lib.convert import json_text, numpy_pickles
from lib.convert.archives import Archive, Limits, is_litter, opened
from lib.convert.pickles import WAY_OUT, check_pickle
from lib.convert.pt2_expressions import check_expression
from lib.errors import InvalidFile

MAGIC = 0x1950A86A20F9469CFC6C  # the number that the old form begins with
OLD_START = b"\x8a\x0a" + MAGIC.to_bytes(10, "little") + b"."
TORCHSCRIPT = (
    "This is TorchScript, which carries a program of its own and is not opened here. Load it in your own Python with "
    "torch.jit.load, and bring torch.onnx.export of it, or torch.export of the original model, or its state_dict."
)
PT2_CLOSED = (
    "This is a PyTorch exported program (.pt2). torch.export.load can run any program that is hidden in such a file, in "
    "three ways: pickled sample inputs, pickled weights and expressions for shapes. So uploads of .pt2 are switched off. "
    "Bring ONNX (torch.onnx.export) or safetensors instead; the owner of this app may allow it with PT2_UPLOADS=1."
)
_STORED = "{}: a member of it is compressed, which torch never writes. Save it again with torch.save."
_CHECKPOINT = re.compile(  # older torch names its tensors after their addresses, of up to 20 digits
    r"data\.pkl|data/[0-9]{1,20}|version|byteorder|\.data/serialization_id|\.format_version|\.storage_alignment"
)
_PT2 = re.compile(
    r"archive_format|archive_version|byteorder|version|\.data/[a-z_]+|\.format_version|\.storage_alignment"
    r"|models/[\w.-]{1,100}\.json|data/(weights|constants)/(weight|tensor)_[0-9]{1,9}"
    r"|data/(weights|constants)/[\w.-]{1,100}_config\.json|data/sample_inputs/[\w.-]{1,100}\.pt|extra/[\w./-]{1,100}"
)


def root_of(archive: Archive) -> str:
    """The one folder that everything but litter is in, with its slash; "" where there is none."""
    names = [name for name in archive.members if not is_litter(name)]
    roots = {name.split("/", 1)[0] for name in names}
    return f"{roots.pop()}/" if len(roots) == 1 and all("/" in name for name in names) else ""


def check_checkpoint(path: Path) -> None:
    """Raises InvalidFile for a checkpoint that holds anything but tensors in plain containers."""
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            file.seek(0)
            _check_old(file)
            return
    with opened(path, Limits(members=200_000, total=1 << 40)) as archive:
        _check_zip(archive, numpy_pickles.NAMES)


def _check_zip(archive: Archive, also: frozenset[str] = frozenset()) -> None:
    root = root_of(archive)
    for name, member in archive.members.items():
        inner = name.removeprefix(root)
        if not _CHECKPOINT.fullmatch(inner):
            raise InvalidFile(f"The checkpoint has a member {inner[:80]!r}, which torch.save does not write. Save it again.")
        if member.compress_type != 0:
            raise InvalidFile(_STORED.format("The checkpoint"))
    if f"{root}data.pkl" not in archive.members:
        raise InvalidFile("The checkpoint has no data.pkl. Save it again with torch.save.")
    with archive.stream(f"{root}data.pkl") as stream:
        _beside_tensors(check_pickle(stream, also))
        if stream.read(1):
            raise InvalidFile("Something follows the pickle in data.pkl. Save the checkpoint again with torch.save.")


def _check_old(file: Any) -> None:
    """Magic number, version, system, content, storage keys: five pickles, then the tensors' bytes."""
    if not file.read(14).endswith(OLD_START[:12]):
        file.seek(0)
        check_pickle(file)  # says what it calls for
        raise InvalidFile(
            "This is a Python pickle, but no PyTorch checkpoint. Save it with torch.save, or bring safetensors."
        )
    file.seek(0)
    _beside_tensors(set().union(*(check_pickle(file, numpy_pickles.NAMES) for _ in range(5))))


def _beside_tensors(names: set[str]) -> None:
    """Other objects are left out beside tensors; a file of nothing else is no checkpoint."""
    if (odd := sorted(names & numpy_pickles.NAMES)) and not any(n.startswith("torch._utils _rebuild") for n in names):
        raise InvalidFile(f"The pickle in this file calls for {odd[0].replace(' ', '.')}, and for no tensor. {WAY_OUT}")


def check_pt2(path: Path) -> list[str]:
    """Messages. Raises InvalidFile for each of the ways known to make torch.export.load run something."""
    with opened(path, Limits(members=200_000, total=1 << 40)) as archive:
        root = root_of(archive)
        for name, member in archive.members.items():
            inner = name.removeprefix(root)
            if not _PT2.fullmatch(inner):
                raise InvalidFile(
                    f"The exported program has a member {inner[:80]!r}; only graphs, weights and inputs may be in."
                )
            if member.compress_type != 0:
                raise InvalidFile(_STORED.format("The exported program"))
        if not any(name.startswith(f"{root}models/") for name in archive.members):
            raise InvalidFile("The exported program has no graph in it. Save it again with torch.export.save.")
        for name in archive.members:
            inner = name.removeprefix(root)
            if inner.endswith(".json"):
                _check_graph(json_text.parse(archive.read(name), f"{inner} in the exported program"))
            elif inner.startswith("data/sample_inputs/"):
                _check_samples(archive.read(name), inner)
    return ["The exported program was loaded after a check of its pickles, expressions and operators."]


def _check_samples(data: bytes, inner: str) -> None:
    if not data:  # what our own files have there
        return
    if not data.startswith(b"PK\x03\x04"):
        raise InvalidFile(f"{inner} in the exported program is no checkpoint. Save it again with torch.export.save.")
    with NamedTemporaryFile() as file:  # an archive in an archive
        file.write(data)
        file.flush()
        with opened(Path(file.name)) as archive:
            _check_zip(archive)


# What the graph may call: torch's own operators, arithmetic on sizes. ``getattr`` from ``torch`` reaches everything.
_TARGET = re.compile(
    # not aten's few operators that open files, print, or reach memory by its address
    r"torch\.ops\.(aten|prims|torchvision|quantized_decomposed)\.(?!from_file|_?print|_?save|_?load|from_blob|set_)\w+(\.\w+)?"
    r"|torch\.ops\.higher_order\.(cond|wrap_with_set_grad_enabled|wrap_with_autocast)"
    r"|torch\.sym_(float|int|max|min|not|ite|sum)|torch\._sym_sqrt|math\.(ceil|floor|trunc|sqrt)"
    r"|_operator\.(add|sub|mul|floordiv|truediv|mod|neg|pow|lt|le|gt|ge|eq|ne|and_|or_|not_|getitem)"
)
_TREES = {"builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict", None}


def _check_graph(found: dict[str, Any]) -> None:
    for one in json_text.objects(found):
        if one.get("use_pickle", False) is not False:
            raise InvalidFile(
                "The exported program has pickled weights (use_pickle), which may run any program. Bring ONNX."
            )
        if one.get("guards_code"):
            raise InvalidFile("The exported program brings Python code as guards, which would be run. Bring ONNX instead.")
        if one.get("custom_obj_values") or "as_custom_obj" in one or "custom_obj" in one:
            raise InvalidFile("The exported program has custom objects, which are not opened. Bring ONNX instead.")
        if "expr_str" in one:
            check_expression(one["expr_str"])
        for symbol in one.get("range_constraints") or ():
            check_expression(symbol)
        if "target" in one and "inputs" in one and not (isinstance(one["target"], str) and _TARGET.fullmatch(one["target"])):
            raise InvalidFile(
                f"The exported program calls {str(one['target'])[:80]!r}; only torch's own operators may be called."
            )
        for key in ("in_spec", "out_spec"):
            if key in one:
                _check_tree(one[key])
        if one.get("treespec_namedtuple_fields"):
            raise InvalidFile(
                "The exported program takes or gives named tuples, which are not read here. Bring ONNX instead."
            )


def _check_tree(text: object) -> None:
    """A tree of inputs: plain containers only. ``text`` is JSON in JSON."""
    if text in ("", None):
        return
    tree = json_text.parse(f'{{"tree": {text}}}'.encode(errors="replace"), "A tree of inputs in the exported program")
    for one in json_text.objects(tree["tree"]):
        if "type" in one and one["type"] not in _TREES:
            raise InvalidFile(
                f"The exported program has inputs or outputs in {str(one['type'])[:80]!r}; allowed: tuple, list, dict."
            )
