"""The monitoring panel of a served run: requests, latency, confidence, accuracy on known labels, and two drift lights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

from markupsafe import Markup

from lib.train.monitoring.report import (
    AccuracyBlock,
    AccuracyInUse,
    DriftReport,
    DriftSignal,
    MonitorReport,
    Proposal,
    TrafficBlock,
)
from web.cards import card, idle
from web.html import html, join

from . import curves
from .view import OPEN, percent

NOTHING = "Train a network first, then watch its requests here."
SIGNALS = {
    "inputs": {None: "Inputs: not known yet", False: "Inputs: no drift", True: "Inputs: drift detected"},
    "model": {None: "Model: not known yet", False: "Model: no drift", True: "Model: drift detected"},
}
IF_ON = Markup("<b>If this light goes on:</b> ")
COLOURS = {None: "", False: "ok", True: "bad"}


def panel(report: MonitorReport) -> Markup:
    if not report.requests:
        return idle("No requests yet. Send pictures to the address below to see statistics here.")
    latency, accuracy = report.latency, report.accuracy
    figures = [("Requests", f"{report.requests:,}")]
    times = (("Median, once loaded", latency.p50), ("95th percentile", latency.p95))
    figures += [(name, f"{value:.0f} ms") for name, value in times if value is not None]
    figures.append(("True labels", f"{accuracy.ever.count:,}"))
    cells = join(html("<div><span>{}</span> <b>{}</b></div>", name, value) for name, value in figures)
    parts = (("Confidence", report.confidence.says), ("Accuracy", accuracy.says), ("Latency", latency.says))
    says = [(name, text) for name, text in parts if text]
    return card(
        html('<h3>Served requests</h3><div class="mw-figures">{}</div>', cells),
        _proposal(report.proposal),
        _accuracy(accuracy),
        html('<div class="mw-lights">{}{}</div>', *_signals(report.drift)),
        html('<div class="mw-curves">{}</div>', _charts(report)),
        join(html('<p class="mw-quiet"><b>{}.</b> {}</p>', name, text) for name, text in says),
        kind="mw-train mw-watch",
    )


def _pictures(count: int) -> str:
    return f"{count:,} picture{'' if count == 1 else 's'}"


def _accuracy(accuracy: AccuracyInUse) -> Markup:
    if accuracy.value is None or accuracy.interval is None:
        return Markup()
    low, high = accuracy.interval
    count, expected = accuracy.count, accuracy.expected
    comparison = ""
    if expected:
        comparison = f"; on {expected.count:,} {expected.part} pictures it was {percent(expected.accuracy)}"
    pictures = "the last picture" if count == 1 else f"the last {count:,} pictures"
    return html(
        '<div class="mw-accuracy"><span class="mw-big">{}</span><span>correct on {} with a known label; 95% interval '
        "{:.1f}–{:.1f}%{}</span></div>",
        percent(accuracy.value),
        pictures,
        100 * low,
        100 * high,
        comparison,
    )


def _signals(drift: DriftReport) -> list[Markup]:
    return [_signal(SIGNALS["inputs"], drift.inputs, drift.why), _signal(SIGNALS["model"], drift.model, drift.why)]


def _signal(words: Mapping[bool | None, str], signal: DriftSignal, why: str) -> Markup:
    about = why if signal.p is None else f"p = {signal.p:.2g}; {_pictures(signal.n)} compared"
    return html(
        '<div class="mw-light"><b data-say="{0}"><i class="{1}"></i>{0}</b><small>{2}</small><p>{3}{4}</p></div>',
        words[signal.flagged],
        COLOURS[signal.flagged],
        about,
        "" if signal.flagged else IF_ON,
        signal.means,
    )


def _proposal(proposal: Proposal | None) -> Markup:
    if proposal is None:
        return Markup()
    return html(
        '<div class="mw-alert" data-say="{0}">{0}<div class="mw-links"><button class="mw-do" data-pick="train">'
        "Train with new pictures</button></div></div>",
        proposal.text,
    )


def _charts(report: MonitorReport) -> Markup:
    known, traffic = report.accuracy.over_time, report.over_time
    counts = report.confidence.histogram
    charts = [curves.histogram("Confidence", counts, "score of the label")] if sum(counts) else []
    if known:
        at = _sums(known)
        accuracies = [(x, block.value) for x, block in zip(at, known, strict=True)]
        lines = [curves.Line("measured", accuracies, 1, dots=True, of=_last(known))]
        if expected := report.accuracy.expected:
            ends = [(x, expected.accuracy) for x in (0, at[-1])]
            lines.append(curves.Line(f"on {expected.part} pictures", ends, 3, dashed=True))
        band = [(x, *block.interval) for x, block in zip(at, known, strict=True)]
        charts.append(curves.chart("Accuracy", lines, "pictures with a known label", percent=True, band=band))
    if len(traffic) > 1:
        at, of = _sums(traffic), _last(traffic)
        mean = curves.Line("mean", [(x, block.confidence) for x, block in zip(at, traffic, strict=True)], 0, of=of)
        median = curves.Line("median, ms", [(x, block.milliseconds) for x, block in zip(at, traffic, strict=True)], 2, of=of)
        charts.append(curves.chart("Confidence over time", [mean], "pictures", percent=True))
        charts.append(curves.chart("Latency over time", [median], "pictures"))
    return join(charts)


def _last(blocks: Sequence[TrafficBlock | AccuracyBlock]) -> str:
    """Return which pictures the last point of a curve covers."""
    count = blocks[-1].count
    return "of the last one" if count == 1 else f"of the last {count:,}"


def _sums(blocks: Sequence[TrafficBlock | AccuracyBlock]) -> list[int]:
    """Return the cumulative number of pictures at the end of each block."""
    return list(accumulate(block.count for block in blocks))


def how(run: str, address: str, stored: str, opened: bool) -> Markup:
    """Return the commands that serve the run. ``address``: URL of this server; ``stored``: what is kept of a request."""
    server = address.rstrip("/") or "https://…"
    first = f"curl --data-binary @picture.jpg '{server}/classify?run={run}'"
    second = f"curl -H 'Content-Type: application/json' -d '{{\"label\": \"…\"}}' '{server}/classify/ID/truth'"
    fold = html(
        '<details{}><summary><b>Serve it</b>: send pictures, and their true labels</summary><pre class="mw-code">{}</pre>'
        "<p>Each answer has an <code>id</code>. If you learn the true label later, send it, and the accuracy is measured."
        '</p><pre class="mw-code">{}</pre><p class="mw-quiet">{}</p></details>',
        OPEN if opened else "",
        first,
        second,
        stored,
    )
    return card(fold, kind="mw-train")


# Polls for new figures while the panel is visible. "Train with new pictures" scrolls to the upload.
SCRIPT = """
element.addEventListener('click', (event) => {
  if (event.target.closest('[data-pick=train]')) {
    document.querySelector('#train-drop')?.scrollIntoView({ block: 'center', behavior: 'smooth' });
    document.querySelector('#train-drop button, #train-drop input')?.focus({ preventScroll: true });
  }
});
let asked = 0;
const look = () => {
  if (!element.isConnected) return;
  const seen = element.checkVisibility() && document.visibilityState === 'visible';
  if (seen && Date.now() - asked >= SECONDS * 1000) {
    asked = Date.now();
    trigger('tick');
  } else if (!seen) {
    asked = 0; // opened again: at once
  }
};
setInterval(look, 500);
"""


def script(seconds: float) -> str:
    return SCRIPT.replace("SECONDS", str(seconds))


CSS = """
.mw-watch .mw-accuracy { flex-wrap: nowrap; align-items: center; } .mw-watch .mw-accuracy span:last-child { flex: 1 1 12em; }
@media (max-width: 768px) { .mw-watch .mw-accuracy { flex-wrap: wrap; } }
.mw-lights { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(240px, 100%), 1fr)); gap: 10px;
  margin: 8px 0; }
.mw-light { border: 1px solid var(--border-color-primary); border-radius: 10px; padding: 8px 12px; min-width: 0; }
.mw-light p { margin: 4px 0 0; font-size: 0.84rem; color: var(--body-text-color-subdued); }
.mw-light small { display: block; }
.mw-light i { display: inline-block; width: 12px; height: 12px; border-radius: 50%; margin-right: 8px; background: #78716c; }
.mw-light i.ok { background: #15803d; } .mw-light i.bad { background: #dc2626; }
.mw-code { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 0.82rem; padding: 6px 10px; border-radius: 8px;
  background: var(--background-fill-secondary); margin: 4px 0; }
"""
