"""Cards of the page as HTML: progress, failures, chips. ``web/html.py`` escapes everything that is not our own HTML."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from lib.errors import Cancelled, InvalidValue, WorkbenchError
from web.html import html, join

MAX_GIVEN = 80  # characters of an invalid value in a message


def card(*parts: object, kind: str = "", say: str | None = None) -> Markup:
    """``kind``: additional CSS classes. ``say``: what screen readers announce when the card appears."""
    spoken = "" if say is None else html(' data-say="{}"', say)
    return html('<div class="{}"{}>{}</div>', f"mw-card {kind}".strip(), spoken, join(parts))


def chip(words: object, kind: str = "") -> Markup:
    return html('<span class="{}">{}</span>', f"mw-chip {kind}".strip(), words)


def idle(words: str) -> Markup:
    return card(words, kind="mw-idle-card")


def bar(share: float | None) -> Markup:
    """Returns a progress bar for a share of 0 to 1. None (unknown) is shown as 0."""
    return html(
        '<div class="mw-bar" role="progressbar" aria-label="Progress" aria-valuenow="{0:.0f}">'
        '<i style="width:{0:.0f}%"></i></div>',
        (share or 0) * 100,
    )


def quarter(words: str, share: float | None) -> str:
    """Returns the announcement for screen readers: the start and each quarter, not every step."""
    percent = int((share or 0) * 4) * 25
    return f"{words}, {percent} %" if percent else words


def progress(stage: str, share: float | None) -> Markup:
    return card(stage, " …", bar(share), say=quarter(stage, share))


def sentence(error: WorkbenchError, labels: Mapping[str, str] | None = None) -> str:
    """Formats ``error`` for the page. API clients get ``error.message``, which contains the API's name of the field.

    ``labels``: the page's labels of fields that it names differently.
    """
    if not isinstance(error, InvalidValue) or not getattr(error, "field", ""):  # a child process may leave it out
        return error.message
    field, allowed = (labels or {}).get(error.field) or error.field.replace("_", " ").capitalize(), error.allowed
    end = "" if allowed.endswith("?") else "."
    if error.given is None or error.given == "":
        return f"{field} is missing. Allowed: {allowed}{end}"
    text = str(error.given)
    shown = text if len(text) <= MAX_GIVEN else f"{text[: MAX_GIVEN - 1]}…"
    return f"{field} cannot be “{shown}”. Allowed: {allowed}{end}"


def failed(error: WorkbenchError, word: str, still: str = "", labels: Mapping[str, str] | None = None) -> Markup:
    """Formats ``error`` as a card; Cancelled is not shown as a failure.

    ``still``: the model that remains open. ``labels``: see ``sentence``.
    """
    after = html("<p><b>{}</b> is still the open model.</p>", still) if still else ""
    if isinstance(error, Cancelled):
        return idle(html('<span data-say="Stopped.">Stopped.</span>{}', after))
    words = sentence(error, labels)
    return card(chip(word, "error"), " ", words, after, say=words)


CSS = """
.mw-card { padding: 14px 16px; border-radius: 12px; background: var(--block-background-fill); overflow-wrap: anywhere;
  border: 1px solid var(--border-color-primary); line-height: 1.5; }
.mw-card p { margin: 0 0 6px; } .mw-card h3 { margin: 8px 0 2px; font-size: 0.9rem; color: var(--body-text-color-subdued); }
.mw-card .mw-bar { background: var(--border-color-primary); }
.mw-idle-card { color: var(--body-text-color-subdued); text-align: center; padding: 44px 20px; }
.mw-verdict { font-size: 1.15rem; }
.mw-chip { display: inline-block; padding: 1px 9px; border-radius: 999px; font-size: 0.8rem; font-weight: 600; color: #fff;
  background: #57534e; } .mw-chip.ok { background: #15803d; } .mw-chip.warning { background: #b45309; }
.mw-chip.error { background: #b91c1c; }
.mw-facts { display: grid; grid-template-columns: max-content 1fr; gap: 3px 14px; margin: 8px 0; }
.mw-facts dt { color: var(--body-text-color-subdued); } .mw-facts dd { margin: 0; min-width: 0; }
.mw-values { display: flex; gap: 28px; flex-wrap: wrap; } .mw-values > div { min-width: 0; }
.mw-card table { border-collapse: collapse; width: auto; border: 0; margin: 0; } .mw-card tr { border: 0; }
 .mw-card td, .mw-card th { padding: 3px 14px 3px 0; text-align: left;
  border: 0; vertical-align: top; }
.mw-scroll, .mw-values > div { overflow-x: auto; }
.mw-plain td, .mw-plain th, .mw-values td:nth-child(2) { white-space: nowrap; overflow-wrap: normal; }
.mw-values td:first-child { min-width: 3.5em; } .mw-values td:last-child { overflow-wrap: normal; }
.mw-plain td:last-child { white-space: normal; }
.mw-link { color: var(--link-text-color); text-decoration: underline; background: none; border: 0; padding: 0; font: inherit;
  cursor: pointer; overflow-wrap: anywhere; text-align: left; min-height: 24px; }
.mw-link:hover { color: var(--link-text-color-hover); }
.dark .mw-link { color: var(--link-text-color-active, #2dd4bf); }
.mw-card code { background: var(--background-fill-secondary); padding: 0 4px; border-radius: 4px; }
.mw-table, .mw-table > *, .mw-inner, .mw-inner .tabitem,
.mw-inner .tabitem > .column { min-width: 0 !important; max-width: 100%; }
@media (max-width: 768px) { .mw-card { max-width: calc(100vw - 64px); } .mw-inner { width: calc(100vw - 64px) !important; }
  .mw-table { width: calc(100vw - 64px) !important; overflow-x: auto !important; }
}
@media (max-width: 520px) { .mw-facts { grid-template-columns: 1fr; } .mw-facts dt { margin-top: 6px; } }
"""
