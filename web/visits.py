"""The last result of each visitor: one value per tab, until it is replaced, expires, or is evicted.

Knows keys, ages and sizes; does not know what a value is, and nothing of gradio. A visitor is 128 random bits that only
the visitor's browser keeps. A value may have ``close()``, called when it is released; ``folder``, the path of its
files, whose size counts towards ``MAX_BYTES``; and ``there()``, which says whether its files still exist.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

KEY = re.compile(r"[0-9a-f]{32}")
MAX_VISITORS = 200
MAX_BYTES = 8 << 30  # of all folders together
GONE_SECONDS = 3600.0  # a page may lose its connection and come back


@dataclass(slots=True, eq=False)
class _Item:
    value: Any
    since: float
    bytes: int
    holders: int = 0


@dataclass(slots=True)
class _Session:
    """An open page. ``left`` is when its connection ended."""

    key: str = ""
    left: float | None = None
    items: dict[str, _Item] = field(default_factory=dict)


def is_key(key: object) -> bool:
    """Whether this is a visitor's key at all: it comes from the browser."""
    return isinstance(key, str) and KEY.fullmatch(key) is not None


class Visits:
    """An open page holds its values, and so does the store: what another page replaces stays for those who show it."""

    def __init__(self, hours: float, max_visitors: int = MAX_VISITORS, max_bytes: int = MAX_BYTES) -> None:
        self.seconds, self.max_visitors, self.max_bytes = hours * 3600, max_visitors, max_bytes
        self._lock = threading.RLock()
        self._sessions: dict[str, _Session] = {}
        self._kept: OrderedDict[str, dict[str, _Item]] = OrderedDict()  # by key; who came last stands last

    def arrive(self, session: str, key: str) -> str:
        """Says whose page ``session`` is. Returns the visitor's key: a new one where ``key`` is none."""
        with self._lock:
            key = key if is_key(key) else secrets.token_hex(16)
            page = self._page(session)
            if session and page.key != key:
                page.key = key
                for slug, item in page.items.items():  # kept before the browser had told its key
                    self._store(key, slug, item)
            self.sweep()
            return key

    def leave(self, session: str) -> None:
        """The page's connection has ended; an hour later it lets go what it holds."""
        with self._lock:
            if (page := self._sessions.get(session)) is not None:
                page.left = time.monotonic()

    def keep(self, session: str, slug: str, value: Any) -> None:
        """``value`` takes the place of what this page, and its visitor, had in that tab. None takes it away."""
        item = None if value is None else _Item(value, time.monotonic(), _size(getattr(value, "folder", "")))
        with self._lock:
            page = self._page(session)
            self._hold(page.items, slug, item)
            if page.key:
                self._store(page.key, slug, item)
            self.sweep()

    def recall(self, session: str, slug: str) -> Any:
        """What the visitor of this page had last in that tab, or None. The page holds it from now on."""
        with self._lock:
            page = self._page(session)
            item = self._kept.get(page.key, {}).get(slug)
            if item is not None and not getattr(item.value, "there", lambda: True)():
                self._store(page.key, slug, None)
                item = None
            self._hold(page.items, slug, item)
            if item is not None:
                self._kept.move_to_end(page.key)
            return None if item is None else item.value

    def sweep(self) -> None:
        """Releases expired values, values of closed pages, and those of the least recent visitors beyond the limits."""
        with self._lock:
            now = time.monotonic()
            for session, page in list(self._sessions.items()):
                if page.left is not None and now - page.left > GONE_SECONDS:
                    self._drop(page.items)
                    del self._sessions[session]
            for key, items in list(self._kept.items()):
                for slug in [s for s, item in items.items() if now - item.since > self.seconds]:
                    self._hold(items, slug, None)
                if not items:
                    del self._kept[key]
            while len(self._kept) > self.max_visitors or (self._bytes() > self.max_bytes and len(self._kept) > 1):
                _, items = self._kept.popitem(last=False)
                self._drop(items)

    def close(self) -> None:
        """Releases all values."""
        with self._lock:
            for items in (*self._kept.values(), *(page.items for page in self._sessions.values())):
                self._drop(items)
            self._kept.clear()
            self._sessions.clear()

    def _page(self, session: str) -> _Session:
        if not session:  # a client without a page: its files are released like those of a closed page
            return self._sessions.setdefault(secrets.token_hex(16), _Session(left=time.monotonic()))
        page = self._sessions.setdefault(session, _Session())
        page.left = None
        return page

    def _bytes(self) -> int:
        return sum(item.bytes for items in self._kept.values() for item in items.values())

    def _store(self, key: str, slug: str, item: _Item | None) -> None:
        items = self._kept.setdefault(key, {})
        self._hold(items, slug, item)
        self._kept.move_to_end(key)
        if not items:
            del self._kept[key]

    def _hold(self, items: dict[str, _Item], slug: str, item: _Item | None) -> None:
        before = items.pop(slug, None)
        if item is not None:
            item.holders += 1
            items[slug] = item
        if before is not None:
            self._release(before)

    def _drop(self, items: dict[str, _Item]) -> None:
        for item in items.values():
            self._release(item)
        items.clear()

    def _release(self, item: _Item) -> None:
        item.holders -= 1
        if item.holders == 0 and hasattr(item.value, "close"):
            item.value.close()


def _size(folder: str) -> int:
    """Bytes of the plain files in ``folder``."""
    total = 0
    for home, _, names in os.walk(folder) if folder else ():
        for name in names:
            try:
                total += os.lstat(os.path.join(home, name)).st_size
            except OSError:  # removed meanwhile
                continue
    return total
