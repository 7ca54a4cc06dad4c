"""Convert a source along its route, prove the result and package it.

Runs in the app's process and opens no file of a visitor: each step is a job (``worker/entrypoints.py``) in the environment
that its format or edge needs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib import metrics
from lib.convert import environments
from lib.convert.formats import APP, FORMATS, find
from lib.convert.formats.names import names
from lib.convert.formats.pytorch.fits import fitting
from lib.convert.service import catalogue
from lib.convert.service.child_schema import Admit, Describe, PreviewSamples, checked
from lib.convert.service.estimates import Estimates
from lib.convert.service.job_chain import JobChain, sweep
from lib.convert.service.options import chosen
from lib.convert.service.pipeline import Conversion, Steps
from lib.convert.service.remedies import remedies
from lib.convert.service.report import report
from lib.convert.service.routes import routes, runs_here
from lib.errors import Cancelled, InvalidValue
from lib.jobs import Job, Jobs, Limits, Progress
from lib.settings import Settings

TASKS = "lib.convert.worker.entrypoints"
PRELOAD = ("lib.convert.worker.preload",)
CONTAINERS = tuple(f.name for f in FORMATS.values() if f.container)


@dataclass(slots=True)
class Source:
    """A source: uploaded files by name, the main one first, and/or a name such as ``torchvision:resnet18``."""

    files: dict[str, Path] = field(default_factory=dict)
    name: str = ""

    @property
    def stem(self) -> str:
        """Safe stem for the names of output files."""
        label = (self.name.partition(":")[2] or self.name) if self.name else Path(next(iter(self.files), "")).stem
        plain = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in label).strip("-._")
        return plain[:60] or "model"


class Converter:
    """The converter of an app. ``describe``, ``preview`` and ``convert`` return a JobChain to follow or cancel."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._lock = settings, threading.Lock()
        self._jobs: dict[str, Jobs] = {}
        self._closed = False
        self._estimates = Estimates(settings.data_folder)
        self._limits = Limits(
            memory_mb=settings.convert_memory_mb,
            wall_seconds=settings.convert_seconds,
            cpu_seconds=4 * settings.convert_seconds,  # of all threads together
            file_mb=max(4096, 2 * settings.max_file_mb),
            nice=5,  # below picture generation
        )

    def start(self) -> None:
        """Remove stale scratch folders. The fork server starts with the first job, since torch takes a second and 300 MB."""
        sweep(self._settings.gallery_hours)

    def close(self) -> None:
        """End all jobs. Running conversions raise Cancelled."""
        with self._lock:
            self._closed = True
            for jobs in self._jobs.values():
                jobs.close()
            self._jobs.clear()

    def status(self) -> dict[str, dict[str, int]]:
        """Return the numbers of running and waiting jobs by environment."""
        with self._lock:
            return {name: jobs.status() for name, jobs in self._jobs.items()}

    def conversions(self) -> list[dict[str, Any]]:
        """Return the table of all edges; see ``catalogue.py`` and ``estimates.py``."""
        return self._estimates.table()

    def names(self) -> dict[str, list[str]]:
        """Return the sources by name, in groups."""
        return names()

    def describe(self, source: Source) -> JobChain:
        """Result: ``format``, ``title``, ``bytes``, ``inputs``, ``outputs``, ``messages``, ``targets``, ``blocked``.

        ``weights``: "random" if they were initialised here; ``preprocessing``: guessed preprocessing of pictures, or None;
        ``fits``: names of architectures that a file of weights fits.
        """

        def steps(chain: JobChain, scratch: Path) -> Steps:
            admitted = yield from self._admit(chain, source, scratch)
            format = find(admitted.format)
            arguments = {"format": format.name, "folder": str(scratch / "0")}
            environment = APP if format.described_in_app else format.environment
            description = checked(Describe, (yield from self._job(chain, environment, "describe", arguments, "", 0.5)))
            values = {side: description.signature[side] for side in ("inputs", "outputs")}
            targets = self._estimates.targets(format.name, admitted.bytes)
            options = {"targets": targets, "blocked": catalogue.unreachable(format.name)}
            tensors = values["outputs"] if format.name in CONTAINERS else ()
            fits = fitting((v["name"], v["shape"]) for v in tensors) if tensors else []
            extra = {"title": format.title, "preprocessing": description.preprocessing, "fits": fits}
            return admitted.model_dump() | extra | values | options

        return JobChain(steps)

    def preview(
        self, described: dict[str, Any], path: Path, preprocessing: dict[str, Any], sizes: dict[str, int]
    ) -> JobChain:
        """Preview a file of samples (``preview.py``) for the model of ``described``, the result of ``describe``."""

        def steps(chain: JobChain, scratch: Path) -> Steps:
            signature = {side: described[side] for side in ("inputs", "outputs")}
            arguments = {"path": str(path), "name": path.name, "signature": signature}
            arguments |= {"preprocessing": preprocessing, "sizes": sizes}
            preview = yield from self._job(chain, APP, "preview_samples", arguments, "", 0.5)
            return checked(PreviewSamples, preview).model_dump()

        return JobChain(steps)

    def convert(self, source: Source, target: str, options: dict[str, Any], folder: Path) -> JobChain:
        """Convert a source. Result: ``report``, and the paths ``artifact``, ``package`` and ``onnx``, None if withheld.

        ``withheld``: the paths if the file is not proven and the option ``anyway`` is not set, else None. Files are in
        ``folder``. ``options``: of the route's edges and of the proof (``options.OF_THE_PROOF``). The chain raises
        InvalidValue for a target that cannot be reached and for unknown options.
        """
        find(target)

        def steps(chain: JobChain, scratch: Path) -> Steps:
            start_time = time.monotonic()
            admitted = yield from self._admit(chain, source, scratch)
            reachable = routes(admitted.format, runs_here)
            if target not in reachable:
                reason = catalogue.unreachable(admitted.format).get(target, "")
                allowed = f"{', '.join(reachable) or 'nothing'} (what {find(admitted.format).title} can become here)"
                raise InvalidValue("target", target, f"{allowed}{'; ' * bool(reason)}{reason}")
            chosen_options = chosen(reachable[target], options)

            def job(*given: Any) -> Steps:
                return self._job(chain, *given)

            conversion = Conversion(job, scratch, reachable[target], chosen_options)
            source_run = yield from conversion.run_source()
            hops = yield from conversion.run_edges(source_run)
            proof = yield from conversion.prove(hops, source_run)
            conversion_report = report(admitted, hops, proof, chosen_options)
            conversion_report["source"]["name"] = source.name or next(iter(source.files), "")
            conversion_report["remedies"] = remedies(conversion_report, list(reachable))
            stem = f"{source.stem}-random-weights" if conversion_report["weights"] == "random" else source.stem
            arguments = {"format": target, "folder": conversion.folder(len(hops)), "report": conversion_report, "stem": stem}
            packaged = yield from job(APP, "package", arguments | {"out": str(folder)}, "", 0.97)
            files = {kind: _inside(folder, packaged.get(kind)) for kind in ("artifact", "package", "onnx")}
            self._estimates.note(admitted.bytes, conversion_report["route"], time.monotonic() - start_time)
            metrics.CONVERSIONS.labels(admitted.format, target, conversion_report["verdict"]).inc()
            if conversion_report["verdict"] == "proven" or chosen_options.anyway:
                return {"report": conversion_report, "withheld": None} | files
            return {"report": conversion_report, "withheld": files} | dict.fromkeys(files)

        return JobChain(steps)

    def _admit(self, chain: JobChain, source: Source, scratch: Path) -> Generator[Progress, None, Admit]:
        folder = scratch / "0"
        folder.mkdir()
        arguments = {"files": {n: str(p) for n, p in source.files.items()}, "name": source.name, "folder": str(folder)}
        permissions = {"allow_pt2": self._settings.pt2_uploads, "allow_hub": self._settings.hub_sources}
        return checked(Admit, (yield from self._job(chain, APP, "admit", arguments | permissions, "", 0.02)))

    def _job(
        self, chain: JobChain, environment: str, task: str, arguments: dict[str, Any], stage: str, share: float
    ) -> Steps:
        jobs = yield from self._ready(chain, environment, share)

        def submit() -> Job:
            with self._lock:
                if self._closed:  # closed Jobs would restart their server
                    raise Cancelled()
                return jobs.submit(f"{TASKS}:{task}", arguments, limits=self._limits)

        return (yield from chain.job(submit, stage=stage, share=share))

    def _ready(self, chain: JobChain, environment: str, share: float) -> Generator[Progress, None, Jobs]:
        """Return the jobs of an environment, which is installed first if needed."""
        environment_jobs = self._jobs.get(environment)
        if environment_jobs is None:
            job_options: dict[str, Any] = {"preload": PRELOAD}
            if environment != APP:
                folder = self._settings.data_folder / "environments"
                python = yield from chain.thread(
                    lambda progress: environments.ensure(environment, folder, progress),
                    stage="Once for this server",
                    share=share,
                )
                job_options = {"python": python}
            else:
                yield Progress("Loading PyTorch and ONNX", share)
            workers, waiting = self._settings.jobs, self._settings.queue_size
            with self._lock:
                if self._closed:
                    raise Cancelled()
                environment_jobs = self._jobs.setdefault(environment, Jobs(workers=workers, waiting=waiting, **job_options))
        return environment_jobs


def _inside(folder: Path, name: str | None) -> str | None:
    """Return the path of a child's file in ``folder``, or None if it is missing, a link, or outside ``folder``."""
    if not isinstance(name, str) or name in ("", "..") or "\0" in name or Path(name).name != name:
        return None
    path = folder / name
    return str(path) if path.exists() and not path.is_symlink() else None
