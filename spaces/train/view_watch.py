"""How a served run does: requests, latency, confidence, accuracy where the truth is sent, and two lights for drift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from markupsafe import Markup

from web.cards import card, idle
from web.html import html, join

from . import curves
from .view import OPEN, percent

NOTHING = "Train a network first, then watch its requests here."
LIGHTS = {
    "inputs": {None: "Inputs: not known yet", False: "Inputs: no drift", True: "Inputs: drift detected"},
    "model": {None: "Model: not known yet", False: "Model: no drift", True: "Model: drift detected"},
}
IF_ON = Markup("<b>If this light goes on:</b> ")
COLOURS = {None: "", False: "ok", True: "bad"}


def panel(found: Mapping[str, Any]) -> Markup:
    """``found`` is what ``GET /monitor?run=…`` answers."""
    requests = found.get("requests") or 0
    if not requests:
        return idle("No requests yet. Send pictures to the address below to see statistics here.")
    latency, accuracy = (found.get(key) or {} for key in ("latency", "accuracy"))
    figures = [("Requests", f"{requests:,}")]
    figures += [
        (name, f"{latency[k]:.0f} ms")
        for k, name in (("p50", "Median, once loaded"), ("p95", "95th percentile"))
        if k in latency
    ]
    figures.append(("True labels", f"{(accuracy.get('ever') or accuracy).get('count', 0):,}"))
    cells = join(html("<div><span>{}</span> <b>{}</b></div>", name, value) for name, value in figures)
    return card(
        html('<h3>Served requests</h3><div class="mw-figures">{}</div>', cells),
        _proposal(found),
        _right(accuracy),
        html('<div class="mw-lights">{}</div>', _lights(found.get("drift") or {})),
        html('<div class="mw-curves">{}</div>', _charts(found)),
        join(html('<p class="mw-quiet"><b>{}.</b> {}</p>', k, one["says"]) for k, one in _said(found)),
        kind="mw-train mw-watch",
    )


def _said(found: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    some = [(key.capitalize(), found.get(key) or {}) for key in ("confidence", "accuracy", "latency")]
    return [(name, one) for name, one in some if one.get("says")]


def _pictures(count: int) -> str:
    return f"{count:,} picture{'' if count == 1 else 's'}"


def _right(accuracy: Mapping[str, Any]) -> Markup:
    if not accuracy.get("count"):
        return Markup()
    low, high = accuracy["interval"]
    count, expected = accuracy["count"], accuracy.get("expected")
    training = ""
    if expected:
        training = f"; on {expected['count']:,} {expected['part']} pictures it was {percent(expected['accuracy'])}"
    last = "the last picture" if count == 1 else f"the last {count:,} pictures"
    return html(
        '<div class="mw-accuracy"><span class="mw-big">{}</span><span>correct on {} with a known label; 95% interval '
        "{:.1f}–{:.1f}%{}</span></div>",
        percent(accuracy["value"]),
        last,
        100 * low,
        100 * high,
        training,
    )


def _lights(drift: Mapping[str, Any]) -> Markup:
    return join(_light(said, drift.get(key) or {}, str(drift.get("why") or "")) for key, said in LIGHTS.items())


def _light(said: Mapping[bool | None, str], one: Mapping[str, Any], why: str) -> Markup:
    flagged, p = one.get("flagged"), one.get("p")
    about = f"p = {p:.2g}; {_pictures(one.get('n') or 0)} compared" if p is not None else why
    return html(
        '<div class="mw-light"><b data-say="{0}"><i class="{1}"></i>{0}</b><small>{2}</small><p>{3}{4}</p></div>',
        said[flagged],
        COLOURS[flagged],
        about,
        "" if flagged else IF_ON,
        one.get("means") or "",
    )


def _proposal(found: Mapping[str, Any]) -> Markup:
    if not (proposal := found.get("proposal")):
        return Markup()
    return html(
        '<div class="mw-alert" data-say="{0}">{0}<div class="mw-links"><button class="mw-do" data-pick="train">'
        "Train with new pictures</button></div></div>",
        proposal["text"],
    )


def _charts(found: Mapping[str, Any]) -> Markup:
    accuracy, traffic = found.get("accuracy") or {}, found.get("over_time") or []
    counts = (found.get("confidence") or {}).get("histogram") or ()
    drawn = [curves.histogram("Confidence", counts, "score of the label")] if sum(counts) else []
    if told := accuracy.get("over_time"):
        at = _sums(told)
        right = [(x, one["value"]) for x, one in zip(at, told, strict=True)]
        lines = [curves.Line("measured", right, 1, dots=True, of=_last(told))]
        if expected := accuracy.get("expected"):
            ends = [(x, expected["accuracy"]) for x in (0, at[-1])]
            lines.append(curves.Line(f"on {expected['part']} pictures", ends, 3, dashed=True))
        band = [(x, *one["interval"]) for x, one in zip(at, told, strict=True)]
        drawn.append(curves.chart("Accuracy", lines, "pictures with a known label", percent=True, band=band))
    if len(traffic) > 1:
        at = _sums(traffic)
        sure = [(x, one["confidence"]) for x, one in zip(at, traffic, strict=True)]
        slow = [(x, one["milliseconds"]) for x, one in zip(at, traffic, strict=True)]
        mean, median = curves.Line("mean", sure, 0, of=_last(traffic)), curves.Line("median, ms", slow, 2, of=_last(traffic))
        drawn.append(curves.chart("Confidence over time", [mean], "pictures", percent=True))
        drawn.append(curves.chart("Latency over time", [median], "pictures"))
    return join(drawn)


def _last(blocks: Sequence[Mapping[str, Any]]) -> str:
    """Of which pictures the last point of a curve is."""
    count = int(blocks[-1]["count"])
    return "of the last one" if count == 1 else f"of the last {count:,}"


def _sums(blocks: Sequence[Mapping[str, Any]]) -> list[int]:
    """How many pictures there were by the end of each block."""
    return list(accumulate(int(one["count"]) for one in blocks))


def how(run: str, address: str, stored: str, opened: bool) -> Markup:
    """The commands for the run; ``address`` is that of this server, ``stored`` says what is kept of a request."""
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


# Asks for the newest figures while the panel can be seen, and not else; goes to the pictures where new ones are wanted.
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
