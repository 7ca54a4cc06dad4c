"""From files with outputs to the verdicts of a conversion: every hop, end to end, and three ways for ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lib.convert.core import arrays
from lib.convert.proof.comparison import Comparison, Faithfulness, ThreeWay, Verdict
from lib.convert.proof.measures import Pair
from lib.convert.proof.measures import kind as kind_of
from lib.convert.proof.quality import TaskQuality
from lib.convert.proof.ranking import aligned
from lib.convert.proof.tolerances import loosest
from lib.convert.proof.verdict import decide
from lib.convert.worker.lossy import LOSSY, faithful, quality
from lib.convert.worker.outputs import Outputs

UNSTEADY = "The source gives different outputs for the same inputs (it draws random numbers), so nothing can be compared."
MIN_SAMPLES_FOR_RANGES = 4  # samples that judge ranges
MIN_SAMPLES_TO_DECIDE = 30  # samples on which a decision may rest alone
MAX_COMPARED_BYTES = 96 << 20  # of samples' outputs whose values are compared one by one; all are judged by the task


def compare(
    asked: str,
    answers: list[dict[str, Any]],
    cases: list[dict[str, Any]],
    precisions: list[str],
    steady: bool,
    inputs: bool,
    ranked: Sequence[str] = (),
    blind_spots: Sequence[Sequence[str]] = (),
    constants: Sequence[str] = (),
    masks: Sequence[str] = (),
    lossy: dict[str, Any] | None = None,
    min_agreement: float = 0.95,
    calibrated_on: str = "",
) -> Comparison:
    """Every hop, end to end, the three ways for ONNX, and how well a lossy file does its task.

    ``asked`` is the folder with the source's outputs, ``answers`` one dict a hop: its ``folder`` of outputs,
    ``refused`` and ``reference``; ``blind_spots`` what each hop left unseen; ``ranked`` the outputs with one row a
    detection;
    ``constants`` those that depend on no input; ``masks`` inputs that switch positions off. ``lossy`` is about the last
    hop, where its precision rounds: ``format``, the folders ``source`` and ``target``, and ``inputs`` and ``outputs``,
    the route source's names -> its source's. ``calibrated_on``: for static ranges "samples", "made-up inputs" or the
    same samples that judge; "" for others.
    """
    source = Outputs(Path(asked), {}, asked_again=False)
    artifacts = [source, *(Outputs(Path(a["folder"]), a["refused"]) for a in answers)]
    precision = loosest(precisions)
    real = [c for c in cases if c["kind"] == "sample"]
    shown = [c for c in cases if c["kind"] != "sample"] + _within(real, source.folder)
    explained = faithful(artifacts[-2], artifacts[-1], source.folder, shown, precisions[-1], lossy) if lossy else None
    about = {"inputs": inputs, "ranked": ranked, "constants": constants}
    judged = None
    if precision in LOSSY and inputs:
        judged = quality(source, artifacts[-1], cases, precision, masks, min_agreement)
        explained = _decided(explained, judged)
    hops = []
    for k, own in enumerate(precisions):
        rounding = explained if k == len(precisions) - 1 else None
        hops.append(_compare(artifacts[k], artifacts[k + 1], source, shown, own, explained=rounding, **about))
        _lowered(hops[-1], blind_spots[k] if blind_spots else ())
    whole = _compare(source, artifacts[-1], source, shown, precision, explained=explained, **about)
    if precision in LOSSY and inputs:
        _good_enough(whole, judged, calibrated_on, explained)
    if not steady:
        whole.lower("unproven", UNSTEADY)
    elif whole.verdict == "proven" and (bad := [h for h in hops if h.verdict == "failed"]):
        # two errors that undo each other are no proof
        whole.lower("unproven", f"A step on the way failed: {bad[0].reason}")
    _lowered(whole, [one for some in blind_spots for one in some])
    three = _three_way(source, artifacts[-1], cases, answers[-1]["reference"], precision, ranked)
    if three and three.counts and whole.verdict == "proven":
        # a lossy file differs from its source by design; the two that run it must still agree
        found, who = (three.runtimes, "with it") if precision in LOSSY else (three.reference, "with the source")
        if found and found.verdict == "failed":
            why = f"onnxruntime agrees with the source, the reference evaluator does not agree {who}: {found.reason}"
            whole.lower("unproven", why)
    return Comparison(hops, whole, three, explained or Faithfulness(whole.verdict, whole.reason, "tolerance"), judged)


def _within(cases: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """As many as memory allows: they come in no order, so the first are as good as any."""
    size, out = 0, []
    for case in cases:
        size += (folder / f"out-{case['file']}").stat().st_size
        if out and size > MAX_COMPARED_BYTES:
            break
        out.append(case)
    return out


def _decided(explained: Faithfulness | None, judged: TaskQuality | None) -> Faithfulness | None:
    """Where a format itself errs as much as the output moves, enough real inputs on which the task stays decide."""
    if not explained or not explained.vacuous or not judged or not judged.good:
        return explained
    if judged.on != "samples" or judged.count < MIN_SAMPLES_TO_DECIDE or not judged.interval:
        return explained
    why = f"{explained.reason} So the task decides: {judged.summary}."
    return replace(explained, verdict="proven", reason=why)


def _good_enough(whole: Verdict, judged: TaskQuality | None, calibrated_on: str, explained: Faithfulness | None) -> None:
    """Faithful is not yet useful: a lossy file must also do its task."""
    if whole.verdict == "failed":
        return
    if judged is None:
        whole.lower("unproven", f"Nothing shows how well it does its task. {whole.reason}")
    elif not judged.good:
        real = judged.on == "samples"
        where = "on the samples" if real else "on made-up inputs, which may say little of real ones"
        whole.lower("failed" if real else "unproven", f"Not good enough {where}: {judged.reason}")
    elif calibrated_on not in ("", "samples") and whole.verdict == "proven":
        known = "so nothing is known of real ones" if calibrated_on == "made-up inputs" else "which also judge it"
        why = f"Its ranges were measured on {calibrated_on}, {known}; give samples of real inputs, eight or more."
        whole.lower("unproven", why)
    elif calibrated_on and judged.on == "samples" and judged.inputs < MIN_SAMPLES_FOR_RANGES and whole.verdict == "proven":
        why = f"Ranges that {judged.inputs} samples judge are not known to fit others; give eight samples or more."
        whole.lower("unproven", why)
    elif whole.verdict == "proven":
        made = "" if judged.on == "samples" else " Judged on made-up inputs only: samples of real ones would say more."
        reason = explained.reason if explained and explained.reason else whole.reason
        whole.reason = f"{judged.summary[0].upper()}{judged.summary[1:]}.{made} {reason}"


def _lowered(verdict: Verdict, blind_spots: Sequence[str]) -> None:
    """What agreed on all inputs is not proven where those inputs could not show everything."""
    if blind_spots and verdict.verdict == "proven":
        verdict.lower("unproven", f"{' '.join(dict.fromkeys(blind_spots))} Otherwise: {verdict.reason}")


def _compare(
    source: Outputs,
    target: Outputs,
    first: Outputs,
    cases: list[dict[str, Any]],
    precision: str,
    *,
    inputs: bool,
    ranked: Sequence[str],
    constants: Sequence[str],
    explained: Faithfulness | None,
) -> Verdict:
    """``first`` is the route's source, the only one that ran the perturbed cases."""
    pairs, repeated = [], False
    for case in cases:
        about = (case["sizes"], case["seed"], case["changed"])
        if case["kind"].startswith("perturbed"):
            if (moved := _perturbed(source, first, case, cases, ranked)) is not None:
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
    return decide(pairs, precision, inputs=inputs, constants=constants, explained=explained)


