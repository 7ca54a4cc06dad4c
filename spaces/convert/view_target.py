"""HTML of targets and routes, and the table of all conversions."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from lib.convert.formats import APP
from web.cards import card, chip
from web.html import html, join, row

from .figures import number, seconds_text
from .targets import LOSSY
from .view_shared import messages, table, title

COLUMNS = ("conversion", "available", "tool", "precision", "time", "typical error")
INVITE = {
    "int8": "Add samples of real inputs below. Some calibrate the ranges, the others test the result. Without samples, a "
    "file with static ranges is not proven.",
    "fp16": "Add samples of real inputs below to test whether the answers stay the same on your data.",
}


def choice(target: dict[str, Any]) -> str:
    """Return the label of a target: its title, the formats on the way, and a rough time."""
    between = titles(target)[1:-1]
    via = f" · via {' → '.join(between)}" if between else ""
    later = " · needs a download first" if target.get("install_mb") else ""
    return f"{target['title']}{via} · about {seconds_text(target.get('seconds'))}{later}"


def titles(target: dict[str, Any]) -> list[str]:
    return list(target.get("titles") or target["route"])


def route(target: dict[str, Any], samples: bool = False) -> Markup:
    """Return the card of the chosen route: its formats, the tool of each hop, the duration and notes."""
    names, tools = titles(target), target.get("tools", [])
    parts = [html('<span class="mw-stop">{}</span>', names[0])] if names else []
    for k, name in enumerate(names[1:]):
        tool = tools[k] if k < len(tools) else ""
        parts.append(html('<span class="mw-hop">→ <small>{}</small></span>', tool))
        parts.append(html('<span class="mw-stop">{}</span>', name))
    error = target.get("error")
    usual = f" Typical error: {number(error)} of the output's range." if error else ""
    where = "from earlier runs on this machine" if target.get("measured") else "an estimate before the first run here"
    rough = f"About {seconds_text(target.get('seconds'))}, {where}.{usual}"
    if target.get("install_mb"):
        rough += f" {_install(target['install_mb'])}"
    invite = ""
    if not samples and target.get("precision") in LOSSY:
        invite = html('<p class="mw-invite">{}</p>', INVITE[target["precision"]])
    hops = html('<div class="mw-route">{}</div><p>{}</p>', join(parts), rough)
    return card(hops, messages(target.get("notes", [])), invite)


def _install(megabytes: int) -> str:
    return f"The first conversion downloads and installs its packages ({megabytes:,} MB on disk; needs a network)."


def blocked(reasons: dict[str, str]) -> Markup:
    """Return the targets that are not available here, with the reasons, in closed details."""
    if not reasons:
        return Markup()
    rows = join(html("<li><b>{}</b>: {}</li>", title(name), reason) for name, reason in reasons.items())
    return html(
        '<details class="mw-card"><summary>Not possible here ({})</summary><ul class="mw-messages">{}</ul></details>',
        len(reasons),
        rows,
    )


def conversion_table(rows: list[dict[str, Any]]) -> Markup:
    """Return the table of all known conversions, including those that cannot run here."""
    return card(table("mw-rows", COLUMNS, map(_conversion, rows)), kind="mw-scroll")


def _conversion(one: dict[str, Any]) -> Markup:
    name = html("<b>{} → {}</b><br><small>{}</small>", one["source_title"], one["target_title"], _to_know(one))
    figures = seconds_text(one.get("seconds")), number(one.get("error"))
    return row(name, _here(one), one["tool"], one["precision"], *figures)


def _to_know(row: dict[str, Any]) -> str:
    if not row["runs_here"]:
        return str(row["why_not"])
    if row.get("environment", APP) == APP:
        return str(row["note"])
    installation = "are installed" if not row.get("install_mb") else "are downloaded and installed on first use"
    return f"{row['note']} Its packages ({row['environment']}) {installation}.".strip()


def _here(row: dict[str, Any]) -> Markup:
    if not row["runs_here"]:
        return chip("no", "warning")
    if row.get("install_mb"):
        return chip(f"after a download of {row['install_mb']:,} MB")
    return chip("yes", "ok")
