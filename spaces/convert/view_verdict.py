"""The verdict of a conversion as HTML: one line, and two questions with their figures."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from web.cards import bar, card, chip, idle, quarter
from web.html import code, html, join, row

from .figures import bytes_text, ms, number, percent, seconds_text, speed
from .subject import Outcome, Results
from .targets import LOSSY
from .view_shared import COLOURS, RANDOM, label, messages, short, table, title

WITHHELD = Markup(" The file is withheld. <i>Download anyway</i> gives it to you, named <code>.unproven</code>.")
SIGNS = {"proven": "✓", "failed": "✗", "unproven": "?"}
SEVERAL = ("target", "size", "latency", "largest error", "agreement", "")


def running(stage: str, share: float | None, elapsed: float, estimate: float | None, turn: str = "") -> Markup:
    """Return the card of a running conversion. Times are in seconds; ``turn``: its position among several."""
    estimate_text = f" of about {seconds_text(estimate)}" if estimate else ""
    heading = html("<p><b>{}</b></p>", turn) if turn else ""
    duration = html('<span class="mw-elapsed">{}{}</span>', seconds_text(round(elapsed)), estimate_text)
    return card(heading, stage, " … ", duration, bar(share), say=quarter(stage, share))


def interrupted(targets: list[str]) -> Markup:
    """Return the card for a conversion that was stopped by closing or reloading the page."""
    names = ", ".join(title(target) for target in targets)
    return idle(f"A conversion to {names} was running. Closing or reloading the page stopped it. Convert again.")


def verdict(end: Outcome, stale: bool = False) -> Markup:
    """Return the card with the verdict, its meaning and its reasons. ``stale``: another target has been chosen since."""
    report = end.report
    word = str(report.get("verdict", "unproven"))
    summary = report.get("summary") or ""
    sentences = [r["text"] for r in report.get("remedies") or [] if not (r.get("options") or r.get("target"))]
    random = html(" {}", RANDOM) if report.get("weights") == "random" else ""
    return card(
        Markup("<p><b>For the previous target.</b> Convert again for the current one.</p>") if stale else "",
        html('<p class="mw-word"><span aria-hidden="true">{}</span> {}{}</p>', SIGNS.get(word, "?"), word, random),
        _source_and_target(report),
        html('<p class="mw-summary">{}.</p>', summary[0].upper() + summary[1:]) if summary else "",
        html("<p>{}{}</p>", _meaning(report, word), WITHHELD if word != "proven" else ""),
        _questions(report),
        _checked(report),
        _diverges(report),
        html("<p>Suggestions:</p>{}", messages(sentences)) if sentences else "",
        kind=f"mw-proof {COLOURS.get(word, 'warning')}{' mw-stale' if stale else ''}",
        say=f"Verdict: {word}",
    )


def _meaning(report: dict[str, Any], word: str) -> str:
    precision, quality = report.get("precision"), report.get("quality")
    if word == "proven":
        if precision == "exact":
            return "Every value is identical, bit for bit."
        if precision in LOSSY:
            on = f", and is accurate enough on {quality['on']}" if quality else ""
            return f"The result matches what rounding to {_dtype(precision)} gives{on}."
        return f"Verified: the same outputs within float32 rounding on {report.get('cases', 'all')} sets of test inputs."
    if word == "failed":
        if quality is not None and not quality.get("good") and (report.get("faithful") or {}).get("verdict") == "proven":
            return "The result matches what rounding gives, but that is not accurate enough for its task."
        return "The result does not compute what the source computes."
    return "No error was found, but the tests do not show that the result is right."


def _dtype(precision: str | None) -> str:
    return {"fp16": "float16", "int8": "int8"}.get(precision or "", "float32")


def _source_and_target(report: dict[str, Any]) -> Markup:
    """Return the source and target of the verdict, as the visitor may have chosen another target since."""
    source, target = report.get("source") or {}, report.get("target") or {}
    if not source.get("title") or not target.get("title"):
        return Markup()
    name = short(label(str(source.get("name") or "")))
    return html("<p>{} {} → {}</p>", code(name), source["title"], target["title"])


def _questions(report: dict[str, Any]) -> Markup:
    """Return the questions "Faithful?" and "Good enough?" with their answers and figures."""
    faithful, quality = report.get("faithful") or {}, report.get("quality")
    word = faithful.get("verdict") or report.get("verdict")
    rows = [("Faithful?", _answer(word), faithful.get("reason") or report.get("reason") or "")]
    if quality is not None:
        rows.append(("Good enough?", _answer("proven" if quality.get("good") else "failed"), _figures(quality)))
    elif report.get("precision") in LOSSY:
        rows.append(("Good enough?", _answer("unproven"), "Not tested: no samples of real inputs."))
    reason = report.get("reason") or ""
    if (
        reason
        and reason not in (faithful.get("reason"), (quality or {}).get("summary"))
        and report.get("verdict") != "proven"
    ):
        rows.append(("Result", Markup(), html("<b>{}</b>", reason)))
    return html(
        '<dl class="mw-facts mw-questions">{}</dl>', join(html("<dt>{} {}</dt><dd>{}</dd>", *entry) for entry in rows)
    )


def _answer(word: Any) -> Markup:
    style = {"proven": ("yes", "ok"), "failed": ("no", "error")}.get(str(word), ("unknown", "warning"))
    return chip(*style)


def _figures(quality: dict[str, Any]) -> str:
    count, inputs = quality.get("count") or 0, quality.get("inputs") or 0
    rows = f"rows of {inputs} " if count > inputs > 0 else ""
    scope = f" on {count} {rows}{quality.get('on')}"
    if quality.get("interval"):
        low, high = quality["interval"]
        metric_text = (
            f"{quality['metric']} {percent(quality['value'])}{scope}, 95 % interval {percent(low)} to {percent(high)}"
        )
    else:
        metric_text = f"{quality['metric']} {number(quality['value'])}{scope}"
    parts = [metric_text[0].upper() + metric_text[1:]]
    if quality.get("reason"):
        parts.append(str(quality["reason"]).rstrip("."))
    if quality.get("accuracy_before") is not None:
        parts.append(f"accuracy {percent(quality['accuracy_before'])} before, {percent(quality['accuracy_after'])} after")
    floor = quality.get("floor")
    if floor is not None:
        required = f"{floor:g} dB" if quality.get("metric") == "SQNR, dB" else percent(floor)
        parts.append(f"required: {required}")
    if quality.get("mcnemar_p") is not None:
        parts.append(f"McNemar's test p = {number(quality['mcnemar_p'])}")
    return "; ".join(parts) + "."


def _checked(report: dict[str, Any]) -> Markup:
    """Return what the proof used: seeds, sizes, samples and ranges."""
    parts = []
    if report.get("seeds") and (report.get("source") or {}).get("inputs"):
        parts.append(f"{len(report['seeds'])} seeds")
    if report.get("sizes"):
        parts.append(", ".join(f"{n} = {v}" for n, v in report["sizes"].items()))
    if samples := report.get("samples"):
        split = f", {samples['calibration']} to calibrate" if samples.get("calibration") else ""
        parts.append(f"{samples['judged']} of {samples['count']} samples in {short(samples['name'], 40)} to judge{split}")
    chosen = (report.get("chosen") or {}).get("method")
    if chosen:
        parts.append("ranges computed at run time" if chosen == "dynamic" else f"ranges from {chosen}")
    return html("<p><small>Checked with {}.</small></p>", "; ".join(parts)) if parts else Markup()


def _diverges(report: dict[str, Any]) -> Markup:
    divergence = report.get("diverges")
    if not divergence:
        return Markup()
    if not isinstance(divergence, dict):
        return html("<p>First node that differs: {}</p>", code(divergence))
    name, op, output = (divergence.get(key) for key in ("node", "op", "output"))
    parts = [f"{divergence['compared']} nodes were compared"] if divergence.get("compared") else []
    for key, heading in (("max_abs_error", "largest error"), ("relative_error", "relative")):
        if divergence.get(key) is not None:
            parts.append(f"{heading} {number(divergence[key])}")
    output_text = html(", output {}", code(output)) if output else ""
    details = f" ({op})" if op else "", output_text, f": {'; '.join(parts)}" if parts else ""
    return html("<p>First node that differs: {}{}{}{}.</p>", code(name or ""), *details)


def several(end: Results, links: dict[str, str]) -> Markup:
    """Return the table of conversions that were started together. ``links``: URLs of the files, by target."""
    rows = [
        _row(target, outcome.report, links.get(target, ""), target == end.shown) for target, outcome in end.outcomes.items()
    ]
    rows += [
        html("<tr><td>{}</td><td colspan=5>{}</td></tr>", _named(target, "not converted", "error"), error.message)
        for target, error in end.errors.items()
    ]
    return card(table("mw-rows mw-several", SEVERAL, rows), kind="mw-scroll")


def _named(target: str, word: str, kind: str) -> Markup:
    return html("<b>{}</b><br>{}", title(target), chip(word, kind))


def _row(target: str, report: dict[str, Any], link: str, shown: bool) -> Markup:
    quality, word = report.get("quality"), str(report["verdict"])
    agreement = "–" if not quality else f"{percent(quality['value'])}" if quality.get("interval") else "–"
    if quality and not quality.get("interval") and quality.get("value") is not None:
        agreement = f"{quality['value']:.1f} dB"
    target_report = report["target"]
    download = html('<a href="{}" download>Download</a>', link) if link else ""
    show = html('<button type="button" class="mw-link" data-pick="{}">Show</button>', target)
    return row(
        _named(target, word, COLOURS.get(word, "")),
        bytes_text(target_report.get("bytes")),
        html("{}<br><small>{}</small>", ms(target_report.get("median_ms")), speed(report.get("latency_ratio"))),
        percent((quality or report).get("range_error")),
        agreement,
        html("{}<br>{}", Markup("<small>shown below</small>") if shown else show, download),
    )
