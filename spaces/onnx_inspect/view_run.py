"""Render a run as HTML, tables and plots, and preview a visitor's input."""

from __future__ import annotations

import base64
import mimetypes
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from lib.reports.markdown import engine, figure, latency, measured_on
from lib.reports.words import shape_text, size
from web.cards import card, chip
from web.html import code, html, join, row

from .view import MAX_ROWS, part

PROFILE_COLUMNS = ["node", "operator", "ms", "share %", "calls", "M MACs", "GMAC/s"]
HEAD = {True: "{} matches {}", False: "{} and {} give different outputs", None: "Only one runtime produced outputs"}
GAPS = Markup("<tr><th>output</th><td></td><th>max abs</th><th>max rel</th><th>cosine</th><th>tolerance</th><td></td></tr>")
PROFILED = Markup(
    "<p><small>The profile below lists the nodes of onnxruntime's optimized graph. Profiled runs are slower than timed "
    "runs.</small></p>"
)
PREVIEWED = 8 << 20  # maximum bytes of a picture or sound in the preview
TEXT = 600  # maximum characters of a text in the preview


def result(found: dict[str, Any]) -> Markup:
    """Return the card of a run: agreement of the two runtimes, latency, inputs and outputs."""
    (engine_report, name, against), reference_report = engine(found), found["reference"]
    heading = HEAD[found["agree"]].format(name, against)
    state = {True: ("agree", "ok"), False: ("differ", "error"), None: ("not compared", "warning")}[found["agree"]]
    lines = [html('<p class="mw-verdict">{} {}</p>', chip(*state), heading)]
    lines += _top(found)
    for runtime, runtime_report in ((name, engine_report), ("Reference", reference_report)):
        if "error" in runtime_report:
            lines.append(html("<p>{} {}: {}</p>", runtime, runtime_report["version"], runtime_report["error"]))
    if "latency_ms" in engine_report:
        lines.append(html("<p>{}</p><p><small>{}</small></p>", latency(engine_report), measured_on(engine_report)))
    lines += _inputs(found)
    if differences := join(map(_gap, found["differences"])):
        lines.append(html('<div class="mw-scroll"><table class="mw-plain">{}{}</table></div>', GAPS, differences))
    for kind in ("inputs", "outputs"):
        for value in found[kind]:
            values = f": {_short(value['values'])}" if value.get("values") is not None else ""
            shape = shape_text(value["shape"]) if value["shape"] is not None else ""
            details = f" {value['dtype']} {shape}{values}"
            lines.append(html('<p class="mw-array">{} {}{}</p>', kind[:-1], code(value["name"]), details))
    if engine_report.get("profile"):
        lines.append(PROFILED)
    return card(*lines)


def _gap(d: dict[str, Any]) -> Markup:
    figures = (figure(d.get(key)) for key in ("max_abs", "max_rel", "cosine"))
    return row(code(d["name"]), "agrees" if d["agree"] else "differs", *figures, _tolerance(d), d.get("why", ""))


def _top(found: dict[str, Any]) -> list[Markup]:
    """Return the labels with the highest scores, if the model's file has labels."""
    rows = join(row(label_score["label"], f"{label_score['score']:.3f}") for label_score in found.get("top") or ())
    return [html('<table class="mw-plain mw-top">{}</table>', rows)] if rows else []


def _short(values: Any) -> str:
    """Format values with six digits; of a longer list, only the first 64."""
    if isinstance(values, list):
        return f"[{', '.join(map(_short, values[:64]))}{', …' if len(values) > 64 else ''}]"
    return f"{values:.6g}" if isinstance(values, float) else str(values)


def _tolerance(d: dict[str, Any]) -> str:
    if "least_cosine" in d:
        return f"cosine ≥ {d['least_cosine']}"
    return f"{d['rtol']:.3g} × value + {d['atol']:.3g}" if d.get("rtol") else "equal" if "rtol" in d else ""


def profile_table(found: dict[str, Any]) -> pd.DataFrame:
    rows = [
        [
            r["node"],
            r["operator"],
            round(r["ms"], 4),
            round(100 * r["share"], 2),
            r["calls"],
            part(r["macs"], 1e6),
            None if r["gmacs_per_second"] is None else round(r["gmacs_per_second"], 3),
        ]
        for r in engine(found)[0].get("profile", [])
    ]
    return pd.DataFrame(rows[:MAX_ROWS], columns=PROFILE_COLUMNS)


def profile_plot(found: dict[str, Any]) -> pd.DataFrame:
    """Return the eight slowest nodes."""
    rows = engine(found)[0].get("profile", [])
    bars = [(f"{k + 1}: {_end(r['node'])}", round(r["ms"], 4), r["operator"]) for k, r in enumerate(rows[:8])]
    return pd.DataFrame(bars, columns=["node", "ms", "operator"])


def _end(name: str) -> str:
    """Return the end of a node's name, which distinguishes it from its neighbours."""
    return name if len(name) <= 24 else "…" + name[-23:]


def _inputs(found: dict[str, Any]) -> list[Markup]:
    """Return what was chosen or guessed for the inputs."""
    lines = []
    if found.get("sizes_note"):
        lines.append(html("<p>{}</p>", found["sizes_note"]))
    if samples := found.get("samples"):
        which = f"the first of {samples['count']} samples" if samples["count"] > 1 else "one sample"
        label = html(", labelled <b>{}</b>", samples["label"]) if samples.get("label") else ""
        lines.append(html("<p>Run on {} of <b>{}</b> ({}){}.</p>", which, samples["name"], samples["kind"], label))
        lines += [html("<p>{}</p>", message) for message in samples["messages"]]
    return lines


def preview(path: str | None) -> Markup:
    """Return a preview that the browser decodes (this process does not open the file), with the file's name and size."""
    if not path or not Path(path).is_file():
        return Markup()
    file = Path(path)
    kind, length = mimetypes.guess_type(file.name)[0] or "", file.stat().st_size
    content = Markup()
    if length <= PREVIEWED and kind.startswith(("image/", "audio/")):
        address = f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"
        markup = html('<img src="{}" alt="{}">', address, file.name) if kind.startswith("image/") else ""
        content = markup or html('<audio controls src="{}"></audio>', address)
    elif kind == "text/plain":
        with file.open(encoding="utf-8", errors="replace") as text:
            content = html("<blockquote>{}</blockquote>", text.read(TEXT))
    return card(content, html("<p>{}, {}</p>", file.name, size(length)), kind="mw-own-input")


CSS = """
.mw-own-input img { max-width: 100%; max-height: 180px; border-radius: 8px; }
.mw-own-input audio { max-width: 100%; } .mw-own-input p { margin: 6px 0 0; }
"""
