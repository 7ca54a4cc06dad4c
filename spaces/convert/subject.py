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

# What a whole model is usually called: it cannot be the weights of an architecture given by name.
SAMPLES = {".npz", ".npy", ".wav"}
WHOLE = {suffix for f in FORMATS.values() if f.upload for suffix in f.upload.suffixes}


@dataclass(slots=True)
class Opened:
    """A described source; ``about`` is the answer of ``Converter.describe``."""

    source: Source
    about: dict[str, Any]

    def target(self, name: str | None) -> dict[str, Any] | None:
        return next((t for t in self.about.get("targets", []) if t["target"] == name), None)


@dataclass(slots=True)
class Outcome:
    """The result of one conversion. The paths are in ``folder``, None if the file is withheld; ``close`` removes it.

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
        """The path of ``artifact``, ``package`` or ``onnx``; if the file is withheld, that of the withheld one."""
        return getattr(self, kind) or self.unproven.get(kind)

    def files_to_inspect(self) -> list[str]:
        """What the Inspect tab opens: the ONNX file with its external data, the model first, or the .tflite."""
        artifact = Path(self.path("artifact") or "-")
        if artifact.suffix == ".tflite" and artifact.is_file():
            return [str(artifact)]
        path = Path(self.path("onnx") or "-")
        found = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file() and not p.is_symlink()]
        return [str(p) for p in sorted(found, key=lambda p: (p.suffix != ".onnx", p.name))]

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(slots=True)
class Results:
    """Outcomes of one or several conversions started together, in ``folder``; ``shown`` is the target on the page."""

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
    """A file of real inputs; ``preprocessing`` has the changes to the guess, ``seen`` the preview."""

    path: str
    preprocessing: dict[str, Any] = field(default_factory=dict)
    seen: dict[str, Any] | None = field(default=None, compare=False)


@dataclass(slots=True)
class TabState:
    """Kept on the server and changed in place, so that it survives a reload of the page."""

    opened: Opened
    results: Results | None = None
    samples: Samples | None = None
    unfinished: list[str] = field(default_factory=list)  # targets of a conversion that has not ended

    @property
    def folder(self) -> str:
        return self.results.folder if self.results else ""

    def there(self) -> bool:
        """Whether the uploads are still on the disk: they are kept for some hours."""
        return all(path.is_file() for path in self.opened.source.files.values())

    def close(self) -> None:
        if self.results is not None:
            self.results.close()


def misplaced_file(files: Iterable[str]) -> str:
    """The first file that cannot be part of the model: samples, or a second whole model; "" if there is none.

    ``files``: names, the main one first.
    """
    names = list(files)
    found = [n for k, n in enumerate(names) if Path(n).suffix.lower() in (SAMPLES | WHOLE if k else SAMPLES)]
    return found[0] if found and len(names) > 1 else ""


def source(paths: str | Iterable[str] | None, name: str | None) -> Source:
    """Raises InvalidFile for two files of one name."""
    found = [Path(p) for p in ([paths] if isinstance(paths, str) else paths or [])]
    found.sort(key=lambda p: p.suffix.lower() not in WHOLE)  # the main one first, else as they were given
    files = {p.name: p for p in found}
    if len(files) != len(found):
        raise InvalidFile(f"{len(found)} files were given, some with the same name. Give each a different name.")
    return Source(files, (name or "").strip())
