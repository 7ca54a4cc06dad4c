"""A run as HTML and tables, and a visitor's own input as the browser shows it."""

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
PREVIEWED = 8 << 20  # bytes of a picture or a sound that is shown before it is used
TEXT = 600  # characters of a text


def result(found: dict[str, Any]) -> Markup:
    """Do the two runtimes agree, how fast is one, and what came out."""
    (ours, name, against), other = engine(found), found["reference"]
    head = HEAD[found["agree"]].format(name, against)
    state = {True: ("agree", "ok"), False: ("differ", "error"), None: ("not compared", "warning")}[found["agree"]]
    lines = [html('<p class="mw-verdict">{} {}</p>', chip(*state), head)]
    lines += _top(found)
    for which, one in ((name, ours), ("Reference", other)):
        if "error" in one:
            lines.append(html("<p>{} {}: {}</p>", which, one["version"], one["error"]))
    if "latency_ms" in ours:
        lines.append(html("<p>{}</p><p><small>{}</small></p>", latency(ours), measured_on(ours)))
    lines += _inputs(found)
    if gaps := join(map(_gap, found["differences"])):
        lines.append(html('<div class="mw-scroll"><table class="mw-plain">{}{}</table></div>', GAPS, gaps))
    for kind in ("inputs", "outputs"):
        for value in found[kind]:
            values = f": {_short(value['values'])}" if value.get("values") is not None else ""
            shape = shape_text(value["shape"]) if value["shape"] is not None else ""
            about = f" {value['dtype']} {shape}{values}"
            lines.append(html('<p class="mw-array">{} {}{}</p>', kind[:-1], code(value["name"]), about))
    if ours.get("profile"):
        lines.append(PROFILED)
    return card(*lines)


def _gap(d: dict[str, Any]) -> Markup:
    figures = (figure(d.get(key)) for key in ("max_abs", "max_rel", "cosine"))
    return row(code(d["name"]), "agrees" if d["agree"] else "differs", *figures, _tolerance(d), d.get("why", ""))


def _top(found: dict[str, Any]) -> list[Markup]:
    """The labels with the highest scores, where the model's file names them."""
    rows = join(row(one["label"], f"{one['score']:.3f}") for one in found.get("top") or ())
    return [html('<table class="mw-plain mw-top">{}</table>', rows)] if rows else []


def _short(values: Any) -> str:
    """Six digits of each number; the first of many."""
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
    """The eight slowest."""
    rows = engine(found)[0].get("profile", [])
    shown = [(f"{k + 1}: {_end(r['node'])}", round(r["ms"], 4), r["operator"]) for k, r in enumerate(rows[:8])]
    return pd.DataFrame(shown, columns=["node", "ms", "operator"])


def _end(name: str) -> str:
    """Of a node's name, the part that tells it from its neighbours."""
    return name if len(name) <= 24 else "…" + name[-23:]


def _inputs(found: dict[str, Any]) -> list[Markup]:
    """What was made up or guessed of the inputs."""
    out = []
    if found.get("sizes_note"):
        out.append(html("<p>{}</p>", found["sizes_note"]))
    if samples := found.get("samples"):
        first = f"the first of {samples['count']} samples" if samples["count"] > 1 else "one sample"
        label = html(", labelled <b>{}</b>", samples["label"]) if samples.get("label") else ""
        out.append(html("<p>Run on {} of <b>{}</b> ({}){}.</p>", first, samples["name"], samples["kind"], label))
        out += [html("<p>{}</p>", words) for words in samples["messages"]]
    return out


def preview(path: str | None) -> Markup:
    """A picture or a sound as the browser shows it: its bytes are not opened here. Else the name and the size."""
    if not path or not Path(path).is_file():
        return Markup()
    file = Path(path)
    kind, length = mimetypes.guess_type(file.name)[0] or "", file.stat().st_size
    shown = Markup()
    if length <= PREVIEWED and kind.startswith(("image/", "audio/")):
        address = f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"
        element = html('<img src="{}" alt="{}">', address, file.name) if kind.startswith("image/") else ""
        shown = element or html('<audio controls src="{}"></audio>', address)
    elif kind == "text/plain":
        with file.open(encoding="utf-8", errors="replace") as text:
            shown = html("<blockquote>{}</blockquote>", text.read(TEXT))
    return card(shown, html("<p>{}, {}</p>", file.name, size(length)), kind="mw-own-input")


CSS = """
.mw-own-input img { max-width: 100%; max-height: 180px; border-radius: 8px; }
.mw-own-input audio { max-width: 100%; } .mw-own-input p { margin: 6px 0 0; }
"""
