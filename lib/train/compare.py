"""Two runs side by side: what differs in their recipes and data, and whether their results do. Reads records only."""

from __future__ import annotations

from typing import Any

from lib.statistics import mcnemar
from lib.train.runs import Run

SURE = 0.05  # p below which a difference is called one


def differences(first: Any, second: Any, name: str = "") -> list[dict[str, Any]]:
    """Leaves of two nested dicts that are not equal: ``what``, ``first``, ``second``."""
    if isinstance(first, dict) and isinstance(second, dict):
        keys = [*first, *(k for k in second if k not in first)]
        return [d for k in keys for d in differences(first.get(k), second.get(k), f"{name}.{k}" if name else str(k))]
    return [] if first == second else [{"what": name, "first": first, "second": second}]


def compare(first: Run, second: Run) -> dict[str, Any]:
    """``recipe``, ``environment`` and ``data`` (differences), ``results`` by part, and a ``verdict`` in a sentence.

    A part's results are both accuracies with their 95 % intervals and, over the pictures that both were asked about,
    ``only_first`` and ``only_second`` right and McNemar's ``p``.
    """
    one, two = first.read(), second.read()
    names = [one.get("name", ""), two.get("name", "")]
    if names[0] == names[1]:
        names = [f"{name} ({_began(run)})" for name, run in zip(names, (first, second), strict=True)]
    found: dict[str, Any] = {
        "runs": [first.id, second.id],
        "names": names,
        "status": [one.get("status"), two.get("status")],
        "recipe": differences(one.get("recipe") or {}, two.get("recipe") or {}),
        "environment": differences(one.get("environment") or {}, two.get("environment") or {}),
        "data": [d for d in differences(one.get("data") or {}, two.get("data") or {}) if d["what"] != "id"],  # of the upload
        "results": {},
    }
    asked = [_asked(run.evaluation()) for run in (first, second)]
    parts = [(record.get("result") or {}).get("parts") or {} for record in (one, two)]
    for name in (n for n in ("test", "validation") if n in parts[0] and n in parts[1]):
        both = asked[0].get(name, {}).keys() & asked[1].get(name, {}).keys()
        only = [
            sum(asked[a][name][k] and not asked[1 - a][name][k] for k in both)
            for a in (0, 1)
        ]  # fmt: skip
        found["results"][name] = {
            "first": parts[0][name],
            "second": parts[1][name],
            "same_pictures": len(both),
            "only_first": only[0],
            "only_second": only[1],
            "p": mcnemar(*only) if both else None,
        }
    found["verdict"] = _verdict(found)
    return found


def _began(run: Run) -> str:
    """The time in a run's id, as HH:MM:SS."""
    clock = run.id.split("-")[1]
    return ":".join((clock[:2], clock[2:4], clock[4:]))


def _asked(evaluation: dict[str, Any]) -> dict[str, dict[str, bool]]:
    """By part: the picture's hash and whether it was right."""
    parts = evaluation.get("parts") or {}
    return {n: {p["sha256"]: p["label"] == p["predicted"] for p in part.get("pictures", ())} for n, part in parts.items()}


def _verdict(found: dict[str, Any]) -> str:
    if not found["results"]:
        return "There is no result on both sides yet."
    part, row = next(iter(found["results"].items()))
    figures = [f"{row[k]['accuracy']:.1%} of {row[k]['count']} {part} pictures" for k in ("first", "second")]
    words = f"{found['names'][0]}: {figures[0]}; {found['names'][1]}: {figures[1]}. "
    if row["p"] is None:
        return words + "They were asked about different pictures, so only the intervals can be compared."
    if row["only_first"] + row["only_second"] == 0:
        return words + f"Both are right and wrong on the same of the {row['same_pictures']} pictures."
    if row["p"] >= SURE:
        return words + f"These pictures show no difference: McNemar's p = {row['p']:.2g}."
    better = found["names"][0 if row["only_first"] > row["only_second"] else 1]
    return words + f"{better} is better: McNemar's p = {row['p']:.2g} over {row['same_pictures']} pictures."
