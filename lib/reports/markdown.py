"""A run as Markdown, and the pieces of a report: text from a model without anything that Markdown acts on."""

from __future__ import annotations

from typing import Any

from lib.reports.words import plural

# of a run, the key of the runtime that is timed: what it is called, and what it is compared with
ENGINES = {"onnxruntime": ("onnxruntime", "the reference evaluator"), "litert": ("LiteRT", "its reference kernels")}


def engine(run: dict[str, Any]) -> tuple[dict[str, Any], str, str]:
    """What the timed runtime answered, its name, and the name of what it was compared with."""
    key = next(one for one in ENGINES if one in run)
    return run[key], *ENGINES[key]


def run_lines(run: dict[str, Any]) -> list[str]:
    """A run as Markdown: agreement, latency with its machine, differences."""
    ours, name, other = engine(run)
    agree = {True: "agree", False: "differ", None: "were not compared"}[run["agree"]]
    out = ["", "## Run", "", f"{name} {ours['version']} and {other} {agree}."]
    for said, one in ((name, ours), (other.capitalize(), run["reference"])):
        if "error" in one:
            out += ["", f"{said}: {sentence(one['error'])}"]
    if run.get("sizes_note"):
        out += ["", f"Sizes: {cell(run['sizes_note'])}"]
    for words in (run.get("samples") or {}).get("messages", []):
        out += ["", sentence(words)]
    if "latency_ms" in ours:
        out += ["", cell(latency(ours))]
        out += ["", cell(measured_on(ours))]
    if run["differences"]:
        out += ["", "| output | | max abs | max rel | cosine |", "|---|---|---|---|---|"]
        out += [
            f"| {code(d['name'])} | {'agrees' if d['agree'] else 'differs'} "
            f"| {figure(d.get('max_abs'))} | {figure(d.get('max_rel'))} | {figure(d.get('cosine'))} |"
            for d in run["differences"]
        ]
    if ours.get("profile"):
        out += ["", "| slowest nodes | operator | ms | share |", "|---|---|---|---|"]
        out += [
            f"| {code(r['node'])} | {cell(r['operator'])} | {figure(r['ms'])} | {r['share']:.0%} |"
            for r in ours["profile"][:10]
        ]
    return out


def latency(ours: dict[str, Any]) -> str:
    marks = ours["latency_ms"]
    words = (
        f"Latency over {ours['runs']} runs: median {figure(marks['p50'])} ms, p5 {figure(marks['p5'])}, "
        f"p95 {figure(marks['p95'])}, p99 {figure(marks['p99'])}; first run {figure(ours['first_ms'])} ms, "
        f"loading {figure(ours['load_ms'])} ms."
    )
    return words + (" Noisy: other work on this machine, probably; take the p5." if ours.get("noisy") else "")


def measured_on(ours: dict[str, Any]) -> str:
    """The machine in one sentence."""
    found = ours.get("machine") or {}
    if not found:
        return ""
    threads = f"{plural(found['threads'], 'thread')}, " if found.get("threads") else ""
    return (
        f"Measured on {found['processor']}, {found['cores']} cores, {threads}{found['provider']}, "
        f"after {plural(found.get('warm_up_runs', 0), 'warm-up run')}."
    )


def figure(value: float | None) -> str:
    """Three digits, and never 1.22e+03."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}"


def code(text: str) -> str:
    clean = "".join(c if c.isprintable() else " " for c in str(text)).replace("`", "'").replace("|", "¦")
    return f"`{clean[:200]}`" if clean.strip() else "–"


def cell(text: object) -> str:
    clean = "".join(c if c.isprintable() else " " for c in str(text))
    for c in "\\`*_[]<>|#~":
        clean = clean.replace(c, f"\\{c}")
    return clean[:1000]


def sentence(text: object) -> str:
    words = cell(text).rstrip()
    return words if words.endswith((".", "!", "?", ":", "…")) else f"{words}."
