"""The model that a visitor has open: the uploaded files and a folder for derived files. Also parses a client's values."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib.errors import InvalidFile, InvalidValue
from lib.model_inputs.preprocessing import parse as read_preprocessing
from lib.model_inputs.sizes import parse as read_sizes

from . import formats

PREFIX = "workbench-onnx-"
RUNS = 20  # default number of timed runs


@dataclass(slots=True)
class Subject:
    """An open model. ``out``: the folder for the child process's files, which ``close`` removes.

    ``report``: path of the latest report, or ""; ``missing``: names of external data that were not uploaded.
    """

    model: str
    name: str
    externals: dict[str, str] = field(default_factory=dict)
    out: str = ""
    report: str = ""
    missing: list[str] = field(default_factory=list)
    member: str = ""  # the opened file of a bundle

    @property
    def folder(self) -> str:
        return self.out

    @property
    def format(self) -> str:
        return formats.of(self.model, self.name)

    def files(self) -> dict[str, Any]:
        """Return the arguments that all tasks of its format take."""
        if self.format == formats.TFLITE:
            return {"model": self.model, "member": self.member}
        return {"model": self.model, "externals": self.externals}

    def uploaded_paths(self) -> list[str]:
        """Return the paths of the uploaded files; empty for a model that was built here."""
        own_folder = Path(self.out)
        return [path for path in (self.model, *self.externals.values()) if not Path(path).is_relative_to(own_folder)]

    def there(self) -> bool:
        """Return whether its files still exist: uploads are kept for some hours."""
        return all(Path(path).is_file() for path in (self.model, self.report, *self.externals.values()))

    def close(self) -> None:
        if self.out:
            shutil.rmtree(self.out, ignore_errors=True)


def uploaded(paths: list[str] | str | None, beside: list[str] | None = None) -> Subject:
    """Return the subject for the uploaded files. Raises InvalidFile unless exactly one of them is a model."""
    files = [Path(p) for p in ([paths] if isinstance(paths, str) else paths or [])]
    if not files:
        raise InvalidFile("No file was given. Upload an .onnx file, with its external data if it has any, or a .tflite.")
    models = [p for p in files if formats.is_model(str(p))] or (files if len(files) == 1 else [])
    if len(models) != 1:
        raise InvalidFile(
            f"{len(files)} files were uploaded, {len(models)} of them models. "
            "Upload exactly one .onnx file with its external data, or one .tflite."
        )
    data = [p for p in files if p != models[0]] + [Path(p) for p in beside or []]
    return Subject(str(models[0]), models[0].name, {p.name: str(p) for p in data})


def parse_symbols(text: str | None) -> dict[str, int]:
    """Parse sizes: ``batch=8, sequence=128`` → {"batch": 8, "sequence": 128}. Raises InvalidValue."""
    sizes: dict[str, int] = {}
    for part in (text or "").replace(";", ",").split(","):
        if not part.strip():
            continue
        name, _, value = part.rpartition("=")
        try:
            sizes[name.strip()] = int(value)
        except ValueError:
            raise InvalidValue("symbols", part.strip(), "name=number, separated by commas: batch=8, sequence=128") from None
    return sizes


def parse_sizes(sizes: str | None, symbols: str | None = "") -> dict[str, int]:
    """Parse ``batch=8, samples=512`` from the field ``sizes`` and from ``symbols``, its older name. Raises InvalidValue."""
    return parse_symbols(symbols) | read_sizes(sizes or "")


def parse_samples(path: str | None, name: str, preprocessing: str | None, *others: Any) -> dict[str, Any] | None:
    """Return the arguments for a file of samples with preprocessing such as ``size=224, normalization=imagenet``, or JSON.

    ``others``: inputs given in other ways. Raises InvalidFile if there are both, and InvalidValue.
    """
    text = (preprocessing or "").strip()
    if not path:
        if text:
            raise InvalidValue("preprocessing", text, "only together with samples: a picture or a zip of pictures")
        return None
    if any(others):
        raise InvalidFile(f"Inputs were given twice: as samples ({name}) and in another way. Remove one of them.")
    return {"path": path, "name": name, "preprocessing": read_preprocessing(text)}


def parse_values(text: str | None, npz: str | None) -> dict[str, Any] | None:
    """Parse inputs typed as JSON. Returns None for an empty text. Raises InvalidValue, or InvalidFile if there is a file."""
    if not (text or "").strip():
        return None
    if npz:
        raise InvalidFile("Inputs were given twice: as a file and as JSON values. Remove one of them.")
    try:
        values = json.loads(text or "")
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict) or len(text or "") > 1_000_000:
        raise InvalidValue("values", text, 'JSON with one list per input, such as {"X": [[1, 2, 3, 4]]}')
    return values


def whole_number(name: str, value: float | None, default: int) -> int:
    """Return a client's number as an integer, ``default`` for None. Raises InvalidValue for NaN or a fraction."""
    if value is None:
        return default
    if not math.isfinite(value) or value != int(value):
        raise InvalidValue(name, value, "a whole number")
    return int(value)


def tolerance(name: str, value: float | None) -> float:
    """Return a tolerance, 0 for None. Raises InvalidValue for a negative or non-finite number."""
    if value is None:
        return 0.0
    if not (math.isfinite(value) and value >= 0):
        raise InvalidValue(name, value, "a number of at least 0")
    return float(value)
