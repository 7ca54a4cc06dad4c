"""How a served run does: requests, latency, confidence, accuracy where the truth is sent, and two lights for drift."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from web.cards import e, idle

from . import curves
from .view import percent

NOTHING = "Train a network first; then its requests are watched here."
NOT_ACCURACY = (
    "Confidence is what the network believes of itself, not how often it is right: on blurred pictures it stays sure and is "
    "wrong. Only labels that you send (the truth) show accuracy."
)
LIGHTS = {
    "inputs": (
        {None: "The inputs: not known yet", False: "The inputs: no change", True: "The inputs changed"},
        "Do the pictures look like those of the training? Compared by general features of pictures (MMD test). It also sees "
        "changes that harm nothing, such as another compression.",
    ),
    "model": (
        {None: "The model: not known yet", False: "The model feels no change", True: "The model feels it"},
        "Does the network itself see something unusual? Compared by its own features (KS test). It follows the accuracy more "
        "closely, and needs more pictures.",
    ),
}
COLOURS = {None: "", False: "ok", True: "bad"}


def panel(found: Mapping[str, Any]) -> str:
    """``found`` is what ``GET /monitor?run=…`` answers."""
    requests = found.get("requests") or 0
    if not requests:
        return idle("No requests yet. Send pictures to the address below; what comes of them is shown here.")
    latency, accuracy = found.get("latency") or {}, found.get("accuracy") or {}
    figures = [("Requests", f"{requests:,}")]
    figures += [(name, f"{latency[k]:.0f} ms") for k, name in (("p50", "Median"), ("p95", "95th percentile")) if k in latency]
    figures.append(("Truth sent", f"{accuracy.get('count', 0):,}"))
    cells = "".join(f"<div><span>{e(name)}</span> <b>{e(value)}</b></div>" for name, value in figures)
    return (
        f'<div class="mw-card mw-train"><h3>Served requests</h3><div class="mw-figures">{cells}</div>{_proposal(found)}'
        f'<div class="mw-lights">{_lights(found.get("drift") or {})}</div>{_right(accuracy)}'
        f'<div class="mw-curves">{_charts(found)}</div><p class="mw-quiet">{NOT_ACCURACY}</p></div>'
    )


def _right(accuracy: Mapping[str, Any]) -> str:
    if not accuracy.get("count"):
        return ""
    low, high = accuracy["interval"]
    return (
        f'<div class="mw-accuracy"><span class="mw-big">{percent(accuracy["value"])}</span><span>right on the '
        f"{accuracy['count']:,} requests whose truth was sent; 95% interval {100 * low:.1f}–{100 * high:.1f}%</span></div>"
    )


def _lights(drift: Mapping[str, Any]) -> str:
    return "".join(_light(key, drift.get(key) or {}) for key in LIGHTS)


def _light(key: str, one: Mapping[str, Any]) -> str:
    said, meaning = LIGHTS[key]
    flagged, p, n = one.get("flagged"), one.get("p"), one.get("n") or 0
    words = said[flagged]
    about = f"p = {p:.3g}, the last {n:,} pictures" if p is not None else f"{n:,} pictures so far"
    need = f"; at least {one['needed']:,} are compared" if flagged is None and one.get("needed") else ""
    return (
        f'<div class="mw-light"><b data-say="{e(words)}"><i class="{COLOURS[flagged]}"></i>{e(words)}</b><small>{e(about + need)}'
        f"</small><p>{e(meaning)}</p></div>"
    )


def _proposal(found: Mapping[str, Any]) -> str:
    proposal = found.get("proposal")
    if not proposal:
        return ""
    words = proposal if isinstance(proposal, str) else str(proposal.get("words") or proposal.get("why") or "")
    return (
        f'<div class="mw-alert" data-say="{e(words)}">{e(words)}<div class="mw-links"><button class="mw-do" data-pick="train">'
        "Train with new pictures</button></div></div>"
    )


def _charts(found: Mapping[str, Any]) -> str:
    over = (found.get("accuracy") or {}).get("over_time") or []
    points = [(k + 1, one["value"]) for k, one in enumerate(over)]
    band = [(k + 1, *one["interval"]) for k, one in enumerate(over)]
    line = curves.Line("of the truth that was sent", points, 1, dots=True)
    right = curves.chart("Accuracy over time", [line], "window", percent=True, band=band) if over else ""
    return _histogram(found.get("confidence") or {}) + right


def _histogram(confidence: Mapping[str, Any]) -> str:
    """Of the scores of the labels that were given: ``edges`` and ``counts``."""
    counts = list(confidence.get("counts") or confidence.get("histogram") or ())
    return curves.histogram("Confidence", counts, "score of the label") if counts else ""


def how(run: str, address: str, opened: bool) -> str:
    """The commands for the run; ``address`` is that of this server."""
    server = address.rstrip("/") or "https://…"
    first = f"curl --data-binary @picture.jpg '{server}/classify?run={run}'"
    second = f"curl -H 'Content-Type: application/json' -d '{{\"label\": \"…\"}}' '{server}/classify/ID/truth'"
    return (
        f'<div class="mw-card mw-train"><details{" open" if opened else ""}><summary><b>Serve it</b>: send pictures, and the '
        "truth</summary><p>Requests to this address are counted: time, label, score and features’ summaries, never a picture.</p>"
        f'<pre class="mw-code">{e(first)}</pre><p>The answer has an <code>id</code>. Where you learn the true label later, '
        f'send it: accuracy is then measured.</p><pre class="mw-code">{e(second)}</pre></details></div>'
    )


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
.mw-lights { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(240px, 100%), 1fr)); gap: 10px; margin: 8px 0; }
.mw-light { border: 1px solid var(--border-color-primary); border-radius: 10px; padding: 8px 12px; min-width: 0; }
.mw-light p { margin: 4px 0 0; font-size: 0.84rem; color: var(--body-text-color-subdued); } .mw-light small { display: block; }
.mw-light i { display: inline-block; width: 12px; height: 12px; border-radius: 50%; margin-right: 8px; background: #78716c; }
.mw-light i.ok { background: #15803d; } .mw-light i.bad { background: #dc2626; }
.mw-code { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 0.82rem; padding: 6px 10px; border-radius: 8px;
  background: var(--background-fill-secondary); margin: 4px 0; }
"""
