"""Run one conversion: the edges of its route, then the proof of all hops. Each step is a job; no file is opened here."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from lib.convert.edges import Edge
from lib.convert.formats import APP, find
from lib.convert.proof.comparison import Comparison
from lib.convert.proof.pairing import pair
from lib.convert.proof.ranking import ROWS
from lib.convert.service.child_schema import Case, RunEdge, RunFurther, RunSource, RunTarget, checked
from lib.convert.service.options import Chosen
from lib.convert.worker.lossy import LOSSY
from lib.errors import InvalidFile, JobFailed, QueueFull
from lib.jobs import Progress

Answer = dict[str, Any]
Steps = Generator[Progress, None, Answer]
# (environment, task, arguments, stage, share) -> the job's answer
Job = Callable[[str, str, dict[str, Any], str, float], Steps]
SOURCE_DONE, EDGES_DONE, TARGETS_DONE = (0.15, 0.75, 0.93)  # progress after the source, the edges and the targets have run
DYNAMIC = "dynamic"  # ranges are computed at run time
MIN_CASES = 2  # ordinary cases that must remain if a target fixes a size


@dataclass(frozen=True, slots=True)
class Hop:
    """An edge that has run. ``seconds``: wall time, including waiting."""

    edge: Edge
    answer: RunEdge
    seconds: float

    @property
    def precision(self) -> str:
        return self.answer.precision or self.edge.precision


@dataclass(frozen=True, slots=True)
class Proof:
    """Result of the proof. ``source`` and ``target``: answers of the route's first and last artifact.

    ``diverges``: the first ONNX node that differs, from ``first_difference.first``; None if there was no search or none
    was found. ``same_process``: whether both were timed in the same process.
    """

    compared: Comparison
    source: RunSource
    target: RunTarget
    diverges: Answer | None
    same_process: bool


@dataclass(slots=True)
class Conversion:
    """One conversion. ``scratch``: has the source's artifact in its folder ``0``; hop k writes to folder ``k + 1``."""

    job: Job
    scratch: Path
    route: tuple[Edge, ...]
    chosen: Chosen

    def folder(self, name: int | str) -> str:
        path = self.scratch / str(name)
        path.mkdir(exist_ok=True)
        return str(path)

    @property
    def calibrated(self) -> bool:
        """Whether a hop calibrates ranges on samples. These samples must not be used for the proof."""
        return any(edge.precision == "int8" for edge in self.route)

    def run_source(self, sizes: dict[str, int] | None = None) -> Generator[Progress, None, RunSource]:
        """Run the source before any tool has touched it. ``sizes``: for a second run at sizes that a hop fixed."""
        first, last = self.route[0].source, self.route[-1].target
        samples = None
        if self.chosen.samples is not None:
            path = Path(self.chosen.samples)
            samples = {"path": str(path), "name": path.name, "folder": self.folder("samples-0")}
            samples["preprocessing"] = self.chosen.preprocessing
        arguments = {
            "format": first,
            "folder": self.folder(0),
            "out": self.folder("source-runs"),
            "seeds": list(self.chosen.seeds),
            "sizes": self.chosen.sizes if sizes is None else sizes,
            "samples": samples,
            "calibrated": self.calibrated,
            "timed": find(first).environment != find(last).environment,
            "one_signature": self.chosen.of_edge[0].get("signature"),
        }
        return checked(RunSource, (yield from self.job(find(first).environment, "run_source", arguments, "Proof", 0.1)))

    def run_edges(self, source: RunSource) -> Generator[Progress, None, list[Hop]]:
        """Run all edges. Raises InvalidFile if one changes nothing."""
        hops: list[Hop] = []
        has_samples = source.samples is not None
        for k, (edge, options) in enumerate(zip(self.route, self.chosen.of_edge, strict=True)):
            folders = {"source": self.folder(k), "target": self.folder(k + 1)}
            stage = f"Step {k + 1} of {len(self.route)}, {find(edge.source).title} → {find(edge.target).title}"
            start_time, share = time.perf_counter(), SOURCE_DONE + (EDGES_DONE - SOURCE_DONE) * k / len(self.route)
            context = {
                "sizes": source.sizes,
                "case_sizes": _largest(source.cases),
                "samples": self.folder(f"samples-{k}") if has_samples else None,
                "min_agreement": self.chosen.min_agreement,
            }
            arguments = folders | {"run": edge.run, "options": context | options}
            answer = checked(RunEdge, (yield from self.job(edge.environment, "run_edge", arguments, stage, share)))
            if answer.unchanged:
                raise InvalidFile(answer.unchanged)
            hops.append(Hop(edge, answer, time.perf_counter() - start_time))
            if has_samples and edge is not self.route[-1]:
                names = {"before": self.folder(f"samples-{k}"), "after": self.folder(f"samples-{k + 1}")}
                arguments = names | {"format": edge.target, "folder": self.folder(k + 1), "names": answer.inputs}
                yield from self.job(find(edge.target).environment, "rename_samples", arguments, stage, share)
        return hops

    def prove(self, hops: list[Hop], source: RunSource) -> Generator[Progress, None, Proof]:
        """Run all artifacts on the source's cases and compare the outputs."""
        first, last = self.route[0].source, self.route[-1].target
        source = yield from self._source_at_fixed_sizes(hops, source)
        source = yield from self._source_over_limits(hops, source)
        answers = yield from self._answers(hops, source)
        signature = source.signature
        arguments = {
            "source_runs": self.folder("source-runs"),
            "answers": [
                {"folder": self.folder(f"answers-{k}"), "refused": a.refused, "reference": a.reference}
                for k, a in enumerate(answers)
            ],
            "cases": _as_json(source.cases),
            "precisions": [hop.precision for hop in hops],
            "deterministic": source.steady,
            "blind_spots": [[*source.blind_spots, *hop.answer.blind_spots, *hop.answer.lost] for hop in hops],
            "inputs": bool(signature["inputs"]),
            "ranked": [v["name"] for v in signature["outputs"] if list(v["shape"][:1]) == [ROWS]],
            "constants": source.constants,
            "masks": [v["name"] for v in signature["inputs"] if v["role"] == "mask"],
            "lossy": self._lossy(hops, source, answers),
            "min_agreement": self.chosen.min_agreement,
            "calibrated_on": self._calibrated_on(hops, source),
        }
        compared = checked(Comparison, (yield from self.job(APP, "compare", arguments, "Proof", TARGETS_DONE)))
        node = yield from self._first_divergence(compared, source, hops)
        same_process = find(first).environment == find(last).environment
        return Proof(compared, source, answers[-1], node, same_process)

    def _source_at_fixed_sizes(self, hops: list[Hop], source: RunSource) -> Generator[Progress, None, RunSource]:
        """Keep the cases with the sizes that a hop fixed. If too few remain, run the source again at those sizes."""
        fixed = {name: size for hop in hops for name, size in hop.answer.fixed.items()}
        if not fixed:
            return source

        def fits(case: Case) -> bool:
            return all(case.sizes.get(name, size) == size for name, size in fixed.items())

        remaining = [case for case in source.cases if fits(case)]
        if sum(case.kind == "ordinary" for case in remaining) >= MIN_CASES:
            return source.model_copy(update={"cases": remaining})
        shapes = [v["shape"] for v in source.signature["inputs"]]
        second_run = yield from self.run_source(
            {n: size for n, size in fixed.items() if any(n in shape for shape in shapes)}
        )
        return second_run.model_copy(update={"cases": [case for case in second_run.cases if fits(case)]})

    def _source_over_limits(self, hops: list[Hop], source: RunSource) -> Generator[Progress, None, RunSource]:
        """Add a case for each size that a hop bounded, one larger than the bound."""
        fixed = {name for hop in hops for name in hop.answer.fixed}
        limits = {name: size for hop in hops for name, size in hop.answer.limits.items() if name not in fixed}
        if not limits:
            return source
        first = self.route[0].source
        arguments = {"format": first, "folder": self.folder(0), "out": self.folder("source-runs"), "sizes": source.sizes}
        arguments |= {"limits": limits}
        answer = yield from self.job(find(first).environment, "run_further", arguments, "Proof", EDGES_DONE)
        return source.model_copy(update={"cases": source.cases + checked(RunFurther, answer).cases})

    def _lossy(self, hops: list[Hop], source: RunSource, answers: list[RunTarget]) -> Answer | None:
        """Return the arguments with which ``hops.compare`` emulates the last hop. None if its precision is not lossy."""
        if hops[-1].precision not in LOSSY:
            return None
        before = answers[-2].signature if len(answers) > 1 else source.signature
        names: dict[str, dict[str, str]] = {"inputs": {}, "outputs": {}}
        for hop in hops[:-1]:
            names = hop_names(names, hop.answer)
        sides = {
            side: pair([v["name"] for v in source.signature[side]], [v["name"] for v in before[side]], names[side])
            for side in names
        }
        dtypes = {v["name"]: v["dtype"] for v in before["inputs"]}
        folders = {"source": self.folder(len(hops) - 1), "target": self.folder(len(hops))}
        return {"format": self.route[-1].target, "dtypes": dtypes} | sides | folders

    def _calibrated_on(self, hops: list[Hop], source: RunSource) -> str:
        if all(hop.answer.chosen.get("method", DYNAMIC) == DYNAMIC for hop in hops):
            return ""
        samples = source.samples
        if samples and samples.shared:
            return f"the same {samples.judged} samples"
        return "samples" if samples else "made-up inputs"

    def _answers(self, hops: list[Hop], source: RunSource) -> Generator[Progress, None, list[RunTarget]]:
        """Run all artifacts on the source's cases. The last one is timed together with the source if possible."""
        first = self.route[0].source
        answers: list[RunTarget] = []
        names: dict[str, dict[str, str]] = {"inputs": {}, "outputs": {}}
        for k, (edge, hop) in enumerate(zip(self.route, hops, strict=True)):
            names = hop_names(names, hop.answer)
            environment = find(edge.target).environment
            last = edge is self.route[-1]
            timed_together = last and environment == find(first).environment
            arguments = {
                "format": edge.target,
                "folder": self.folder(k + 1),
                "source_runs": self.folder("source-runs"),
                "out": self.folder(f"answers-{k}"),
                "cases": _as_json(source.cases),
                "source": source.signature,
                "names": names,
                "beside": {"format": first, "folder": self.folder(0)} if timed_together else None,
                "last": last,
            }
            share = EDGES_DONE + (TARGETS_DONE - EDGES_DONE) * k / len(self.route)
            answers.append(checked(RunTarget, (yield from self.job(environment, "run_target", arguments, "Proof", share))))
        return answers

    def _first_divergence(
        self, compared: Comparison, source: RunSource, hops: list[Hop]
    ) -> Generator[Progress, None, Answer | None]:
        """Find the first node that differs in a failed hop. None unless source and target of the hop are ONNX."""
        chain = [find(self.route[0].source).on_disk, *(find(e.target).on_disk for e in self.route)]
        for k, (before, after) in enumerate(pairwise(chain)):
            if compared.hops[k].verdict == "failed" and before == after == "onnx" and source.cases:
                file = self.scratch / "source-runs" / f"in-{source.cases[0].file}"
                arguments = {"source": self.folder(k), "target": self.folder(k + 1), "inputs": str(file)}
                arguments |= {"names": hops[k].answer.inputs | hops[k].answer.outputs, "precision": hops[k].precision}
                try:
                    return (yield from self.job(APP, "diverge", arguments, "Proof", TARGETS_DONE))["node"]
                except (JobFailed, QueueFull):  # out of time or memory: report the verdict without the node
                    return None
        return None


def _as_json(cases: list[Case]) -> list[Answer]:
    """Convert the cases to JSON for the child processes."""
    return [case.model_dump() for case in cases]


def _largest(cases: list[Case]) -> dict[str, int]:
    """Return the largest size of each dynamic dimension among the cases."""
    largest: dict[str, int] = {}
    for case in cases:
        for symbol, size in case.sizes.items():
            largest[symbol] = max(size, largest.get(symbol, 0))
    return largest


def hop_names(before: dict[str, dict[str, str]], hop: RunEdge) -> dict[str, dict[str, str]]:
    """Map names of the route's source to names in the hop's target, for inputs and outputs, after all hops so far."""
    return {side: renamed(names, getattr(hop, side)) for side, names in before.items()}


def renamed(before: dict[str, str], hop: dict[str, str]) -> dict[str, str]:
    """Compose the renamings so far with those of a hop: names of the route's source -> names in the hop's target."""
    return {a: hop.get(b, b) for a, b in before.items()} | {a: b for a, b in hop.items() if a not in before.values()}
