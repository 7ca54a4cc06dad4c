"""A run as HTML and tables, and a visitor's own input as the browser shows it. Everything foreign is escaped."""

from __future__ import annotations

import base64
import mimetypes
from pathlib import Path
from typing import Any

import pandas as pd

from lib.reports.markdown import engine, figure, latency, measured_on
from lib.reports.words import shape_text, size
from web.cards import e

from .view import MOST_ROWS, part

PROFILE_COLUMNS = ["node", "operator", "ms", "share %", "calls", "M MACs", "GMAC/s"]
HEAD = {True: "{} matches {}", False: "{} and {} give different outputs", None: "Only one runtime produced outputs"}
PREVIEWED = 8 << 20  # bytes of a picture or a sound that is shown before it is used
TEXT = 600  # characters of a text


def result(found: dict[str, Any]) -> str:
    """Do the two runtimes agree, how fast is one, and what came out."""
    (ours, name, against), other = engine(found), found["reference"]
    head = HEAD[found["agree"]].format(name, against)
    state = {True: ("ok", "agree"), False: ("error", "differ"), None: ("warning", "not compared")}[found["agree"]]
    lines = [f'<p class="mw-verdict"><span class="mw-chip {state[0]}">{state[1]}</span> {e(head)}</p>']
    lines += _top(found)
    for which, one in ((name, ours), ("Reference", other)):
        if "error" in one:
            lines.append(f"<p>{which} {e(one['version'])}: {e(one['error'])}</p>")
    if "latency_ms" in ours:
        lines.append(f"<p>{e(latency(ours))}</p><p><small>{e(measured_on(ours))}</small></p>")
    lines += _inputs(found)
    gaps = "".join(
        f"<tr><td><code>{e(d['name'])}</code></td><td>{'agrees' if d['agree'] else 'differs'}</td>"
        f"<td>{figure(d.get('max_abs'))}</td>"
        f"<td>{figure(d.get('max_rel'))}</td><td>{figure(d.get('cosine'))}</td>"
        f"<td>{_tolerance(d)}</td><td>{e(d.get('why', ''))}</td></tr>"
        for d in found["differences"]
    )
    if gaps:
        head = "<tr><th>output</th><td></td><th>max abs</th><th>max rel</th><th>cosine</th><th>tolerance</th><td></td></tr>"
        lines.append(f'<div class="mw-scroll"><table class="mw-plain">{head}{gaps}</table></div>')
    for kind in ("inputs", "outputs"):
        for value in found[kind]:
            values = f": {e(_short(value['values']))}" if value.get("values") is not None else ""
            shape = shape_text(value["shape"]) if value["shape"] is not None else ""
            lines.append(
                f"<p class='mw-array'>{kind[:-1]} <code>{e(value['name'])}</code> {e(value['dtype'])} {e(shape)}{values}</p>"
            )
    if ours.get("profile"):
        lines.append(
            "<p><small>The profile below lists the nodes of onnxruntime's optimized graph. Profiled runs are slower than "
            "timed runs.</small></p>"
        )
    return f'<div class="mw-card">{"".join(lines)}</div>'


def _top(found: dict[str, Any]) -> list[str]:
    """The labels with the highest scores, where the model's file names them."""
    rows = "".join(f"<tr><td>{e(one['label'])}</td><td>{one['score']:.3f}</td></tr>" for one in found.get("top") or ())
    return [f'<table class="mw-plain mw-top">{rows}</table>'] if rows else []


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
    return pd.DataFrame(rows[:MOST_ROWS], columns=PROFILE_COLUMNS)


def profile_plot(found: dict[str, Any]) -> pd.DataFrame:
    """The eight slowest."""
    rows = engine(found)[0].get("profile", [])
    shown = [(f"{k + 1}: {_end(r['node'])}", round(r["ms"], 4), r["operator"]) for k, r in enumerate(rows[:8])]
    return pd.DataFrame(shown, columns=["node", "ms", "operator"])


def _end(name: str) -> str:
    """Of a node's name, the part that tells it from its neighbours."""
    return name if len(name) <= 24 else "…" + name[-23:]


def _inputs(found: dict[str, Any]) -> list[str]:
    """What was made up or guessed of the inputs."""
    out = []
    if found.get("sizes_note"):
        out.append(f"<p>{e(found['sizes_note'])}</p>")
    if samples := found.get("samples"):
        first = f"the first of {samples['count']} samples" if samples["count"] > 1 else "one sample"
        label = f", labelled <b>{e(samples['label'])}</b>" if samples.get("label") else ""
        out.append(f"<p>Run on {first} of <b>{e(samples['name'])}</b> ({e(samples['kind'])}){label}.</p>")
        out += [f"<p>{e(words)}</p>" for words in samples["messages"]]
    return out


def preview(path: str | None) -> str:
    """A picture or a sound as the browser shows it: its bytes are not opened here. Else the name and the size."""
    if not path or not Path(path).is_file():
        return ""
    file = Path(path)
    kind, length = mimetypes.guess_type(file.name)[0] or "", file.stat().st_size
    shown = ""
    if length <= PREVIEWED and kind.startswith(("image/", "audio/")):
        address = f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"
        element = f'<img src="{address}" alt="{e(file.name)}">' if kind.startswith("image/") else ""
        shown = element or f'<audio controls src="{address}"></audio>'
    elif kind == "text/plain":
        with file.open(encoding="utf-8", errors="replace") as text:
            shown = f"<blockquote>{e(text.read(TEXT))}</blockquote>"
    return f'<div class="mw-card mw-own-input">{shown}<p>{e(file.name)}, {e(size(length))}</p></div>'


CSS = """
.mw-own-input img { max-width: 100%; max-height: 180px; border-radius: 8px; }
.mw-own-input audio { max-width: 100%; } .mw-own-input p { margin: 6px 0 0; }
"""
