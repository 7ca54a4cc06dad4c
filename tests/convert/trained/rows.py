"""One row of the table: a model, a target, the converter's verdict, and the truth beside it."""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lib.convert.service.converter import Converter, Source
from lib.errors import WorkbenchError
from tests.convert.trained import check, runtimes
from tests.convert.trained.subject import FLOORS, Subject, Truth, precision

CANNOT = "cannot convert"


@dataclass(slots=True, kw_only=True)
class Row:
    """``verdict``: the converter's, or CANNOT with its ``reason``. ``right`` is None where no file was made."""

    model: str
    target: str
    verdict: str
    reason: str = ""
    right: bool | None = None
    truth: str = ""
    agreement: float | None = None
    floor: float | None = None
    second: float | None = None  # agreement in onnxruntime without optimizations, where an ONNX file is called wrong
    summary: str = ""
    seconds: float = 0.0

    @property
    def wrongly_proven(self) -> bool:
        return self.verdict == "proven" and self.right is False

    @property
    def wrongly_withheld(self) -> bool:
        return self.verdict not in ("proven", CANNOT) and self.right is True

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def options(subject: Subject, target: str, samples: bool) -> dict[str, Any]:
    """What a user sets: the samples, if any; and the file is wanted whatever is said of it."""
    return {"anyway": True} | ({"samples": str(subject.samples)} if samples else {})


def row(converter: Converter, subject: Subject, target: str, *, samples: bool = True, keep: Path | None = None) -> Row:
    """Converts, then asks the independent check. ``keep``: where the file is left for a closer look."""
    source = Source(files={name: subject.folder / name for name in subject.files})
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        folder = keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            found = converter.convert(source, target, options(subject, target, samples), folder).result()
        except WorkbenchError as error:
            seconds = time.perf_counter() - begun
            return Row(model=subject.name, target=target, verdict=CANNOT, reason=str(error), seconds=seconds)
        report = found["report"]
        out = Row(
            model=subject.name,
            target=target,
            verdict=report["verdict"],
            reason=report["reason"],
            floor=FLOORS[precision(target)],
            summary=report.get("summary") or "",
            seconds=time.perf_counter() - begun,
        )
        truth, said = _truth(subject, Path(found["artifact"]), target)
        out.truth, out.right = said, truth is not None and truth.right(target)
        if truth is not None:
            out.agreement = truth.agreement
        if target.startswith("onnx") and not out.right:
            out.second = _second(subject, Path(found["artifact"]))
        return out


def _truth(subject: Subject, file: Path, target: str) -> tuple[Truth | None, str]:
    try:
        truth = check.independent(subject, main(file), target)
    except Exception as error:  # of four runtimes; a file that none of them runs is no use to anyone
        return None, f"does not run: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return truth, str(truth)


def _second(subject: Subject, file: Path) -> float | None:
    held, labels = subject.held()
    run = runtimes.onnxruntime
    try:
        return check.measured(subject, runtimes.stacked(run(main(file)), held), labels).agreement
    except Exception:
        return None


def main(file: Path) -> Path:
    """The file itself, out of a folder or a zip that a format of several files is handed out as."""
    if file.suffix == ".zip":
        import zipfile

        folder = file.with_suffix("")
        with zipfile.ZipFile(file) as archive:
            archive.extractall(folder)
        file = folder
    if file.is_dir():
        return next(p for suffix in (".xml", ".onnx", ".tflite", ".pt2") for p in sorted(file.rglob(f"*{suffix}")))
    return file
