"""Assemble the report of a conversion, the response of ``/convert``."""

from __future__ import annotations

import re
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lib.convert import environments
from lib.convert.edges import Edge
from lib.convert.formats import APP, find
from lib.convert.service.child_schema import Admit, RunSource
from lib.convert.service.options import Chosen
from lib.convert.service.pipeline import Hop, Proof

ALWAYS = ("torch", "onnx", "onnxruntime")  # packages that every proof uses


def report(admitted: Admit, hops: list[Hop], proof: Proof, chosen: Chosen) -> dict[str, Any]:
    """Return the report as JSON. The keys are documented in ``docs/convert.md``."""
    source, target, compared, last = proof.source, proof.target, proof.compared, hops[-1].answer
    times = target.median_ms or {}
    before, after = times.get("source", source.median_ms), times.get("target")
    rows = []
    for hop, verdict in zip(hops, compared.hops, strict=True):
        edge = hop.edge
        row = {"source": edge.source, "target": edge.target, "tool": hop.answer.tool or edge.tool}
        row |= {"environment": edge.environment}
        rows.append(row | asdict(verdict) | {"seconds": hop.seconds, "messages": hop.answer.messages})
    result = asdict(compared.whole) | {
        "faithful": asdict(compared.faithful),
        "quality": compared.quality and asdict(compared.quality),
        "route": rows,
        "seeds": list(chosen.seeds),
        "options": chosen.given,
        "min_agreement": chosen.min_agreement,
        "weights": admitted.weights,
        "sizes": source.sizes,
        "sizes_note": source.sizes_note,
        "samples": source.samples and source.samples.model_dump(),
        "lost": [item for hop in hops for item in hop.answer.lost],
        "layers": [item for hop in hops for item in hop.answer.layers],
        "chosen": {name: value for hop in hops for name, value in hop.answer.chosen.items()},
        "source": _side(admitted.format, admitted.bytes, before, source.signature),
        "target": _side(hops[-1].edge.target, last.bytes, after, target.signature) | {"files": last.files},
        # medians measured on a busy machine say little about the models
        "latency_ratio": after / before if before and after and target.steady_ms else None,
        "latency_steady": target.steady_ms,
        "size_ratio": last.bytes / admitted.bytes if admitted.bytes and find(admitted.format).holds_weights else None,
        "same_process": proof.same_process,
        "three_way": compared.three_way and asdict(compared.three_way),
        "diverges": proof.diverges,
        "messages": _messages(admitted, hops, source) + [n for n in target.notes if n not in admitted.messages],
        "versions": _versions([hop.edge for hop in hops]),
    }
    return result | {"summary": summary(result)}


def summary(report: dict[str, Any]) -> str:
    """Return one line: ``half the size, 1.6 times slower on this CPU; same top class on 78 of 80 samples``."""
    busy_note = ["speed unknown, as the machine was busy"] if report["latency_steady"] is False else []
    parts = [*_size(report["size_ratio"]), *_speed(report["latency_ratio"]), *busy_note]
    quality = report["quality"]
    sentences = [", ".join(parts)] if parts else []
    if quality is not None:
        sentences.append(quality["summary"])
    elif report.get("range_error") is not None:
        count = report["cases"]
        sentences.append(f"same outputs within {report['range_error']:.1g} of their range on {count} sets of inputs")
    return "; ".join(sentences)


def _size(ratio: float | None) -> list[str]:
    if not ratio:
        return []
    for share, text in ((0.25, "a quarter of the size"), (0.5, "half the size"), (1.0, "the same size")):
        if abs(ratio - share) <= 0.06 * share:
            return [text]
    return [f"{ratio:.2g} times the size" if ratio < 10 else f"{ratio:,.0f} times the size"]


def _speed(ratio: float | None) -> list[str]:
    if not ratio:
        return []
    if 0.9 < ratio < 1.1:
        return ["as fast on this CPU"]
    return [f"{1 / ratio:.2g} times faster on this CPU" if ratio < 1 else f"{ratio:.2g} times slower on this CPU"]


def _messages(admitted: Admit, hops: list[Hop], source: RunSource) -> list[str]:
    messages = [*admitted.messages, *(m for hop in hops for m in (*hop.answer.lost, *hop.answer.messages)), *source.refused]
    if source.samples:
        messages += source.samples.messages
    if source.sizes_note:
        messages.append(source.sizes_note)
    fixed = {name: size for hop in hops for name, size in hop.answer.fixed.items()}
    if fixed:
        sizes = ", ".join(f"{name} = {size}" for name, size in fixed.items())
        messages.append(f"Dynamic dimensions are now fixed, and only these sizes were checked: {sizes}.")
    return list(dict.fromkeys(messages))


def _side(format: str, size: int, median_ms: float | None, signature: dict[str, Any]) -> dict[str, Any]:
    description = {"format": format, "title": find(format).title, "bytes": size, "median_ms": median_ms}
    return description | {"inputs": signature["inputs"], "outputs": signature["outputs"]}


def _versions(route: list[Edge]) -> dict[str, str]:
    """Return the versions of the route's tools: packages of the app, or pins of the tool's own environment."""
    versions: dict[str, str] = {}
    for edge in route:
        if edge.environment != APP:
            pins = dict(pin.split("==") for pin in environments.find(edge.environment).pins)
            tools = set(re.findall(r"[\w-]+", edge.tool.lower()))
            versions |= {name: pins[name] for name in pins if name.lower().removesuffix("-cpu") in tools}
    needs = (name.replace("_", "-") for edge in route for name in edge.needs)
    for name in dict.fromkeys((*ALWAYS, *needs)):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
