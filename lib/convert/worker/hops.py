"""Verdicts of a conversion, from stored outputs: for every hop, end to end and, for ONNX, in a second runtime."""

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
from lib.convert.worker.lossy import LOSSY, emulation_verdict, quality
from lib.convert.worker.outputs import Outputs

UNSTEADY = "The source gives different outputs for the same inputs (it draws random numbers), so nothing can be compared."
MIN_SAMPLES_FOR_RANGES = 4  # fewer samples cannot validate calibrated ranges
MIN_SAMPLES_TO_DECIDE = 30  # needed to decide by task quality alone
MAX_COMPARED_BYTES = 96 << 20  # of sample outputs compared element by element; the task quality uses all samples


def compare(
    source_runs: str,
    answers: list[dict[str, Any]],
    cases: list[dict[str, Any]],
    precisions: list[str],
    deterministic: bool,
    inputs: bool,
    ranked: Sequence[str] = (),
    blind_spots: Sequence[Sequence[str]] = (),
    constants: Sequence[str] = (),
    masks: Sequence[str] = (),
    lossy: dict[str, Any] | None = None,
    min_agreement: float = 0.95,
    calibrated_on: str = "",
) -> Comparison:
    """Compares each hop and the whole route, a second runtime for ONNX, and a lossy file's quality on its task.

    - ``source_runs``: the folder with the source's inputs and outputs
    - ``answers``: one dict per hop: its ``folder`` of outputs, ``refused`` and ``reference``
    - ``cases``: the inputs that the source accepted, as dicts
    - ``precisions``: one per hop; the loosest applies end to end
    - ``deterministic``: whether the source repeats its outputs; ``inputs``: whether the model has any
    - ``ranked``: outputs with one row per detection; ``constants``: outputs that depend on no input
    - ``blind_spots``: per hop, sentences on what its inputs did not test
    - ``masks``: inputs that switch positions off
    - ``lossy``: the last hop, if its precision is lossy: ``format``, the folders ``source`` and ``target``, ``dtypes`` of
      the source's inputs, and ``inputs`` and ``outputs``: names of the route's source -> names of the hop's source
    - ``min_agreement``: share of top classes that a lossy file must keep
    - ``calibrated_on``: for static ranges "samples", "made-up inputs" or "the same … samples"; else ""
    """
    source = Outputs(Path(source_runs), {}, ran_twice=False)
    artifacts = [source, *(Outputs(Path(a["folder"]), a["refused"]) for a in answers)]
    precision = loosest(precisions)
    real = [c for c in cases if c["kind"] == "sample"]
    shown = [c for c in cases if c["kind"] != "sample"] + _within_memory(real, source.folder)
    explained = (
        emulation_verdict(artifacts[-2], artifacts[-1], source.folder, shown, precisions[-1], lossy) if lossy else None
    )
    common = {"inputs": inputs, "ranked": ranked, "constants": constants}
    task_quality = None
    if precision in LOSSY and inputs:
        task_quality = quality(source, artifacts[-1], cases, precision, masks, min_agreement)
        explained = _decided_by_task(explained, task_quality)
    hops = []
    for k, hop_precision in enumerate(precisions):
        rounding = explained if k == len(precisions) - 1 else None
        hops.append(_compare(artifacts[k], artifacts[k + 1], source, shown, hop_precision, explained=rounding, **common))
        _lower_for_blind_spots(hops[-1], blind_spots[k] if blind_spots else ())
    end_to_end = _compare(source, artifacts[-1], source, shown, precision, explained=explained, **common)
    if precision in LOSSY and inputs:
        _lower_for_quality(end_to_end, task_quality, calibrated_on, explained)
    if not deterministic:
        end_to_end.lower("unproven", UNSTEADY)
    elif end_to_end.verdict == "proven" and (bad := [h for h in hops if h.verdict == "failed"]):
        # two errors may cancel out
        end_to_end.lower("unproven", f"An intermediate step failed: {bad[0].reason}")
    _lower_for_blind_spots(end_to_end, [sentence for sentences in blind_spots for sentence in sentences])
    three = _three_way(source, artifacts[-1], cases, answers[-1]["reference"], precision, ranked)
    if three and three.counts and end_to_end.verdict == "proven":
        # a lossy file differs from its source by design, but two runtimes of the file must agree
        verdict, partner = (three.runtimes, "with it") if precision in LOSSY else (three.reference, "with the source")
        if verdict and verdict.verdict == "failed":
            reason = (
                f"onnxruntime agrees with the source, but the reference evaluator does not agree {partner}: {verdict.reason}"
            )
            end_to_end.lower("unproven", reason)
    return Comparison(
        hops, end_to_end, three, explained or Faithfulness(end_to_end.verdict, end_to_end.reason, "tolerance"), task_quality
    )


