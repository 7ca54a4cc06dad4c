"""The card at the top: the progress of the shown run or how it ended, with its curves."""

from __future__ import annotations

from markupsafe import Markup

from lib.train.events import Step
from lib.train.run_metrics import RunMetrics
from lib.train.run_record import Reproduction, RunRecord
from lib.train.runs import DONE, FAILED, INTERRUPTED, RUNNING, STOPPED, WAITING
from web.cards import bar, card, quarter
from web.html import html, join, row

from . import curves
from .subject import word
from .view import RANDOM, accuracy, chip, figures, interval, percent, scroll, seconds


def waiting(record: RunRecord, place: int, wait: float, others: str = "") -> Markup:
    """Return the card of a waiting run. ``place``: position in the queue, 1 for the next; ``wait``: in seconds."""
    text = f"Waiting, number {place} in the queue. It starts in about {seconds(wait)}."
    return _card(record, WAITING, html("<p>{}</p>{}", text, bar(0)), text, others)


def running(record: RunRecord, metrics: RunMetrics, stage: str, share: float | None, others: str = "") -> Markup:
    """Return the card of a running training. ``stage`` and ``share``: the job's latest progress."""
    step = metrics.steps[-1] if metrics.steps else None
    if step is None:
        return _card(record, RUNNING, html("<p>{} …</p>{}", stage, bar(share)), stage, others)
    epochs = record.recipe.get("epochs", "?")
    seconds_left = steps_left(step, record)
    rows = [
        ("Epoch", f"{step.epoch} of {epochs}"),
        ("Step", f"{step.step:,} of {step.steps:,}"),
        ("Speed", f"{step.pictures_per_second:,.0f} pictures/s"),
    ]
    share_done = step.step / max(1, step.steps)
    if step.step < step.steps:
        rows.append(("Remaining", f"about {seconds(seconds_left)}, then the evaluation"))
    else:
        rows.append(("Now", stage))
    spoken = quarter(f"Training, epoch {step.epoch} of {epochs}", share_done)
    return _card(record, RUNNING, bar(share_done) + figures(rows) + curves.of_run(metrics), spoken, others)


def steps_left(step: Step, record: RunRecord) -> float:
    """Return the seconds that the remaining steps take at the latest speed."""
    batch = record.recipe.get("batch_size") or 1
    return (step.steps - step.step) * batch / max(step.pictures_per_second, 1e-3)


def ended(record: RunRecord, metrics: RunMetrics, evaluated: bool, pending: bool, others: str = "") -> Markup:
    """Return the card of an ended run. ``evaluated``: on every picture; ``pending``: the evaluation is running."""
    status, result = record.status, record.result
    parts, spoken = [], ""
    if status == STOPPED:
        spoken = "Stopped; the best epoch so far is kept." if result else "Stopped before the first epoch ended."
        hint = "" if result else " Resume starts it over."
        pending_note = " It is being evaluated …" if pending and not evaluated else ""
        parts.append(html('<div class="mw-alert">{}{}</div>', spoken, pending_note or hint))
    elif status in (INTERRUPTED, FAILED):
        spoken = record.error or "The training was interrupted: the app was restarted."
        resume_note = "Resume continues from the last complete epoch." if record.epochs else "Resume starts it over."
        parts.append(html('<div class="mw-alert bad">{}<br>{}</div>', spoken, resume_note))
    if result:
        correct = f"{percent(result.accuracy)} of {result.count:,} {result.on} pictures are correct"
        spoken = spoken or f"Done: {correct}."
        so_far = "" if status == DONE or evaluated else " so far"
        text = f"correct{so_far} on {result.count:,} {result.on} pictures; 95% interval {interval(result.interval)}"
        parts.append(accuracy(result.accuracy, text))
    if record.again:
        parts.append(verdict(record.again))
    duration = [("Took", seconds(record.seconds))] if record.seconds else []
    epoch = [("Best epoch", str(result.epoch))] if result else []
    content = join(parts) + figures(duration + epoch) + (curves.of_run(metrics) if metrics else "")
    return _card(record, status, content, spoken, others)


def verdict(again: Reproduction) -> Markup:
    """Return whether a reproduced run has the same weights, and if not, the possible reasons."""
    if again.verdict == "identical":
        return html(
            '<div class="mw-alert good"><b>Identical.</b> The weights are the same, bit for bit: sha256 '
            "<code>{}…</code></div>",
            str(again.sha256)[:16],
        )
    rows = join(row(d.what, d.first, d.second) for d in again.differences)
    table = html('<table class="mw-nowrap"><tr><td></td><th>first</th><th>again</th></tr>{}</table>', rows)
    return html(
        '<div class="mw-alert bad"><b>Differs</b> from the first run. Possible reasons:{}</div>',
        scroll(table) if rows else "",
    )


def others(some: list[tuple[str, str]]) -> Markup:
    """Return a line with a button for each of the visitor's other trainings, given as ``(run id, name)``."""
    if not some:
        return Markup()
    buttons = (html('<button class="mw-do" data-pick="run:{}">{}</button>', id, name) for id, name in some)
    return html('<p class="mw-quiet mw-also">Also running: {}</p>', join(buttons, " "))


def _card(record: RunRecord, status: str, inside: Markup, spoken: str, others: str) -> Markup:
    recipe, data = record.recipe, record.data
    about = [word(recipe.get("technique", "")), str(recipe.get("backbone", ""))]
    if data.name != record.name:  # an unnamed run gets the name of its data
        about.append(data.name)
    epochs = recipe.get("epochs", "?")
    about.append(f"{epochs} epoch{'' if epochs == 1 else 's'} at {recipe.get('image_size', '?')} px")
    head = html(
        '<div class="mw-head">{}<b>{}</b>{}<span class="mw-quiet">{}</span></div>',
        chip(status),
        record.name,
        RANDOM if record.has_random_weights else "",
        " · ".join(about),
    )
    return card(head, inside, others, kind="mw-train", say=spoken)
