"""Opening and saving an ONNX artifact: the folder with ``model.onnx`` and its external data beside it.

Nothing here runs a model. ``opened`` is the guard: it must come before any loader of onnx's or onnxruntime's own.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
import onnx.inliner
from onnx import ModelProto

from lib.convert.formats.onnx.opset.version import WHOLE, opset
from lib.errors import InvalidFile, JobFailed
from lib.onnx_model import functions
from lib.onnx_model.open import Model, open_model
from lib.onnx_model.words import clean

NAME = "model.onnx"
SHAPELESS = "Field 'shape' of 'type' is required but missing"


def opened(folder: Path) -> Model:
    """The artifact's structure. Raises InvalidFile for what no loader should see: escapes, missing data, recursion."""
    path = folder / NAME
    if not path.is_file():
        raise InvalidFile(f"There is no {NAME} in this artifact.")
    beside = {p.name: p for p in folder.iterdir() if p.is_file() and not p.is_symlink() and p != path}
    model = open_model(path, beside)
    for where, why in model.missing.items():
        raise InvalidFile(f"{where}: {why}. Upload that file together with the model.")
    try:
        functions.inlined_size(model.proto)
    except functions.Recursive as error:
        raise InvalidFile(f"The model cannot be run: {error}.") from None
    return model


def read(folder: Path) -> ModelProto:
    """The whole model with its weights in memory, guarded by ``opened``."""
    opened(folder)
    return onnx.load(str(folder / NAME))


def tidied(folder: Path) -> ModelProto:
    """``read``, with own functions inlined and in the form that tools for graphs expect (``onnx_tidy``).

    A model of an opset that onnxruntime has never run is raised to the first one that it does.
    """
    from lib.convert.formats.onnx import metadata as onnx_metadata
    from lib.convert.formats.onnx import tidy as onnx_tidy
    from lib.convert.formats.onnx.opset import broadcast as opset_broadcast
    from lib.convert.formats.onnx.opset.convert import convert

    model = onnx_tidy.tidy(inlined(read(folder)))
    if opset(model) >= opset_broadcast.FIRST:
        return model
    onnx_tidy.weights_are_no_inputs(model)  # where they had to be, in such old files
    metadata = onnx_metadata.of(model)
    model = convert(model, opset_broadcast.FIRST)
    metadata.keep(model)
    return model


def write(model: ModelProto, folder: Path, source: Path | None = None) -> Path:
    """Saves the model as the artifact ``folder`` and checks what was saved. Raises JobFailed for an invalid model.

    What onnx's check does not like in the artifact ``source`` either is no fault of the tool: then onnxruntime decides.
    """
    path = folder / NAME
    save(model, path)
    try:
        check(path)
    except JobFailed:
        if source is None or _passes(source / NAME):
            raise
        loads(path)
    return path


def _passes(path: Path) -> bool:
    try:
        check(path)
    except JobFailed:
        return False
    return True


def save(model: ModelProto, path: Path) -> None:
    """Unchecked; with the weights in a file of their own where one file cannot hold them."""
    if model.ByteSize() > WHOLE:
        onnx.save(model, str(path), save_as_external_data=True, all_tensors_to_one_file=True, location=f"{path.name}.data")
    else:
        path.write_bytes(model.SerializeToString())


def check(path: Path) -> None:
    """onnx's full check, by path: in memory it gives up at 2 GB. Raises JobFailed."""
    try:
        try:
            onnx.checker.check_model(str(path), full_check=True)
        except onnx.checker.ValidationError as error:
            # exporters leave out the shape of an output; the checker then looks at nothing else, inference does
            if SHAPELESS not in str(error):
                raise
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                onnx.shape_inference.infer_shapes_path(
                    str(path), str(Path(folder) / NAME), check_type=True, strict_mode=True
                )
    except Exception as error:  # onnx's own, and protobuf's
        raise JobFailed(f"The tool made a model that is not valid ONNX: {clean(str(error))}") from None


def loads(path: Path) -> None:
    """Whether onnxruntime takes what was saved. Raises JobFailed in its words."""
    import onnxruntime

    from lib.onnx_model.runtime import CPU, options

    try:
        onnxruntime.InferenceSession(str(path), options(), providers=CPU)
    except Exception as error:  # onnxruntime's errors share no public base class
        raise JobFailed(f"The tool made a model that onnxruntime refuses: {clean(str(error))}") from None


def inlined(model: ModelProto) -> ModelProto:
    """The model without functions of its own: tools for graphs do not look into them."""
    return onnx.inliner.inline_local_functions(model) if model.functions else model


def operators(model: ModelProto) -> dict[str, int]:
    """How many nodes of each operator, subgraphs included."""
    found: dict[str, int] = {}
    for node in functions.all_nodes(model.graph.node):
        found[node.op_type] = found.get(node.op_type, 0) + 1
    return found
