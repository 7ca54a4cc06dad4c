"""What the converter says of targets and routes, and the table of all conversions, as HTML."""

from __future__ import annotations

from typing import Any

from lib.convert.formats import APP
from web.cards import e

from .figures import number, seconds_text
from .targets import LOSSY
from .view_shared import head, messages, title

COLUMNS = ("conversion", "available", "tool", "precision", "time", "typical error")
INVITE = {
    "int8": "Add samples of real inputs below. Some calibrate the ranges, the others test the result. Without samples, a "
    "file with static ranges is not proven.",
    "fp16": "Add samples of real inputs below to test whether the answers stay the same on your data.",
}


def choice(target: dict[str, Any]) -> str:
    """A target as it stands in the list: its title, what lies between, and a rough time."""
    between = titles(target)[1:-1]
    via = f" · via {' → '.join(between)}" if between else ""
    later = " · needs a download first" if target.get("install_mb") else ""
    return f"{target['title']}{via} · about {seconds_text(target.get('seconds'))}{later}"


def titles(target: dict[str, Any]) -> list[str]:
    return list(target.get("titles") or target["route"])


def route(target: dict[str, Any], samples: bool = False) -> str:
    """The chosen way: formats with the tool of every hop, and what the tools do to the model."""
    names, tools = titles(target), target.get("tools", [])
    parts = [f'<span class="mw-stop">{e(names[0])}</span>'] if names else []
    for k, name in enumerate(names[1:]):
        tool = e(tools[k]) if k < len(tools) else ""
        parts.append(f'<span class="mw-hop">→ <small>{tool}</small></span><span class="mw-stop">{e(name)}</span>')
    error = target.get("error")
    usual = f" Typical error: {number(error)} of the output's range." if error else ""
    where = "measured on this machine" if target.get("measured") else "estimated: not run on this machine yet"
    rough = f"About {seconds_text(target.get('seconds'))}, {where}.{usual}"
    if target.get("install_mb"):
        rough += f" {_install(target['install_mb'])}"
    invite = (
        ""
        if samples or target.get("precision") not in LOSSY
        else f'<p class="mw-invite">{e(INVITE[target["precision"]])}</p>'
    )
    notes = messages(target.get("notes", []))
    return f'<div class="mw-card"><div class="mw-route">{"".join(parts)}</div><p>{e(rough)}</p>{notes}{invite}</div>'


def _install(megabytes: int) -> str:
    return f"The first conversion downloads and installs its packages ({megabytes:,} MB on disk; needs a network)."


def blocked(reasons: dict[str, str]) -> str:
    """Targets that something missing keeps away, in a fold."""
    if not reasons:
        return ""
    rows = "".join(f"<li><b>{e(title(name))}</b>: {e(why)}</li>" for name, why in reasons.items())
    summary = f"<summary>Not possible here ({len(reasons)})</summary>"
    return f'<details class="mw-card">{summary}<ul class="mw-messages">{rows}</ul></details>'


def conversion_table(rows: list[dict[str, Any]]) -> str:
    """Everything this installation knows, also what cannot run here."""
    cells = "".join(
        f"<tr><td><b>{e(r['source_title'])} → {e(r['target_title'])}</b><br>"
        f"<small>{e(_to_know(r))}</small></td><td>{_here(r)}</td><td>{e(r['tool'])}</td>"
        f"<td>{e(r['precision'])}</td><td>{seconds_text(r.get('seconds'))}</td><td>{number(r.get('error'))}</td></tr>"
        for r in rows
    )
    return f'<div class="mw-card mw-scroll"><table class="mw-grid mw-rows"><tr>{head(COLUMNS)}</tr>{cells}</table></div>'


def _to_know(row: dict[str, Any]) -> str:
    if not row["runs_here"]:
        return str(row["why_not"])
    if row.get("environment", APP) == APP:
        return str(row["note"])
    there = "are installed" if not row.get("install_mb") else "are downloaded and installed on first use"
    return f"{row['note']} Its packages ({row['environment']}) {there}.".strip()


def _here(row: dict[str, Any]) -> str:
    if not row["runs_here"]:
        return '<span class="mw-chip warning">no</span>'
    if row.get("install_mb"):
        return f'<span class="mw-chip">after a download of {row["install_mb"]:,} MB</span>'
    return '<span class="mw-chip ok">yes</span>'
