"""Logging, as text for a terminal or as one JSON object per line for log collectors.

JSON lines contain no text that may quote a visitor: exceptions are logged as class and stack frames, log calls of
other libraries as file and line. Our own log calls contain no prompts, file names or owners.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lib.origin import current

TEXT, JSON = "text", "json"
EVENTS = "workbench"  # the logger of requests and jobs: one line each
OURS = ("lib", "web", "tab_", EVENTS)  # loggers whose templates contain no user input
ROOT = Path(__file__).resolve().parent.parent
MAX_FRAMES = 12

format = TEXT  # of this process; jobs of the fork server get it with each request


def setup(wanted: str) -> None:
    """Configures logging. Call once, when the app starts. ``wanted`` is "text" or "json"."""
    global format
    format = wanted
    if wanted == TEXT:
        logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.captureWarnings(True)
    logging.getLogger(EVENTS).setLevel(logging.INFO)


def event(name: str, level: int = logging.INFO, **fields: Any) -> None:
    """Logs one line. ``fields`` are numbers and fixed words. In text format, levels below WARNING are not printed."""
    logging.getLogger(EVENTS).log(level, name, extra={"fields": fields})


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = dict(getattr(record, "fields", {}))
        origin = current.get()
        fields.setdefault("request", getattr(record, "request", "") or origin.id)
        if record.name.startswith(OURS):
            name = str(record.msg)  # the template, without its arguments
        else:
            name = "library"
            fields["where"] = f"{_short(record.pathname)}:{record.lineno}"
        if record.exc_info and record.exc_info[1] is not None:
            fields |= failure(record.exc_info[1])
        return line(record.levelname, name, logger=record.name, **fields)


def line(level: str, event: str, **fields: Any) -> str:
    """Returns a JSON object: ts (UTC), level, event, and the fields that are not empty."""
    values = {"ts": datetime.now(UTC).isoformat(timespec="milliseconds"), "level": level.lower(), "event": event}
    values |= {key: value for key, value in fields.items() if value not in ("", None)}
    return json.dumps(values, default=str)


def failure(error: BaseException) -> dict[str, Any]:
    """Returns ``error``, the class, and ``frames``, each "file:line function", innermost last. Omits the message."""
    frames = traceback.extract_tb(error.__traceback__)[-MAX_FRAMES:]
    return {"error": type(error).__name__, "frames": [f"{_short(f.filename)}:{f.lineno} {f.name}" for f in frames]}


def _short(name: str) -> str:
    """Returns the path of a source file without the directories of this machine."""
    path = Path(name)
    if path.is_relative_to(ROOT) and "site-packages" not in path.parts:
        return str(path.relative_to(ROOT))
    parts = path.parts
    return "/".join(parts[parts.index("site-packages") + 1 :]) if "site-packages" in parts else path.name
