"""The card at the top: what the shown run does now, or how it ended, with its curves."""

from __future__ import annotations

from typing import Any

from lib.train.run_record import Reproduction, RunRecord
from lib.train.runs import DONE, FAILED, INTERRUPTED, RUNNING, STOPPED, WAITING
from web.cards import bar, e, quarter

from . import curves
from .subject import word
from .view import RANDOM, chip, interval, percent, seconds


def waiting(record: RunRecord, place: int, wait: float, others: str = "") -> str:
    """``place`` is its number in the queue, 1 for the next; ``wait`` is in seconds."""
    words = f"Waiting, number {place} in the queue. It starts in about {seconds(wait)}."
    return _card(record, WAITING, f"<p>{e(words)}</p>{bar(0)}", words, others)


def running(record: RunRecord, metrics: list[dict[str, Any]], stage: str, share: float | None, others: str = "") -> str:
    """``stage`` and ``share`` as the job told them last."""
    step = next((line for line in reversed(metrics) if "loss" in line), None)
    if step is None:
        inside = f"<p>{e(stage)} …</p>{bar(share)}"
        return _card(record, RUNNING, inside, e(stage), others)
    epochs = record.recipe.get("epochs", "?")
    left = steps_left(step, record)
    figures = [
        ("Epoch", f"{step['epoch']} of {epochs}"),
        ("Step", f"{step['step']:,} of {step['steps']:,}"),
        ("Speed", f"{step['pictures_per_second']:,.0f} pictures/s"),
    ]
    done = step["step"] / max(1, step["steps"])
    if step["step"] < step["steps"]:
        figures.append(("Remaining", f"about {seconds(left)}, then the evaluation"))
    else:
        figures.append(("Now", stage))
    spoken = quarter(f"Training, epoch {step['epoch']} of {epochs}", done)
    return _card(record, RUNNING, f"{bar(done)}{_figures(figures)}{curves.of_run(metrics)}", spoken, others)


def steps_left(step: dict[str, Any], record: RunRecord) -> float:
    """Seconds for the steps to come, at the speed of the last ones."""
    batch = record.recipe.get("batch_size") or 1
    return (step["steps"] - step["step"]) * batch / max(step["pictures_per_second"], 1e-3)


def ended(record: RunRecord, metrics: list[dict[str, Any]], evaluated: bool, pending: bool, others: str = "") -> str:
    """``evaluated``: there is a result of every picture; ``pending``: it is being made."""
    status, result = record.status, record.result
    parts, spoken = [], ""
    if status == STOPPED:
        spoken = "Stopped; the best epoch so far is kept." if result else "Stopped before the first epoch ended."
        then = "" if result else " Resume starts it over."
        wait = " It is being evaluated …" if pending and not evaluated else ""
        parts.append(f'<div class="mw-alert">{e(spoken)}{e(wait or then)}</div>')
    elif status in (INTERRUPTED, FAILED):
        spoken = record.error or "The training was interrupted: the app was restarted."
        more = "Resume continues from the last complete epoch." if record.epochs else "Resume starts it over."
        parts.append(f'<div class="mw-alert bad">{e(spoken)}<br>{e(more)}</div>')
    if result:
        accuracy = f"{percent(result.accuracy)} of {result.count:,} {result.on} pictures are correct"
        spoken = spoken or f"Done: {accuracy}."
        so_far = "" if status == DONE or evaluated else " so far"
        parts.append(
            f'<div class="mw-accuracy"><span class="mw-big">{percent(result.accuracy)}</span><span>correct{so_far} on '
            f"{result.count:,} {e(result.on)} pictures; 95% interval {interval(result.interval)}</span></div>"
        )
    if record.again:
        parts.append(verdict(record.again))
    took = [("Took", seconds(record.seconds))] if record.seconds else []
    best = [("Best epoch", str(result.epoch))] if result else []
    inside = "".join(parts) + _figures(took + best) + (curves.of_run(metrics) if metrics else "")
    return _card(record, status, inside, spoken, others)


def verdict(again: Reproduction) -> str:
    """Whether a run that was made again is the same."""
    if again.verdict == "identical":
        return (
            '<div class="mw-alert good"><b>Identical.</b> The weights are the same, bit for bit: sha256 '
            f"<code>{e(str(again.sha256)[:16])}…</code></div>"
        )
    rows = "".join(f"<tr><td>{e(d.what)}</td><td>{e(d.first)}</td><td>{e(d.second)}</td></tr>" for d in again.differences)
    table = (
        f'<div class="mw-scroll"><table class="mw-nowrap"><tr><td></td><th>first</th><th>again</th></tr>{rows}</table></div>'
        if rows
        else ""
    )
    return f'<div class="mw-alert bad"><b>Differs</b> from the first run. Possible reasons:{table}</div>'


def others(some: list[tuple[str, str]]) -> str:
    """A line with a button for each other training of the visitor: ``(run id, name)``."""
    if not some:
        return ""
    buttons = " ".join(f'<button class="mw-do" data-pick="run:{e(id)}">{e(name)}</button>' for id, name in some)
    return f'<p class="mw-quiet mw-also">Also running: {buttons}</p>'


def _figures(some: list[tuple[str, str]]) -> str:
    if not some:
        return ""
    cells = "".join(f"<div><span>{e(name)}</span> <b>{e(value)}</b></div>" for name, value in some)
    return f'<div class="mw-figures">{cells}</div>'


def _card(record: RunRecord, status: str, inside: str, spoken: str, others: str) -> str:
    recipe, data = record.recipe, record.data
    about = [word(recipe.get("technique", "")), str(recipe.get("backbone", ""))]
    if data.name != record.name:  # a run without a name has that of its pictures
        about.append(data.name)
    epochs = recipe.get("epochs", "?")
    about.append(f"{epochs} epoch{'' if epochs == 1 else 's'} at {recipe.get('image_size', '?')} px")
    return (
        f'<div class="mw-card mw-train" data-say="{e(spoken)}"><div class="mw-head">{chip(status)}'
        f"<b>{e(record.name)}</b>{RANDOM if record.has_random_weights else ''}"
        f'<span class="mw-quiet">{e(" · ".join(about))}</span></div>{inside}{others}</div>'
    )
