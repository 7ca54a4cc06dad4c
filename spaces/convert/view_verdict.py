"""The verdict of a conversion as HTML: what it is worth, in one line and in two questions with their figures."""

from __future__ import annotations

from typing import Any

from web.cards import bar, e, idle, quarter

from .figures import bytes_text, ms, number, percent, seconds_text, speed
from .subject import Ended, Outcome
from .targets import LOSSY
from .view_shared import COLOURS, RANDOM, head, label, messages, short, title

SIGNS = {"proven": "✓", "failed": "✗", "unproven": "?"}
SEVERAL = ("target", "size", "latency", "largest error", "agreement", "")


def running(stage: str, share: float | None, elapsed: float, estimate: float | None, turn: str = "") -> str:
    """``turn``: which of several conversions it is."""
    about = f" of about {seconds_text(estimate)}" if estimate else ""
    first = f"<p><b>{e(turn)}</b></p>" if turn else ""
    return (
        f'<div class="mw-card" data-say="{e(quarter(stage, share))}">{first}{e(stage)} … '
        f'<span class="mw-elapsed">{seconds_text(round(elapsed))}{about}</span>{bar(share)}</div>'
    )


def left(targets: list[str]) -> str:
    """A page is opened, and a conversion has begun in this or another one."""
    names = ", ".join(title(target) for target in targets)
    return idle(f"A conversion to {names} was running. Closing or reloading the page stopped it. Convert again.")


def verdict(end: Outcome, stale: bool = False) -> str:
    """The word, what it means, and why. ``stale``: another target is chosen by now."""
    report = end.report
    word = str(report.get("verdict", "unproven"))
    random = f" {RANDOM}" if report.get("weights") == "random" else ""
    old = "<p><b>For the previous target.</b> Convert again for the current one.</p>" if stale else ""
    summary = report.get("summary") or ""
    line = f'<p class="mw-summary">{e(summary[0].upper() + summary[1:])}.</p>' if summary else ""
    sentences = [r["text"] for r in report.get("remedies") or [] if not (r.get("options") or r.get("target"))]
    advice = f"<p>Suggestions:</p>{messages(sentences)}" if sentences else ""
    return (
        f'<div class="mw-card mw-proof {COLOURS.get(word, "warning")}{" mw-stale" if stale else ""}" '
        f'data-say="Verdict: {e(word)}">{old}'
        f'<p class="mw-word"><span aria-hidden="true">{SIGNS.get(word, "?")}</span> {e(word)}{random}</p>'
        f"{_what(report)}{line}<p>{e(_meaning(report, word))}{_withheld(end, word)}</p>{_questions(report)}"
        f"{_checked(report)}{_diverges(report)}{advice}</div>"
    )


def _meaning(report: dict[str, Any], word: str) -> str:
    precision, quality = report.get("precision"), report.get("quality")
    if word == "proven":
        if precision == "exact":
            return "Every value is identical, bit for bit."
        if precision in LOSSY:
            on = f", and is accurate enough on {quality['on']}" if quality else ""
            return f"The result matches what rounding to {_precise(precision)} gives{on}."
        return f"Verified: the same outputs within float32 rounding on {report.get('cases', 'all')} sets of test inputs."
    if word == "failed":
        if quality is not None and not quality.get("good") and (report.get("faithful") or {}).get("verdict") == "proven":
            return "The result matches what rounding gives, but that is not accurate enough for its task."
        return "The result does not compute what the source computes."
    return "No error was found, but the tests do not show that the result is right."


def _precise(precision: str | None) -> str:
    return {"fp16": "float16", "int8": "int8"}.get(precision or "", "float32")


def _withheld(end: Outcome, word: str) -> str:
    if word == "proven":
        return ""
    return " The file is withheld. <i>Download anyway</i> gives it to you, named <code>.unproven</code>."


def _what(report: dict[str, Any]) -> str:
    """Whose verdict it is: another target may be chosen by now."""
    source, target = report.get("source") or {}, report.get("target") or {}
    if not source.get("title") or not target.get("title"):
        return ""
    name = short(label(str(source.get("name") or "")))
    return f"<p><code>{e(name)}</code> {e(source['title'])} → {e(target['title'])}</p>"


def _questions(report: dict[str, Any]) -> str:
    """Faithful? Good enough? Each with the figures that answer it."""
    faithful, quality = report.get("faithful") or {}, report.get("quality")
    word = faithful.get("verdict") or report.get("verdict")
    rows = [("Faithful?", _answer(word), e(faithful.get("reason") or report.get("reason") or ""))]
    if quality is not None:
        rows.append(("Good enough?", _answer("proven" if quality.get("good") else "failed"), _figures(quality)))
    elif report.get("precision") in LOSSY:
        rows.append(("Good enough?", _answer("unproven"), "Not tested: no samples of real inputs."))
    last = report.get("reason") or ""
    if last and last not in (faithful.get("reason"), (quality or {}).get("summary")) and report.get("verdict") != "proven":
        rows.append(("Result", "", f"<b>{e(last)}</b>"))
    cells = "".join(f"<dt>{name} {chip}</dt><dd>{text}</dd>" for name, chip, text in rows)
    return f'<dl class="mw-facts mw-questions">{cells}</dl>'


