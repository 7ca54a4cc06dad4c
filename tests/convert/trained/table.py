"""The table of ``docs/coverage.md``: verdict beside truth, model by model. Makes no figures."""

from __future__ import annotations

from typing import Any

from tests.convert.trained.rows import CANNOT, Row

INTRODUCTION = """## Trained models

Made by `python -m tests.convert.trained.coverage --write`. Models out of PyPI packages and models trained for a minute, on
real inputs; the user gives samples. *Truth* is an independent check: another runtime than the proof's (OpenVINO, onnx's
reference evaluator, LiteRT's own kernels), the task's own measure, and inputs that neither training nor the samples had.
A file is right where its decisions are the source's on {fp32} (fp32), {fp16} (float16) or {int8} (int8) of them, or, in
int8, where its accuracy stays within chance of the source's. `tests/convert/trained/test_trained.py` holds these figures.
"""
SHOWN = 150  # characters of a reason


def table(rows: list[Row], about: dict[str, Any]) -> str:
    from tests.convert.trained.subject import FLOORS

    floors = {name: f"{100 * value:g} %" for name, value in FLOORS.items()}
    parts = [_missing(rows, about), *_counts(rows), "", *_models(about), "", *_rows(rows), ""]
    return "\n".join([INTRODUCTION.format(**floors), *parts])


def _missing(rows: list[Row], about: dict[str, Any]) -> str:
    """Nobody should take a part for the whole."""
    wanted = sum(len(subject.targets) for subject in about.values())
    return "" if len(rows) >= wanted else f"Not complete: {len(rows)} of {wanted} conversions of {len(about)} models.\n"


def _counts(rows: list[Row]) -> list[str]:
    made = [r for r in rows if r.verdict != CANNOT]
    right = [r for r in made if r.right]
    out = sum(r.verdict == "proven" for r in right)
    head = ["| | right | wrong |", "|---|---|---|"]
    for verdict in ("proven", "unproven", "failed"):
        some = [r for r in made if r.verdict == verdict]
        head.append(f"| {verdict} | {sum(bool(r.right) for r in some)} | {sum(not r.right for r in some)} |")
    said = f"{len(rows)} conversions: {len(made)} gave a file, {len(rows) - len(made)} cannot be converted. "
    said += f"Of {len(right)} right files {out} get out ({100 * out / max(len(right), 1):.0f} %)."
    return [*head, "", said]


def _models(about: dict[str, Any]) -> list[str]:
    out = ["| model | kind | real inputs | decisions |", "|---|---|---|---|"]
    for name, subject in about.items():
        count = len(next(iter(subject.held()[0].values())))
        out.append(f"| {name} | {subject.kind} | {subject.inputs} | {subject.measure.replace('_', ' ')}, {count} inputs |")
    return out


def _rows(rows: list[Row]) -> list[str]:
    out = ["| model | target | verdict | truth | agreement | said | seconds |", "|---|---|---|---|---|---|---|"]
    for r in rows:
        truth = "–" if r.verdict == CANNOT else "right" if r.right else "wrong"
        bold = "**" if r.wrongly_proven or r.wrongly_withheld else ""
        said = _plain(r.summary if r.verdict == "proven" else r.reason)
        cells = [r.model, r.target, f"{bold}{r.verdict}{bold}", f"{bold}{truth}{bold}", _plain(r.truth), said]
        out.append(f"| {' | '.join(cells)} | {r.seconds:.0f} |")
    return out


def _plain(text: str) -> str:
    short = " ".join(text.split()).replace("|", "/")
    return short if len(short) <= SHOWN else f"{short[: SHOWN - 1]}…"
