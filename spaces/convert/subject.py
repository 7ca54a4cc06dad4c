"""What a visitor gives and gets: a source, options as text or files, and the folder with a result."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.convert.convert import Source
from lib.errors import InvalidFile, InvalidValue

# What a whole model is usually called: it cannot be the weights of an architecture given by name.
WHOLE = {".onnx", ".tflite", ".keras", ".pt2", ".zip"}
YES, NO = {"1", "true", "yes", "on"}, {"0", "false", "no", "off", ""}

Specs = dict[str, dict[str, Any]]  # an option's name -> how the registry describes it


@dataclass(slots=True)
class Opened:
    """A source that was described; ``about`` is what ``describe`` said."""

    source: Source
    about: dict[str, Any]

    def target(self, name: str | None) -> dict[str, Any] | None:
        return next((t for t in self.about.get("targets", []) if t["target"] == name), None)


@dataclass(slots=True)
class Outcome:
    """A conversion's end. The paths are in ``folder``, None where the file is withheld; ``close`` removes it."""

    folder: str
    report: dict[str, Any]
    artifact: str | None = None
    package: str | None = None
    onnx: str | None = None

    @classmethod
    def of(cls, folder: str, found: dict[str, Any]) -> Outcome:
        return cls(folder, found["report"], found.get("artifact"), found.get("package"), found.get("onnx"))

    @property
    def withheld(self) -> bool:
        return self.artifact is None

    def onnx_files(self) -> list[str]:
        """The ONNX file with its external data, the model first."""
        path = Path(self.onnx or "-")
        found = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file() and not p.is_symlink()]
        return [str(p) for p in sorted(found, key=lambda p: (p.suffix != ".onnx", p.name))]

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(slots=True)
class Work:
    """What a visitor has in this tab: a described source and, once there is one, the end of its conversion."""

    opened: Opened
    outcome: Outcome | None = None

    @property
    def folder(self) -> str:
        return self.outcome.folder if self.outcome else ""

    def there(self) -> bool:
        """Whether the uploads are still on the disk: they are kept for some hours."""
        return all(path.is_file() for path in self.opened.source.files.values())

    def close(self) -> None:
        if self.outcome is not None:
            self.outcome.close()


def source(paths: str | Iterable[str] | None, name: str | None) -> Source:
    """Raises InvalidFile for two files of one name."""
    found = [Path(p) for p in ([paths] if isinstance(paths, str) else paths or [])]
    found.sort(key=lambda p: p.suffix.lower() not in WHOLE)  # the main one first, else as they were given
    files = {p.name: p for p in found}
    if len(files) != len(found):
        raise InvalidFile(f"{len(found)} files were given, some with the same name. Give each a name of its own.")
    return Source(files, (name or "").strip())


def specs(rows: Iterable[dict[str, Any]]) -> Specs:
    """Every option that some conversion takes."""
    return {option["name"]: option for row in rows for option in row["options"]}


def from_client(options: Any, files: dict[str, Path], known: Specs) -> dict[str, Any]:
    """Options of an API call. A file is named by what it is called among the uploads, from which it is taken out.

    Never a path: a client could name any file of this machine. Raises InvalidValue.
    """
    if isinstance(options, str):
        try:
            options = json.loads(options or "{}")
        except ValueError:
            raise InvalidValue("options", options, 'an object such as {"opset": 18}') from None
    if options is not None and not isinstance(options, dict):
        raise InvalidValue("options", options, 'an object such as {"opset": 18}')
    out = dict(options or {})
    if isinstance(out.get("seeds"), str):
        out["seeds"] = seeds(out["seeds"])
    for name, value in out.items():
        if known.get(name, {}).get("kind") == "file" and value is not None:
            if not isinstance(value, str) or value not in files:
                raise InvalidValue(name, value, "the name of one of the files that are sent along")
            out[name] = str(files[value])
    for path in [v for name, v in out.items() if known.get(name, {}).get("kind") == "file"]:
        for name in [n for n, p in files.items() if str(p) == path]:
            del files[name]
    return out


def from_query(query: dict[str, str], known: Specs) -> dict[str, Any]:
    """Options as they stand in an address: ``opset=18&anyway=1&seeds=1,2,3``. Raises InvalidValue."""
    return {name: _typed(name, text, known.get(name, {})) for name, text in query.items()}


def seeds(text: str | None) -> list[int] | None:
    """``1, 2, 3`` → [1, 2, 3]; None for nothing. Raises InvalidValue."""
    if not (text or "").strip():
        return None
    try:
        return [int(part) for part in str(text).replace(";", ",").split(",")]
    except ValueError:
        raise InvalidValue("seeds", text, "whole numbers separated by commas, such as 1, 2, 3") from None


def _typed(name: str, text: str, spec: dict[str, Any]) -> Any:
    if name == "seeds":
        return seeds(text)
    kind = "bool" if name == "anyway" else spec.get("kind", "")
    if kind == "bool":
        if text.lower() not in YES | NO:
            raise InvalidValue(name, text, "1 or 0")
        return text.lower() in YES
    if kind == "int":
        try:
            return int(text)
        except ValueError:
            raise InvalidValue(name, text, "a whole number") from None
    if kind == "file":
        raise InvalidValue(name, text, "a file, which goes through the page or the Gradio API only")
    return text
