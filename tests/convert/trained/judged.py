"""The proof on a file that we changed after the converter made it: one conversion, many planted errors.

The only module here that knows ``lib/convert`` from inside; ``plants.py`` says what goes wrong.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto

from lib.convert.edges import edges
from lib.convert.service.options import chosen
from lib.convert.service.pipeline import Conversion
from lib.convert.worker import entrypoints
from lib.errors import InvalidFile
from tests.convert.trained.subject import Subject

Answer = dict[str, Any]


def progress(*_: Any) -> None:
    pass


@dataclass(slots=True)
class Converted:
    """An ONNX subject, converted by the edge's own function; ``folder`` is scratch."""

    subject: Subject
    target: str
    folder: Path
    edge: Any = None
    source: Answer = field(default_factory=dict)
    hop: Answer = field(default_factory=dict)
    model: ModelProto = field(default_factory=ModelProto)

    def convert(self) -> Converted:
        """Raises InvalidFile where there is nothing to convert."""
        self.edge = edges()["onnx", self.target]
        scratch = Conversion(None, self.folder, (self.edge,), chosen((self.edge,), {"samples": str(self.subject.samples)}))
        shutil.copy(self.subject.folder / self.subject.files[0], Path(scratch.folder(0)) / "model.onnx")
        calibrated = self.edge.precision == "int8"
        samples = {"path": str(self.subject.samples), "name": "samples.npz", "folder": scratch.folder("samples-0")}
        samples["preprocessing"] = None
        self.source = entrypoints.run_source(
            progress, format="onnx", folder=scratch.folder(0), out=scratch.folder("source-runs"), seeds=[0, 1, 2],
            sizes={}, samples=samples, calibrated=calibrated, timed=False,
        )  # fmt: skip
        about = {"sizes": self.source["sizes"], "samples": scratch.folder("samples-0"), "min_agreement": 0.95}
        options = about | scratch.chosen.of_edge[0]
        self.hop = entrypoints.run_edge(progress, self.edge.run, scratch.folder(0), scratch.folder(1), options)
        if self.hop["unchanged"]:
            raise InvalidFile(self.hop["unchanged"])
        self.model = onnx.load(Path(scratch.folder(1)) / "model.onnx")
        return self

    def verdict(self, model: ModelProto, name: str) -> Answer:
        """Of the proof, with the user's samples; ``name`` is the scratch folder's. What the tool said is left out."""
        folder, out = self.folder / name / "1", self.folder / name / "answers"
        for path in (folder, out):
            path.mkdir(parents=True)
        onnx.save(model, folder / "model.onnx")
        given = {"source_runs": str(self.folder / "source-runs"), "cases": self.source["cases"]}
        names: dict[str, dict[str, str]] = {"inputs": {}, "outputs": {}}
        try:
            answered = entrypoints.run_target(
                progress, format="onnx", folder=str(folder), out=str(out), source=self.source["signature"],
                names=names, last=False, **given,
            )  # fmt: skip
        except Exception as error:  # a file that does not load is caught
            return {"verdict": "failed", "reason": f"does not load: {error}"}
        signature = self.source["signature"]
        same = {side: {v["name"]: v["name"] for v in signature[side]} for side in ("inputs", "outputs")}
        dtypes = {v["name"]: v["dtype"] for v in signature["inputs"]}
        lossy = {"format": self.target, "source": str(self.folder / "0"), "target": str(folder), "dtypes": dtypes} | same
        judged = entrypoints.compare(
            progress, answers=[{"folder": str(out)} | {n: answered[n] for n in ("refused", "reference")}],
            precisions=[self.edge.precision], deterministic=self.source["steady"], inputs=True,
            constants=self.source["constants"], masks=[v["name"] for v in signature["inputs"] if v["role"] == "mask"],
            lossy=lossy if self.edge.precision in ("fp16", "int8") else None,
            calibrated_on="samples" if self.target == "onnx-int8-static" else "", **given,
        )  # fmt: skip
        shutil.rmtree(self.folder / name)
        return judged["whole"]