def _within_memory(cases: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """Returns as many cases as memory allows. They are shuffled already, so the first ones are a random sample."""
    size, out = 0, []
    for case in cases:
        size += (folder / f"out-{case['file']}").stat().st_size
        if out and size > MAX_COMPARED_BYTES:
            break
        out.append(case)
    return out


def _decided_by_task(explained: Faithfulness | None, task_quality: TaskQuality | None) -> Faithfulness | None:
    """If any file would pass the emulation (``vacuous``), lets a good task quality on enough samples decide."""
    if not explained or not explained.vacuous or not task_quality or not task_quality.good:
        return explained
    if task_quality.on != "samples" or task_quality.count < MIN_SAMPLES_TO_DECIDE or not task_quality.interval:
        return explained
    reason = f"{explained.reason} So task quality decides: {task_quality.summary}."
    return replace(explained, verdict="proven", reason=reason)


def _lower_for_quality(
    end_to_end: Verdict, task_quality: TaskQuality | None, calibrated_on: str, explained: Faithfulness | None
) -> None:
    """Lowers the verdict of a lossy file that is faithful but not good enough at its task, or not known to be."""
    if end_to_end.verdict == "failed":
        return
    if task_quality is None:
        end_to_end.lower("unproven", f"There is no evidence of its task quality. {end_to_end.reason}")
    elif not task_quality.good:
        real = task_quality.on == "samples"
        where = "on the samples" if real else "on made-up inputs, which may say little about real ones"
        end_to_end.lower("failed" if real else "unproven", f"Not good enough {where}: {task_quality.reason}")
    elif calibrated_on not in ("", "samples") and end_to_end.verdict == "proven":
        consequence = "so nothing is known about real ones" if calibrated_on == "made-up inputs" else "which also judge it"
        message = f"Its ranges were measured on {calibrated_on}, {consequence}; give samples of real inputs, eight or more."
        end_to_end.lower("unproven", message)
    elif (
        calibrated_on
        and task_quality.on == "samples"
        and task_quality.inputs < MIN_SAMPLES_FOR_RANGES
        and end_to_end.verdict == "proven"
    ):
        message = f"Ranges tested on {task_quality.inputs} samples may not fit others; give eight samples or more."
        end_to_end.lower("unproven", message)
    elif end_to_end.verdict == "proven":
        caveat = (
            "" if task_quality.on == "samples" else " Judged on made-up inputs only: samples of real inputs would say more."
        )
        reason = explained.reason if explained and explained.reason else end_to_end.reason
        end_to_end.reason = f"{task_quality.summary[0].upper()}{task_quality.summary[1:]}.{caveat} {reason}"


def _lower_for_blind_spots(verdict: Verdict, blind_spots: Sequence[str]) -> None:
    """Lowers "proven" to "unproven" if the inputs left parts of the model untested."""
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
    """Compares one artifact with another. ``first`` is the route's source, which alone ran the perturbed cases."""
    pairs, repeated = [], False
    for case in cases:
        details = (case["sizes"], case["seed"], case["changed"])
        if case["kind"].startswith("perturbed"):
            if (moved := _perturbed(source, first, case, cases, ranked)) is not None:
                pairs.append(Pair(case["kind"], moved, None, "", *details))
            continue
        expected = source.of(case["file"])
        if expected is None:  # the hop's source refused the case, so an earlier hop has failed
            continue
        refusal = target.refused.get(case["file"], "it gave no answer")
        ours = target.of(case["file"])
        pairs.append(Pair(case["kind"], expected, ours and aligned(expected, ours, ranked), refusal, *details))
        if case["kind"] == "ordinary" and not repeated:
            repeated, second_file = True, f"again-{case['file']}"
            if target.ran_twice:
                ours = target.of(second_file)
                ours = ours and aligned(expected, ours, ranked)
                pairs.append(Pair("repeated", expected, ours, target.refused.get(second_file, refusal), *details))
    return decide(pairs, precision, inputs=inputs, constants=constants, explained=explained)


def _perturbed(
    one: Outputs, first: Outputs, case: dict[str, Any], cases: list[dict[str, Any]], ranked: Sequence[str]
) -> arrays.Arrays | None:
    """Estimates ``one``'s outputs on perturbed inputs: its own outputs plus the change that these cause in ``first``."""
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
    """Compares source, onnxruntime and reference evaluator on one case; None for formats without a reference."""
    file = next((c["file"] for c in cases if c["kind"] == "ordinary"), None)
    if reference is None or file is None:
        return None
    expected, ours = source.of(file), target.of(file)
    if reference or expected is None:
        return ThreeWay(None, reference, counts=False)
    third = aligned(expected, arrays.load(target.folder / "reference.npz"), ranked)
    reference_of_source = target.folder / "reference-source.npz"
    counts = not reference_of_source.is_file() or not differs(
        expected, aligned(expected, arrays.load(reference_of_source), ranked)
    )
    why_not = "" if counts else "it differs from onnxruntime on the source, too, so it says nothing about the conversion"
    runtimes = None if ours is None else _decide_one_case(aligned(expected, ours, ranked), third, precision)
    return ThreeWay(_decide_one_case(expected, third, precision), why_not, counts, runtimes)


def differs(one: arrays.Arrays, other: arrays.Arrays) -> bool:
    """Whether two runtimes differ on the same inputs by more than the fp32 tolerance."""
    shared = {name: value for name, value in other.items() if name in one}
    if len(shared) < len(one):
        return True
    return _decide_one_case(one, shared, "fp32").verdict != "proven"


def _decide_one_case(expected: arrays.Arrays, other: arrays.Arrays, precision: str) -> Verdict:
    """Returns the verdict on a single case, without requiring outputs to move. The reason is "" if it is "proven"."""
    verdict = decide([Pair("ordinary", expected, other)], precision, inputs=False)
    if verdict.verdict == "proven":
        verdict.reason = ""
    return verdict
