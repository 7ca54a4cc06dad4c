"""The last result of each visitor: one value per tab, until it is replaced, expires, or is evicted.

Knows keys, ages and sizes, but neither what a value is nor Gradio. A visitor is identified by 128 random bits that
only their browser stores. A value may have ``close()``, called when it is released; ``folder``, the path of its files,
whose size counts towards ``MAX_BYTES``; and ``there()``, which returns whether its files still exist.
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
MAX_BYTES = 8 << 30  # of all folders in total
GONE_SECONDS = 3600.0  # a page may lose its connection and reconnect


@dataclass(slots=True, eq=False)
class _Item:
    value: Any
    since: float
    bytes: int
    holders: int = 0


@dataclass(slots=True)
class _Session:
    """An open page. ``left`` is the time when its connection ended."""

    key: str = ""
    left: float | None = None
    items: dict[str, _Item] = field(default_factory=dict)


def is_key(key: object) -> bool:
    """Whether ``key``, which comes from the browser, is a valid visitor key."""
    return isinstance(key, str) and KEY.fullmatch(key) is not None


class Visits:
    """Values are reference-counted: held by the store and by each open page.

    If another page of the visitor replaces a value, pages that show it keep it.
    """

    def __init__(self, hours: float, max_visitors: int = MAX_VISITORS, max_bytes: int = MAX_BYTES) -> None:
        self.seconds, self.max_visitors, self.max_bytes = hours * 3600, max_visitors, max_bytes
        self._lock = threading.RLock()
        self._sessions: dict[str, _Session] = {}
        self._kept: OrderedDict[str, dict[str, _Item]] = OrderedDict()  # by key; the most recent visitor is last

    def arrive(self, session: str, key: str) -> str:
        """Assigns the page ``session`` to a visitor. Returns the key, a new one if ``key`` is not valid."""
        with self._lock:
            key = key if is_key(key) else secrets.token_hex(16)
            page = self._page(session)
            if session and page.key != key:
                page.key = key
                for slug, item in page.items.items():  # kept before the browser sent its key
                    self._store(key, slug, item)
            self.sweep()
            return key

    def leave(self, session: str) -> None:
        """Records that the page's connection ended. Its values are released after ``GONE_SECONDS``."""
        with self._lock:
            if (page := self._sessions.get(session)) is not None:
                page.left = time.monotonic()

    def keep(self, session: str, slug: str, value: Any) -> None:
        """Replaces the value of this page and its visitor in tab ``slug``. None removes it."""
        item = None if value is None else _Item(value, time.monotonic(), _size(getattr(value, "folder", "")))
        with self._lock:
            page = self._page(session)
            self._hold(page.items, slug, item)
            if page.key:
                self._store(page.key, slug, item)
            self.sweep()

    def recall(self, session: str, slug: str) -> Any:
        """Returns the visitor's last value in tab ``slug``, or None. The page holds it from now on."""
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
        if not session:  # a client without a page: treated like a closed page
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
    """Returns the total bytes of the files in ``folder``."""
    total = 0
    for home, _, names in os.walk(folder) if folder else ():
        for name in names:
            try:
                total += os.lstat(os.path.join(home, name)).st_size
            except OSError:  # removed in the meantime
                continue
    return total
