"""From files with outputs to the verdicts of a conversion: every hop, end to end, and three ways for ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lib.convert import arrays, proof
from lib.convert.measures import Pair
from lib.convert.measures import kind as kind_of
from lib.convert.ranking import aligned
from lib.convert.routes import loosest

UNSTEADY = "The source gives different outputs for the same inputs (it draws random numbers), so nothing can be compared."


def judge(
    asked: str,
    answers: list[dict[str, Any]],
    cases: list[dict[str, Any]],
    precisions: list[str],
    steady: bool,
    inputs: bool,
    ranked: Sequence[str] = (),
    doubts: Sequence[Sequence[str]] = (),
) -> dict[str, Any]:
    """``hops``, ``whole`` and ``three_way``, each a dict of ``proof.judge``.

    ``asked`` is the folder with the source's outputs, ``answers`` one dict a hop: its ``folder`` of outputs,
    ``refused`` and ``reference``; ``doubts`` what each hop left unseen; ``ranked`` the outputs with one row a detection.
    """
    source = Outputs(Path(asked), {}, asked_again=False)
    artifacts = [source, *(Outputs(Path(a["folder"]), a["refused"]) for a in answers)]
    hops = [
        _compare(a, b, source, cases, precision, inputs, ranked)
        for a, b, precision in zip(artifacts, artifacts[1:], precisions, strict=False)
    ]
    for hop, doubt in zip(hops, doubts or [()] * len(hops), strict=True):
        _doubted(hop, doubt)
    whole = _compare(source, artifacts[-1], source, cases, loosest(precisions), inputs, ranked)
    if not steady:
        whole |= {"verdict": "unproven", "reason": UNSTEADY}
    elif whole["verdict"] == "proven" and (bad := [h for h in hops if h["verdict"] == "failed"]):
        # two errors that undo each other are no proof
        whole |= {"verdict": "unproven", "reason": f"A step on the way failed: {bad[0]['reason']}"}
    _doubted(whole, [one for some in doubts for one in some])
    three = _three_way(source, artifacts[-1], cases, answers[-1]["reference"], loosest(precisions), ranked)
    if three and three["reference"] and three["reference"]["verdict"] == "failed" and whole["verdict"] == "proven":
        why = three["reference"]["reason"]
        whole |= {
            "verdict": "unproven",
            "reason": f"onnxruntime agrees with the source, the reference evaluator does not: {why}",
        }
    return {"hops": hops, "whole": whole, "three_way": three}


def _doubted(verdict: dict[str, Any], doubts: Sequence[str]) -> None:
    """What agreed on all inputs is not proven where those inputs could not show everything."""
    if doubts and verdict["verdict"] == "proven":
        said = " ".join(dict.fromkeys(doubts))
        verdict |= {"verdict": "unproven", "reason": f"{said} Otherwise: {verdict['reason']}"}


class Outputs:
    """Of one artifact, by case."""

    def __init__(self, folder: Path, refused: dict[str, str], *, asked_again: bool = True) -> None:
        """``asked_again``: it ran the first case twice. The source did so where its answers were made."""
        self.folder, self.refused, self.asked_again = folder, refused, asked_again

    def of(self, file: str) -> arrays.Arrays | None:
        path = self.folder / f"out-{file}"
        return arrays.load(path) if file not in self.refused and path.is_file() else None


def _compare(
    source: Outputs,
    target: Outputs,
    first: Outputs,
    cases: list[dict[str, Any]],
    precision: str,
    inputs: bool,
    ranked: Sequence[str],
) -> dict[str, Any]:
    """``first`` is the route's source, the only one that ran the nudged cases."""
    pairs, repeated = [], False
    for case in cases:
        about = (case["sizes"], case["seed"], case["changed"])
        if case["kind"].startswith("nudged"):
            if (moved := _nudged(source, first, case, cases, ranked)) is not None:
                pairs.append(Pair(case["kind"], moved, None, "", *about))
            continue
        expected = source.of(case["file"])
        if expected is None:  # refused there: a hop before has failed
            continue
        why = target.refused.get(case["file"], "it gave no answer")
        ours = target.of(case["file"])
        pairs.append(Pair(case["kind"], expected, ours and aligned(expected, ours, ranked), why, *about))
        if case["kind"] == "ordinary" and not repeated:
            repeated, again = True, f"again-{case['file']}"
            if target.asked_again:
                ours = target.of(again)
                ours = ours and aligned(expected, ours, ranked)
                pairs.append(Pair("repeated", expected, ours, target.refused.get(again, why), *about))
    return proof.judge(pairs, precision, inputs=inputs)


def _nudged(
    one: Outputs, first: Outputs, case: dict[str, Any], cases: list[dict[str, Any]], ranked: Sequence[str]
) -> arrays.Arrays | None:
    """What ``one`` would make of nudged inputs: it computes the same as ``first``, so it is moved as far."""
    kind = case["kind"].removeprefix("nudged").strip() or "ordinary"
    plain = next((c["file"] for c in cases if (c["kind"], c["seed"]) == (kind, case["seed"])), "")
    ours, before, after = one.of(plain), first.of(plain), first.of(case["file"])
    if ours is None or before is None or after is None:
        return None
    after = aligned(before, after, ranked)
    if one is first:
        return after
    alike = {n for n in ours if n in before and n in after and ours[n].shape == before[n].shape == after[n].shape}
    return {n: ours[n] + (after[n] - before[n]) if n in alike and kind_of(ours[n]) == "f" else ours[n] for n in ours}


def _three_way(
    source: Outputs,
    target: Outputs,
    cases: list[dict[str, Any]],
    reference: str | None,
    precision: str,
    ranked: Sequence[str],
) -> dict[str, Any] | None:
    """Source, onnxruntime and reference evaluator on one case. None for formats without a reference."""
    first = next((c["file"] for c in cases if c["kind"] == "ordinary"), None)
    if reference is None or first is None:
        return None
    expected, ours = source.of(first), target.of(first)
    if reference or expected is None:
        return {"reference": None, "why_not": reference}
    third = aligned(expected, arrays.load(target.folder / "reference.npz"), ranked)
    out = {"reference": _once(expected, third, precision), "why_not": ""}
    if ours is not None:
        ours = aligned(expected, ours, ranked)
        out["runtimes"] = _once(ours, third, precision)
    return out


def _once(expected: arrays.Arrays, other: arrays.Arrays, precision: str) -> dict[str, Any]:
    """Of one set of inputs, so movement cannot be asked for; what was found needs no sentence."""
    found = proof.judge([Pair("ordinary", expected, other)], precision, inputs=False)
    return found | ({"reason": ""} if found["verdict"] == "proven" else {})
