"""The look of the page: a theme with system fonts (nothing is downloaded), and some CSS."""

from __future__ import annotations

import gradio as gr
from markupsafe import Markup

THEME = gr.themes.Base(
    primary_hue=gr.themes.colors.orange,
    secondary_hue=gr.themes.colors.teal,
    neutral_hue=gr.themes.colors.stone,
    radius_size=gr.themes.sizes.radius_lg,
    font=("ui-sans-serif", "system-ui", "Segoe UI", "DejaVu Sans", "sans-serif"),
    font_mono=("ui-monospace", "DejaVu Sans Mono", "monospace"),
).set(
    body_background_fill="*neutral_100",
    body_background_fill_dark="*neutral_950",
    block_shadow="0 1px 3px rgb(0 0 0 / 0.08)",
    # contrast of white on 700 is 5.2 : 1, on 600 only 3.6 : 1
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_hover="*primary_800",
    button_primary_background_fill_dark="*primary_700",
    button_primary_background_fill_hover_dark="*primary_800",
    button_primary_text_color="white",
    # subdued text: contrast of at least 7 : 1 on every background of the page
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_400",
    block_info_text_color="*neutral_600",
    block_info_text_color_dark="*neutral_400",
    block_label_text_color="*neutral_600",
    block_label_text_color_dark="*neutral_300",
    block_title_text_color="*neutral_600",
    block_title_text_color_dark="*neutral_300",
    link_text_color="*secondary_700",
    link_text_color_hover="*secondary_800",
    input_placeholder_color="*neutral_500",
    input_placeholder_color_dark="*neutral_400",
)

TITLE = "Model Workbench"
DESCRIPTION = "Generate images, inspect models, convert them and verify the result, and train image classifiers."

# in the index page, applied before Gradio's styles have loaded
EARLY_CSS = """
.mw-hidden { position: absolute; width: 1px; height: 1px; margin: -1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap; }
.gradio-container { width: 100% !important; max-width: 1180px !important; margin: 0 auto !important; }
.mw-drawing .gradio-container main, .mw-drawing footer { visibility: hidden; }
"""

HEADER = Markup("""
<header class="mw-header">
  <svg viewBox="0 0 48 48" width="44" height="44" aria-hidden="true">
    <rect x="4" y="27" width="40" height="6" rx="2" fill="#ea580c"/>
    <path d="M9 33v11M39 33v11" stroke="#ea580c" stroke-width="4" stroke-linecap="round"/>
    <path d="M12 23V10l12-5 12 5v13" fill="none" stroke="#0d9488" stroke-width="3" stroke-linejoin="round"/>
    <circle cx="12" cy="10" r="3.4" fill="#0d9488"/><circle cx="36" cy="10" r="3.4" fill="#0d9488"/>
    <circle cx="24" cy="5" r="3.4" fill="#0d9488"/><circle cx="24" cy="19" r="4.4" fill="#f59e0b"/>
  </svg>
  <div><h1>Model Workbench</h1><p>Generate images. Inspect, convert and train models.</p></div>
</header>
""")

FOOTER = Markup("""
<p class="mw-footer">Uploads and results are kept for {hours} hours, training runs for {days} days. Apache-2.0 licence.
<a href="./docs">REST API</a></p>
""")

CSS = """
.gradio-container > main, .gradio-container .wrap > .tabs { width: 100%; }
.mw-header { display: flex; align-items: center; gap: 14px; padding: 10px 4px 2px; }
.mw-header h1 { font-size: 1.6rem; line-height: 1.15; margin: 0; letter-spacing: -0.02em; }
.mw-header p { margin: 2px 0 0; color: var(--body-text-color-subdued); }
.mw-bar { height: 6px; border-radius: 3px; background: rgb(255 255 255 / 0.3); margin-top: 8px; overflow: hidden; }
.mw-bar > i { display: block; height: 100%; background: #f97316; }
.html-container { padding: 0 !important; }
.mw-heading { position: absolute !important; }
.tabitem { position: relative; }
footer .divider { display: none; }
.dark { color-scheme: dark; } /* scrollbars, and what else the browser draws */
/* where the keyboard is */
:root { --mw-focus: #c2410c; } .dark { --mw-focus: #fdba74; }
.gradio-container :is(a, button, summary, input, textarea, select, [tabindex], [role=tab]):focus-visible {
  outline: 3px solid var(--mw-focus) !important; outline-offset: -3px !important; }
.gradio-container :is(input[type=range], input[type=checkbox], input[type=radio]):focus-visible {
  outline-offset: 2px !important; }
/* gradio's orange is 2.6 : 1 in light */
.gradio-container [role=tab][aria-selected=true] { color: var(--mw-focus); }
.gradio-container button.primary:focus-visible { outline-color: #fff !important; outline-offset: -6px !important; }
.mw-footer { margin: 0; text-align: center; font-size: 0.86rem; color: var(--body-text-color-subdued); }
.mw-footer a { color: inherit; text-decoration: underline; }
@media (max-width: 480px) { /* four tabs in one line */
  #tabs > div > [role=tablist] > [role=tab] { padding-left: 9px; padding-right: 9px; font-size: 0.92rem; } }
@media (max-width: 768px) {
  .mw-columns { flex-direction: column !important; align-items: stretch !important; }
  .mw-columns > .column { width: 100% !important; }
  .mw-columns .row > *:not(button), .mw-columns .column { min-width: 0 !important; }
  .mw-columns .row > .mw-dice { min-width: 140px !important; }
  .mw-side { display: contents !important; }
  .mw-first { order: 1; } .mw-second { order: 2; } .mw-third { order: 3; } .mw-fourth { order: 4; }
}
"""
