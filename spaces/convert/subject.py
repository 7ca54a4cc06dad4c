"""State of a visitor's Convert tab: a described source, samples of its inputs, and results of its conversions."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib.convert.formats import FORMATS
from lib.convert.service.converter import Source
from lib.errors import InvalidFile, WorkbenchError

# Suffixes of samples, and of whole models, which cannot be the weights of an architecture given by name.
SAMPLES = {".npz", ".npy", ".wav"}
WHOLE = {suffix for f in FORMATS.values() if f.upload for suffix in f.upload.suffixes}


@dataclass(slots=True)
class Opened:
    """A described source. ``about`` is the answer of ``Converter.describe``."""

    source: Source
    about: dict[str, Any]

    def target(self, name: str | None) -> dict[str, Any] | None:
        return next((t for t in self.about.get("targets", []) if t["target"] == name), None)


@dataclass(slots=True)
class Outcome:
    """The result of one conversion. Paths are in ``folder``, which ``close`` removes; they are None if the file is withheld.

    ``unproven`` has the paths of a withheld file, for visitors who want it anyway.
    """

    folder: str
    report: dict[str, Any]
    artifact: str | None = None
    package: str | None = None
    onnx: str | None = None
    unproven: dict[str, str | None] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: str, found: dict[str, Any]) -> Outcome:
        paths = (found.get(kind) for kind in ("artifact", "package", "onnx"))
        return cls(folder, found["report"], *paths, found.get("withheld") or {})

    @property
    def withheld(self) -> bool:
        return self.artifact is None

    def path(self, kind: str) -> str | None:
        """Return the path of ``artifact``, ``package`` or ``onnx``, also if the file is withheld."""
        return getattr(self, kind) or self.unproven.get(kind)

    def files_to_inspect(self) -> list[str]:
        """Return the paths that the Inspect tab opens: the .tflite, or the ONNX file followed by its external data."""
        artifact = Path(self.path("artifact") or "-")
        if artifact.suffix == ".tflite" and artifact.is_file():
            return [str(artifact)]
        path = Path(self.path("onnx") or "-")
        paths = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file() and not p.is_symlink()]
        return [str(p) for p in sorted(paths, key=lambda p: (p.suffix != ".onnx", p.name))]

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(slots=True)
class Results:
    """Outcomes of conversions that were started together, in ``folder``. ``shown``: the target shown on the page."""

    folder: str
    outcomes: dict[str, Outcome] = field(default_factory=dict)  # by target
    errors: dict[str, WorkbenchError] = field(default_factory=dict)
    shown: str = ""

    @property
    def open(self) -> Outcome | None:
        return self.outcomes.get(self.shown)

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(slots=True)
class Samples:
    """A file of real inputs. ``preprocessing``: changes to the guess; ``seen``: the preview."""

    path: str
    preprocessing: dict[str, Any] = field(default_factory=dict)
    seen: dict[str, Any] | None = field(default=None, compare=False)


@dataclass(slots=True)
class TabState:
    """State of one tab. It is kept on the server and changed in place, so that it survives a reload of the page."""

    opened: Opened
    results: Results | None = None
    samples: Samples | None = None
    unfinished: list[str] = field(default_factory=list)  # targets of a conversion that has not ended

    @property
    def folder(self) -> str:
        return self.results.folder if self.results else ""

    def there(self) -> bool:
        """Return whether the uploads, which are kept for some hours, still exist."""
        return all(path.is_file() for path in self.opened.source.files.values())

    def close(self) -> None:
        if self.results is not None:
            self.results.close()


def misplaced_file(files: Iterable[str]) -> str:
    """Return the first file that cannot be part of the model (samples or a second whole model), or "".

    ``files``: names, the main one first.
    """
    names = list(files)
    misplaced = [n for k, n in enumerate(names) if Path(n).suffix.lower() in (SAMPLES | WHOLE if k else SAMPLES)]
    return misplaced[0] if misplaced and len(names) > 1 else ""


def source(paths: str | Iterable[str] | None, name: str | None) -> Source:
    """Return the source of the given files and name. Raises InvalidFile for two files with the same name."""
    sorted_paths = [Path(p) for p in ([paths] if isinstance(paths, str) else paths or [])]
    sorted_paths.sort(key=lambda p: p.suffix.lower() not in WHOLE)  # stable: the main file first
    files = {p.name: p for p in sorted_paths}
    if len(files) != len(sorted_paths):
        raise InvalidFile(f"{len(sorted_paths)} files were given, some with the same name. Give each a different name.")
    return Source(files, (name or "").strip())
