"""All tabs stand in one page: a class that two of them style must be the page's own."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from web import cards, theme
from web.shell import load_tab

SPACES = Path(__file__).parents[2] / "spaces"
CLASS = re.compile(r"\.(mw-[a-z0-9-]+)")


def test_no_tab_styles_another_tab_s_classes() -> None:
    tabs = defaultdict(set)
    for folder in sorted(path.parent for path in SPACES.glob("*/app.py")):
        for name in CLASS.findall(load_tab(folder).css):
            tabs[name].add(folder.name)
    shared = set(CLASS.findall(theme.CSS + cards.CSS))
    assert len(tabs) > 50
    assert {name: found for name, found in tabs.items() if len(found) > 1 and name not in shared} == {}