def _answer(word: Any) -> str:
    said = {"proven": ("yes", "ok"), "failed": ("no", "error")}.get(str(word), ("unknown", "warning"))
    return f'<span class="mw-chip {said[1]}">{said[0]}</span>'


def _figures(quality: dict[str, Any]) -> str:
    count, inputs = quality.get("count") or 0, quality.get("inputs") or 0
    rows = f"rows of {inputs} " if count > inputs > 0 else ""
    on = f" on {count} {rows}{quality.get('on')}"
    if quality.get("interval"):
        low, high = quality["interval"]
        head = f"{quality['metric']} {percent(quality['value'])}{on}, 95 % interval {percent(low)} to {percent(high)}"
    else:
        head = f"{quality['metric']} {number(quality['value'])}{on}"
    parts = [e(head[0].upper() + head[1:])]
    if quality.get("reason"):
        parts.append(e(str(quality["reason"]).rstrip(".")))
    if quality.get("accuracy_before") is not None:
        parts.append(f"accuracy {percent(quality['accuracy_before'])} before, {percent(quality['accuracy_after'])} after")
    floor = quality.get("floor")
    if floor is not None:
        asked = f"{floor:g} dB" if quality.get("metric") == "SQNR, dB" else percent(floor)
        parts.append(f"required: {asked}")
    if quality.get("mcnemar_p") is not None:
        parts.append(f"McNemar's test p = {number(quality['mcnemar_p'])}")
    return "; ".join(parts) + "."


def _checked(report: dict[str, Any]) -> str:
    """On what: seeds, sizes, samples."""
    parts = []
    if report.get("seeds") and (report.get("source") or {}).get("inputs"):
        parts.append(f"{len(report['seeds'])} seeds")
    if report.get("sizes"):
        parts.append(e(", ".join(f"{n} = {v}" for n, v in report["sizes"].items())))
    if samples := report.get("samples"):
        split = f", {samples['calibration']} to calibrate" if samples.get("calibration") else ""
        parts.append(f"{samples['judged']} of {samples['count']} samples in {e(short(samples['name'], 40))} to judge{split}")
    chosen = (report.get("chosen") or {}).get("method")
    if chosen:
        parts.append("ranges computed at run time" if chosen == "dynamic" else f"ranges from {e(chosen)}")
    return f"<p><small>Checked with {'; '.join(parts)}.</small></p>" if parts else ""


def _diverges(report: dict[str, Any]) -> str:
    found = report.get("diverges")
    if not found:
        return ""
    if not isinstance(found, dict):
        return f"<p>First node that differs: <code>{e(found)}</code></p>"
    name, op, output = (found.get(key) for key in ("node", "op", "output"))
    parts = [f"{found['compared']} nodes were compared"] if found.get("compared") else []
    for key, words in (("max_abs_error", "largest error"), ("relative_error", "relative")):
        if found.get(key) is not None:
            parts.append(f"{words} {number(found[key])}")
    where = (f" ({e(op)})" if op else "") + (f", output <code>{e(output)}</code>" if output else "")
    why = f": {e('; '.join(parts))}" if parts else ""
    return f"<p>First node that differs: <code>{e(name or '')}</code>{where}{why}.</p>"


def several(end: Ended, links: dict[str, str]) -> str:
    """All conversions that were asked for together. ``links``: the address of each file that is handed out."""
    rows = [_row(target, one.report, links.get(target, ""), target == end.shown) for target, one in end.outcomes.items()]
    rows += [
        f'<tr><td><b>{e(title(target))}</b><br><span class="mw-chip error">not converted</span></td>'
        f"<td colspan=5>{e(error.message)}</td></tr>"
        for target, error in end.errors.items()
    ]
    table = f'<table class="mw-grid mw-rows mw-several"><tr>{head(SEVERAL)}</tr>{"".join(rows)}</table>'
    return f'<div class="mw-card mw-scroll">{table}</div>'


def _row(target: str, report: dict[str, Any], link: str, shown: bool) -> str:
    quality, word = report.get("quality"), str(report["verdict"])
    same = "–" if not quality else f"{percent(quality['value'])}" if quality.get("interval") else "–"
    if quality and not quality.get("interval") and quality.get("value") is not None:
        same = f"{quality['value']:.1f} dB"
    side = report["target"]
    file = f'<a href="{e(link)}" download>Download</a>' if link else ""
    show = (
        "<small>shown below</small>"
        if shown
        else f'<button type="button" class="mw-link" data-pick="{e(target)}">Show</button>'
    )
    return (
        f'<tr><td><b>{e(title(target))}</b><br><span class="mw-chip {COLOURS.get(word, "")}">{e(word)}</span></td>'
        f"<td>{bytes_text(side.get('bytes'))}</td><td>{ms(side.get('median_ms'))}<br>"
        f"<small>{e(speed(report.get('latency_ratio')))}</small></td>"
        f"<td>{percent((quality or report).get('range_error'))}</td><td>{same}</td><td>{show}<br>{file}</td></tr>"
    )
