"""What a visitor has in this tab: a described source, samples of its inputs, and how its conversions ended."""

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
    """A source that was described; ``about`` is what ``describe`` said."""

    source: Source
    about: dict[str, Any]

    def target(self, name: str | None) -> dict[str, Any] | None:
        return next((t for t in self.about.get("targets", []) if t["target"] == name), None)


@dataclass(slots=True)
class Outcome:
    """A conversion's end. The paths are in ``folder``, None where the file is withheld; ``close`` removes it.

    ``unproven`` has the same paths of a withheld file, for who takes it anyway.
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
        """``artifact``, ``package`` or ``onnx``, the withheld one where there is no other."""
        return getattr(self, kind) or self.unproven.get(kind)

    def inspected(self) -> list[str]:
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
class Ended:
    """One or several conversions that were asked for together, in ``folder``; ``shown`` is the target that is open."""

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
    """Real inputs as they were given; ``preprocessing`` is what was changed of the guess, ``seen`` a look at them."""

    path: str
    preprocessing: dict[str, Any] = field(default_factory=dict)
    seen: dict[str, Any] | None = field(default=None, compare=False)


@dataclass(slots=True)
class Work:
    """What a visitor has in this tab. Kept on the server, and changed in place: a reload finds it."""

    opened: Opened
    ended: Ended | None = None
    samples: Samples | None = None
    begun: list[str] = field(default_factory=list)  # targets of a conversion that has not ended

    @property
    def folder(self) -> str:
        return self.ended.folder if self.ended else ""

    def there(self) -> bool:
        """Whether the uploads are still on the disk: they are kept for some hours."""
        return all(path.is_file() for path in self.opened.source.files.values())

    def close(self) -> None:
        if self.ended is not None:
            self.ended.close()


def stray(files: Iterable[str]) -> str:
    """The name of a file among others that would be ignored: samples, or another whole model; or "". The main one first."""
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