def _perturbed(
    one: Outputs, first: Outputs, case: dict[str, Any], cases: list[dict[str, Any]], ranked: Sequence[str]
) -> arrays.Arrays | None:
    """What ``one`` would make of perturbed inputs: it computes the same as ``first``, so it is moved as far."""
    kind = case["kind"].removeprefix("perturbed").strip() or "ordinary"
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
) -> ThreeWay | None:
    """Source, onnxruntime and reference evaluator on one case. None for formats without a reference."""
    first = next((c["file"] for c in cases if c["kind"] == "ordinary"), None)
    if reference is None or first is None:
        return None
    expected, ours = source.of(first), target.of(first)
    if reference or expected is None:
        return ThreeWay(None, reference, counts=False)
    third = aligned(expected, arrays.load(target.folder / "reference.npz"), ranked)
    own = target.folder / "reference-source.npz"
    counts = not own.is_file() or not differs(expected, aligned(expected, arrays.load(own), ranked))
    why = "" if counts else "it differs from onnxruntime on the source, too, so it says nothing about the conversion"
    runtimes = None if ours is None else _once(aligned(expected, ours, ranked), third, precision)
    return ThreeWay(_once(expected, third, precision), why, counts, runtimes)


def differs(one: arrays.Arrays, other: arrays.Arrays) -> bool:
    """Whether two runtimes give different answers to one set of inputs: more than float32's tolerance apart."""
    shared = {name: value for name, value in other.items() if name in one}
    if len(shared) < len(one):
        return True
    return _once(one, shared, "fp32").verdict != "proven"


def _once(expected: arrays.Arrays, other: arrays.Arrays, precision: str) -> Verdict:
    """Of one set of inputs, so movement cannot be asked for; what was found needs no sentence."""
    found = decide([Pair("ordinary", expected, other)], precision, inputs=False)
    if found.verdict == "proven":
        found.reason = ""
    return found
