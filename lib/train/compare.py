"""Compares two runs: differences in recipe, environment and data, and whether the results differ. Reads records only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lib.statistics import mcnemar
from lib.train.evaluation import PartResult
from lib.train.run_record import Difference
from lib.train.runs import Run

SURE = 0.05  # significance level of McNemar's test


@dataclass(frozen=True, slots=True, kw_only=True)
class PartComparison:
    """Two runs on one split. ``same_pictures`` is the number of images that both were evaluated on.

    Of these, ``only_first`` and ``only_second`` are correct in one run only; ``p`` is the p-value of McNemar's test, None
    if the runs share no image.
    """

    first: PartResult
    second: PartResult
    same_pictures: int
    only_first: int
    only_second: int
    p: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """``names`` of the two runs, made distinct if equal. ``recipe``, ``environment`` and ``data`` list the differences.

    ``results`` by split, "test" first. ``verdict`` is a sentence.
    """

    names: tuple[str, str]
    recipe: list[Difference]
    environment: list[Difference]
    data: list[Difference]
    results: dict[str, PartComparison]
    verdict: str


def differences(first: Any, second: Any, name: str = "") -> list[Difference]:
    """Returns the values that differ between two JSON objects, recursively. A missing object counts as empty.

    ``name`` is the path of both objects, used as a prefix.
    """
    if (first or second) and isinstance(first or {}, dict) and isinstance(second or {}, dict):
        left, right = first or {}, second or {}
        keys = [*left, *(key for key in right if key not in left)]
        return [d for k in keys for d in differences(left.get(k), right.get(k), f"{name}.{k}" if name else str(k))]
    return [] if first == second else [Difference(what=name, first=first, second=second)]


def compare(first: Run, second: Run) -> Comparison:
    """Compare two runs. Raises NotFound if a record is gone."""
    first_record, second_record = first.read(), second.read()
    records = first.record(), second.record()
    names = (records[0].name, records[1].name)
    if names[0] == names[1]:
        names = (f"{names[0]} ({_start_time(first)})", f"{names[1]} ({_start_time(second)})")
    correct = [_right(run) for run in (first, second)]
    parts = [record.result.parts if record.result else {} for record in records]
    results = {}
    for name in (n for n in ("test", "validation") if n in parts[0] and n in parts[1]):
        first_right, second_right = (by_part.get(name, {}) for by_part in correct)
        shared = first_right.keys() & second_right.keys()
        only_first = sum(first_right[k] and not second_right[k] for k in shared)
        only_second = sum(second_right[k] and not first_right[k] for k in shared)
        results[name] = PartComparison(
            first=parts[0][name],
            second=parts[1][name],
            same_pictures=len(shared),
            only_first=only_first,
            only_second=only_second,
            p=mcnemar(only_first, only_second) if shared else None,
        )
    return Comparison(
        names=names,
        recipe=differences(first_record.get("recipe"), second_record.get("recipe")),
        environment=differences(first_record.get("environment"), second_record.get("environment")),
        # every upload has its own id
        data=[d for d in differences(first_record.get("data"), second_record.get("data")) if d.what != "id"],
        results=results,
        verdict=_verdict(names, results),
    )


def _start_time(run: Run) -> str:
    """Returns the start time from the run's id, as HH:MM:SS."""
    clock = run.id.split("-")[1]
    return ":".join((clock[:2], clock[2:4], clock[4:]))


def _right(run: Run) -> dict[str, dict[str, bool]]:
    """Returns, by split and image hash, whether the prediction is correct."""
    if (evaluation := run.evaluation()) is None:
        return {}
    parts = evaluation.parts.items()
    return {name: {picture.sha256: picture.label == picture.predicted for picture in part.pictures} for name, part in parts}


def _verdict(names: tuple[str, str], results: dict[str, PartComparison]) -> str:
    if not results:
        return "The two runs have no result in common yet."
    part, row = next(iter(results.items()))
    figures = [f"{result.accuracy:.1%} of {result.count} {part} pictures" for result in (row.first, row.second)]
    summary = f"{names[0]}: {figures[0]}; {names[1]}: {figures[1]}. "
    if row.p is None:
        return summary + "They were evaluated on different pictures, so only the intervals can be compared."
    if row.only_first + row.only_second == 0:
        return summary + f"Both classify the same ones of the {row.same_pictures} pictures correctly."
    if row.p >= SURE:
        return summary + f"No significant difference: McNemar's p = {row.p:.2g}."
    better = names[0 if row.only_first > row.only_second else 1]
    return summary + f"{better} is better: McNemar's p = {row.p:.2g} over {row.same_pictures} pictures."
