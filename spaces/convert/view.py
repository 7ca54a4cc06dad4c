"""The tab's CSS, and the text of its page before a model is open."""

from __future__ import annotations

from . import picture

IDLE = "Drop a model, or choose an architecture by name, to see what it is and what it can be converted to."

CSS = (
    picture.CSS
    + """
.mw-proof { border-left-width: 8px; } .mw-proof.ok { border-left-color: #15803d; }
.mw-proof.warning { border-left-color: #b45309; } .mw-proof.error { border-left-color: #b91c1c; }
.mw-word { font-size: 1.9rem; font-weight: 800; line-height: 1.2; letter-spacing: -0.01em; }
.mw-proof.ok .mw-word { color: #15803d; } .mw-proof.warning .mw-word { color: #b45309; }
.mw-proof.error .mw-word { color: #b91c1c; }
.dark .mw-proof.ok .mw-word { color: #4ade80; } .dark .mw-proof.warning .mw-word { color: #fbbf24; }
.dark .mw-proof.error .mw-word { color: #f87171; }
.mw-route { display: flex; flex-wrap: wrap; gap: 6px 8px; align-items: center; margin-bottom: 6px; }
.mw-stop { padding: 2px 10px; border-radius: 8px; background: var(--background-fill-secondary); font-weight: 600; }
.mw-hop { color: var(--body-text-color-subdued); }
.mw-messages { margin: 6px 0 0 18px; padding: 0; list-style: disc; } .mw-messages li { margin: 2px 0; }
.mw-card .mw-grid th { color: var(--body-text-color-subdued); font-weight: 500; }
.mw-card .mw-grid td, .mw-card .mw-grid th { overflow-wrap: normal; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
.mw-card .mw-grid td:last-child { white-space: normal; min-width: 160px; }
.mw-card .mw-rows td { border-top: 1px solid var(--border-color-primary); }
.mw-card .mw-rows td:first-child { white-space: normal; min-width: 260px; }
.mw-card .mw-rows td:nth-child(3) { white-space: normal; } .mw-card .mw-rows td:last-child { min-width: 0; }
.mw-sizes tr:first-child td { color: var(--body-text-color-subdued); }
.mw-stale { opacity: 0.55; }
.mw-summary { font-size: 1.08rem; font-weight: 600; }
.mw-questions { border-top: 1px solid var(--border-color-primary); padding-top: 8px; }
.mw-questions dt { color: var(--body-text-color); font-weight: 600; }
.mw-elapsed { color: var(--body-text-color-subdued); font-variant-numeric: tabular-nums; }
.mw-invite { margin-top: 8px !important; border-left: 4px solid #0d9488; padding-left: 10px; }
.mw-help { margin: 4px 2px; padding: 0 4px; font-size: 0.88rem; color: var(--body-text-color-subdued); }
.mw-sample-strip { display: flex; flex-wrap: wrap; gap: 8px; margin: 6px 0; }
.mw-sample-strip figure { margin: 0; text-align: center; }
.mw-sample-strip img { width: 56px; height: 56px; object-fit: contain; border-radius: 6px; display: block;
  background: var(--background-fill-secondary); } .mw-sample-strip figcaption { font-size: 0.75rem; }
.mw-card details summary { cursor: pointer; }
.mw-card .mw-several td, .mw-card .mw-several th { padding: 4px 10px 4px 0; font-size: 0.88rem; }
.mw-card .mw-several td:first-child { min-width: 120px; } .mw-card .mw-several td:last-child { min-width: 76px; }
.mw-card .mw-several th { white-space: normal; }
.mw-card .mw-several tr:first-child td { border-top: 0; } .mw-several td { vertical-align: top; }
.mw-several .mw-link, .mw-several a { padding: 0; font-size: 0.88rem; font-weight: 400; }
.mw-layers { max-height: 460px; overflow: auto; }
.json-node .value { color: #9a3412 !important; } .json-node .value.number { color: #0f766e !important; }
.dark .json-node .value { color: #fdba74 !important; } .dark .json-node .value.number { color: #5eead4 !important; }
#convert-remedies button { text-align: left; justify-content: flex-start; white-space: normal; }
#convert-targets .wrap { flex-direction: column; align-items: stretch; gap: 6px; }
#convert-targets label { padding-top: 5px; padding-bottom: 5px; }
#convert-targets label { white-space: normal; }
@media (max-width: 768px) { #convert-table { width: calc(100vw - 90px) !important; } }
"""
)
