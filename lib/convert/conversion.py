"""One conversion: every edge of its route, then the proof of all hops. Each step is a job; nothing is opened here."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from lib.convert.answers import checked
from lib.convert.edges import Edge
from lib.convert.formats import APP, find
from lib.convert.ranking import ROWS
from lib.errors import JobFailed, QueueFull
from lib.jobs import Progress

Answer = dict[str, Any]
Steps = Generator[Progress, None, Answer]
# (environment, task, arguments, stage, share) -> the job's answer
Job = Callable[[str, str, dict[str, Any], str, float], Steps]
APPLIED, ASKED, ANSWERED = 0.7, 0.75, 0.93  # of the whole, done when the edges, the source and the targets have run


@dataclass(slots=True)
class Conversion:
    """``scratch`` has the source's artifact in its folder ``0``; hop k writes folder ``k + 1``."""

    job: Job
    scratch: Path
    route: tuple[Edge, ...]

    def folder(self, name: int | str) -> str:
        path = self.scratch / str(name)
        path.mkdir(exist_ok=True)
        return str(path)

    def hops(self, options: list[dict[str, Any]]) -> Generator[Progress, None, list[Answer]]:
        """Runs every edge; what each answered, with its ``seconds``."""
        out = []
        for k, (edge, given) in enumerate(zip(self.route, options, strict=True)):
            folders = {"source": self.folder(k), "target": self.folder(k + 1)}
            stage = f"Step {k + 1} of {len(self.route)}, {find(edge.source).title} → {find(edge.target).title}"
            begun, share = time.perf_counter(), 0.1 + (APPLIED - 0.1) * k / len(self.route)
            arguments = folders | {"run": edge.run, "options": given}
            said = checked("apply", (yield from self.job(edge.environment, "apply", arguments, stage, share)))
            out.append(said | {"seconds": time.perf_counter() - begun})
        return out

    def prove(self, hops: list[Answer], seeds: tuple[int, ...]) -> Steps:
        """``hops``, ``whole``, ``three_way``, ``diverges``; and what source and targets answered."""
        first, last = self.route[0].source, self.route[-1].target
        fixed = {name: size for hop in hops for name, size in hop["fixed"].items()}
        arguments = {"format": first, "folder": self.folder(0), "out": self.folder("asked")}
        same = find(first).environment == find(last).environment
        limits = {name: size for hop in hops for name, size in hop["limits"].items()}
        arguments |= {"seeds": list(seeds), "fixed": fixed, "limits": limits, "timed": not same}
        source = checked("ask", (yield from self.job(find(first).environment, "ask", arguments, "Proof", APPLIED)))
        answers = yield from self._answers(hops, source)
        arguments = {
            "asked": self.folder("asked"),
            "answers": [{n: a[n] for n in ("folder", "refused", "reference")} for a in answers],
            "cases": source["cases"],
            "precisions": [hop.get("precision", edge.precision) for edge, hop in zip(self.route, hops, strict=True)],
            "steady": source["steady"],
            "doubts": [[*source["doubts"], *hop["doubts"]] for hop in hops],
            "inputs": bool(source["signature"]["inputs"]),
            "ranked": [v["name"] for v in source["signature"]["outputs"] if list(v["shape"][:1]) == [ROWS]],
        }
        judged = yield from self.job(APP, "judge", arguments, "Proof", ANSWERED)
        node = yield from self._first_divergence(judged, source, hops)
        return judged | {"diverges": node, "source": source, "answers": answers, "same_process": same}

    def _answers(self, hops: list[Answer], source: Answer) -> Generator[Progress, None, list[Answer]]:
        """Every artifact's answers to what the source was asked. The last one is timed beside the source."""
        first, out = self.route[0].source, []
        names: dict[str, dict[str, str]] = {"inputs": {}, "outputs": {}}
        for k, (edge, hop) in enumerate(zip(self.route, hops, strict=True)):
            names = {side: renamed(names[side], hop[side]) for side in names}
            environment = find(edge.target).environment
            last = edge is self.route[-1]
            together = last and environment == find(first).environment
            arguments = {
                "format": edge.target,
                "folder": self.folder(k + 1),
                "asked": self.folder("asked"),
                "out": self.folder(f"answers-{k}"),
                "cases": source["cases"],
                "source": source["signature"],
                "names": names,
                "beside": {"format": first, "folder": self.folder(0)} if together else None,
                "last": last,
            }
            share = ASKED + (ANSWERED - ASKED) * k / len(self.route)
            said = checked("answer", (yield from self.job(environment, "answer", arguments, "Proof", share)))
            out.append(said | {"folder": arguments["out"]})
        return out

    def _first_divergence(
        self, judged: Answer, source: Answer, hops: list[Answer]
    ) -> Generator[Progress, None, Answer | None]:
        """Between the two ONNX models of the first hop that failed, if it was between such."""
        chain = [find(self.route[0].source).on_disk, *(find(e.target).on_disk for e in self.route)]
        for k, (before, after) in enumerate(pairwise(chain)):
            if judged["hops"][k]["verdict"] == "failed" and before == after == "onnx" and source["cases"]:
                file = self.scratch / "asked" / f"in-{source['cases'][0]['file']}"
                arguments = {"source": self.folder(k), "target": self.folder(k + 1), "inputs": str(file)}
                arguments |= {"names": hops[k]["inputs"] | hops[k]["outputs"], "precision": judged["hops"][k]["precision"]}
                try:
                    return (yield from self.job(APP, "diverge", arguments, "Proof", ANSWERED))["node"]
                except (JobFailed, QueueFull):  # out of time or memory: the verdict stands without the node
                    return None
        return None


def renamed(before: dict[str, str], hop: dict[str, str]) -> dict[str, str]:
    """Names of the route's source in the hop's target: through every renaming so far."""
    return {a: hop.get(b, b) for a, b in before.items()} | {a: b for a, b in hop.items() if a not in before.values()}
