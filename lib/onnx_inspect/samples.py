"""Real inputs for a run from a visitor's file: arrays, pictures, sound or text. Messages say what was guessed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onnx import ModelProto

from lib.errors import InvalidFile
from lib.model_inputs import samples, sizes
from lib.onnx_inspect import dynamic
from lib.onnx_inspect.feeds import RunInputs
from lib.onnx_inspect.runtimes import Runner


@dataclass(slots=True)
class SamplesFile:
    """An uploaded file of samples. ``preprocessing``: changes to the guess for pictures."""

    path: Path
    name: str
    preprocessing: dict[str, Any] = field(default_factory=dict)
    tokenizer: Path | None = None


def first_sample(model: ModelProto, file: SamplesFile, fixed: dict[str, int], runner: Runner) -> RunInputs:
    """Return the first sample as inputs. If onnxruntime rejects its sizes, the file is read again at accepted sizes.

    Raises InvalidFile or InvalidValue; the message describes the model's inputs.
    """
    model_signature = dynamic.read(model)
    if model_signature is None:
        raise InvalidFile("Samples need a model that takes tensors. Give this model's inputs as JSON or .npz.")

    def read(at: dict[str, int]) -> samples.Samples:
        changes = file.preprocessing or None
        return samples.read(file.path, file.name, model_signature, preprocessing=changes, sizes=at, tokenizer=file.tokenizer)

    loaded, note = read(fixed), ""
    if model_signature.symbols() and runner.refusal(loaded.rows[0]):

        def accepts(at: dict[str, int]) -> str:
            try:
                return runner.refusal(read(at).rows[0])
            except (InvalidFile, ValueError) as error:
                return str(error)

        result = sizes.search(model_signature, fixed, accepts)
        if result.accepted:
            loaded, note = read(result.sizes), result.note
    at = _sizes(model_signature, loaded.rows[0])
    description = {
        "name": file.name,
        "count": len(loaded.rows),
        "run": 1,
        "kind": loaded.kind,
        "labels": loaded.labels is not None,
        "label": loaded.classes[loaded.labels[0]] if loaded.labels and loaded.classes else None,
        "preprocessing": loaded.preprocessing.as_dict() if loaded.preprocessing else None,
        "messages": loaded.messages,
    }
    note = note or (f"{dynamic.listed(at)}, as the sample has them." if at else "")
    if ignored := {name: size for name, size in fixed.items() if at.get(name) != size}:
        note += f" {dynamic.listed(ignored)}: ignored, since one sample is run."
    return RunInputs(loaded.rows[0], at, note, description)


def _sizes(found: Any, row: dict[str, Any]) -> dict[str, int]:
    by_symbol: dict[str, int] = {}
    for value in found.inputs:
        if value.name in row and row[value.name].ndim == len(value.shape):
            by_symbol |= {s: n for s, n in zip(value.shape, row[value.name].shape, strict=True) if isinstance(s, str)}
    return by_symbol
