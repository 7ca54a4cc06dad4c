"""Two runs side by side: what differs in their recipes and data, and whether their results do. Reads records only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lib.statistics import mcnemar
from lib.train.evaluation import PartResult
from lib.train.run_record import Difference
from lib.train.runs import Run

SURE = 0.05  # p below which a difference is called one


@dataclass(frozen=True, slots=True, kw_only=True)
class PartComparison:
    """Two runs on one part of the data. ``same_pictures`` is the number of pictures that both were evaluated on.

    Of these, ``only_first`` and ``only_second`` are right in one run and wrong in the other; ``p`` is McNemar's, None where
    no picture is shared.
    """

    first: PartResult
    second: PartResult
    same_pictures: int
    only_first: int
    only_second: int
    p: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """``names`` of the two runs, made different where they are equal. ``recipe``, ``environment`` and ``data`` have what
    differs. ``results`` by part, "test" first. ``verdict`` is a sentence."""

    names: tuple[str, str]
    recipe: list[Difference]
    environment: list[Difference]
    data: list[Difference]
    results: dict[str, PartComparison]
    verdict: str


def differences(first: Any, second: Any, name: str = "") -> list[Difference]:
    """The values of two JSON objects that are not equal. ``name`` is that of both objects; a missing one is an empty one."""
    if (first or second) and isinstance(first or {}, dict) and isinstance(second or {}, dict):
        one, two = first or {}, second or {}
        keys = [*one, *(key for key in two if key not in one)]
        return [d for k in keys for d in differences(one.get(k), two.get(k), f"{name}.{k}" if name else str(k))]
    return [] if first == second else [Difference(what=name, first=first, second=second)]


def compare(first: Run, second: Run) -> Comparison:
    one, two = first.read(), second.read()
    records = first.record(), second.record()
    names = (records[0].name, records[1].name)
    if names[0] == names[1]:
        names = (f"{names[0]} ({_start_time(first)})", f"{names[1]} ({_start_time(second)})")
    right = [_right(run) for run in (first, second)]
    parts = [record.result.parts if record.result else {} for record in records]
    results = {}
    for name in (n for n in ("test", "validation") if n in parts[0] and n in parts[1]):
        first_right, second_right = (of_run.get(name, {}) for of_run in right)
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
        recipe=differences(one.get("recipe"), two.get("recipe")),
        environment=differences(one.get("environment"), two.get("environment")),
        data=[d for d in differences(one.get("data"), two.get("data")) if d.what != "id"],  # of the upload
        results=results,
        verdict=_verdict(names, results),
    )


def _start_time(run: Run) -> str:
    """The time in a run's id, as HH:MM:SS."""
    clock = run.id.split("-")[1]
    return ":".join((clock[:2], clock[2:4], clock[4:]))


def _right(run: Run) -> dict[str, dict[str, bool]]:
    """By part and by the picture's hash: whether it was right."""
    if (evaluation := run.evaluation()) is None:
        return {}
    parts = evaluation.parts.items()
    return {name: {one.sha256: one.label == one.predicted for one in part.pictures} for name, part in parts}


def _verdict(names: tuple[str, str], results: dict[str, PartComparison]) -> str:
    if not results:
        return "There is no result on both sides yet."
    part, row = next(iter(results.items()))
    figures = [f"{one.accuracy:.1%} of {one.count} {part} pictures" for one in (row.first, row.second)]
    words = f"{names[0]}: {figures[0]}; {names[1]}: {figures[1]}. "
    if row.p is None:
        return words + "They were asked about different pictures, so only the intervals can be compared."
    if row.only_first + row.only_second == 0:
        return words + f"Both are right and wrong on the same of the {row.same_pictures} pictures."
    if row.p >= SURE:
        return words + f"These pictures show no difference: McNemar's p = {row.p:.2g}."
    better = names[0 if row.only_first > row.only_second else 1]
    return words + f"{better} is better: McNemar's p = {row.p:.2g} over {row.same_pictures} pictures."
