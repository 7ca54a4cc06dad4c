"""Messages between the page and a replica: frames of JSON and the raw bytes of a picture, never a pickle.

Page to replica: ``setup`` (once, first), ``order`` (with the pixels of its start picture, if it has one), ``cancel``.
Replica to page: ``beat``, and the events of an order.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from PIL import Image

from lib import errors
from lib.errors import WorkbenchError
from lib.settings import Settings
from lib.text_to_image.events import Done, Event, Failed, Loading, Queued, Step
from lib.text_to_image.request import Request
from lib.text_to_image.start_picture import StartPicture

HEAD = struct.Struct("!II")  # bytes of the JSON, bytes of the picture
MAX_JSON, MAX_BLOB = 4 << 20, 256 << 20
KINDS = {kind.__name__: kind for kind in (Loading, Queued, Step, Done, Failed)}
MODES = ("RGB", "RGBA", "L")
SECRET = {"metrics_token"}  # not sent to replicas

Head = dict[str, Any]


def frame(head: Head, blob: bytes = b"") -> bytes:
    """Return a frame of JSON and a blob."""
    data = json.dumps(head).encode()
    return HEAD.pack(len(data), len(blob)) + data + blob


def lengths(head: bytes) -> tuple[int, int]:
    """Return the sizes of the JSON and of the blob that follow. Raises ValueError for sizes above the limits."""
    length, size = HEAD.unpack(head)
    if length > MAX_JSON or size > MAX_BLOB:
        raise ValueError("a frame that is too long")
    return length, size


def frames(data: bytes) -> Iterator[tuple[Head, bytes]]:
    """Yield the frames of ``data``, which must be complete."""
    offset = 0
    while offset < len(data):
        length, size = lengths(data[offset : offset + HEAD.size])
        blob_start, end = offset + HEAD.size + length, offset + HEAD.size + length + size
        yield json.loads(data[offset + HEAD.size : blob_start]), data[blob_start:end]
        offset = end


def order(number: int, request: Request, watch: bool, origin: tuple[str, str]) -> bytes:
    """Return the frame of an order."""
    start, blob = request.start, b""
    head: Head = {"order": number, "request": replace(request, start=None).as_dict(), "watch": watch, "origin": origin}
    if start is not None:
        blob = start.pixels + (start.mask or b"")
        head["start"] = {f.name: getattr(start, f.name) for f in fields(start) if f.name not in ("pixels", "mask")}
        head["masked"] = start.mask is not None
    return frame(head, blob)


def request_in(head: Head, blob: bytes) -> Request:
    """Return the request of an order. Raises InvalidValue."""
    request = Request.parse(head["request"])
    if "start" not in head:
        return request
    values = head["start"]
    area = values["width"] * values["height"]
    mask = blob[3 * area :] if head["masked"] else None
    return replace(request, start=StartPicture(pixels=blob[: 3 * area], mask=mask, **values))


def encode(order: int, event: Event, last: Image.Image | None) -> bytes:
    """Return the frame of an event. The preview of a step is omitted if it is still ``last``."""
    head: Head = {"order": order, "event": type(event).__name__}
    match event:
        case Loading() | Queued():
            return frame(head | {"values": asdict(event)})
        case Step():
            values = {"step": event.step, "steps": event.steps, "seconds_to_go": event.seconds_to_go}
            image = event.preview if event.preview is not last else None
            return frame(head | {"values": values} | _shape(image), image.tobytes() if image else b"")
        case Done():
            return frame(head | {"values": {"info": event.info}} | _shape(event.image), event.image.tobytes())
        case Failed():
            return frame(head | {"values": _words(event.error)})


def decode(head: Head, blob: bytes, last: Image.Image | None) -> Event:
    """Invert ``encode``. Raises ValueError, KeyError or TypeError for a malformed message."""
    kind, values, image = KINDS[head["event"]], head["values"], last
    if "mode" in head:
        if head["mode"] not in MODES:
            raise ValueError("a picture of another mode")
        image = Image.frombytes(head["mode"], (head["width"], head["height"]), blob)
    if kind is Step:
        return Step(preview=image, **values)
    if kind is Done:
        return Done(image, values["info"])
    if kind is Failed:
        return Failed(_error(values))
    return kind(**values)


def settings_out(settings: Settings) -> Head:
    """Return the settings as JSON values."""
    values = {f.name: getattr(settings, f.name) for f in fields(settings) if f.name not in SECRET}
    return {k: str(v) if isinstance(v, Path) else v for k, v in values.items()}


def settings_in(values: Head) -> Settings:
    """Invert ``settings_out``."""
    kinds = {f.name: type(f.default) for f in fields(Settings)}
    return Settings(**{k: kinds[k](v) if issubclass(kinds[k], (tuple, Path)) else v for k, v in values.items()})


def _shape(image: Image.Image | None) -> Head:
    return {"mode": image.mode, "width": image.width, "height": image.height} if image else {}


def _words(error: WorkbenchError) -> Head:
    attributes = {k: v for k, v in vars(error).items() if isinstance(v, (str, int, float))}
    return {"kind": type(error).__name__, "message": str(error), "own": attributes}


def _error(values: Head) -> WorkbenchError:
    kind = getattr(errors, str(values["kind"]), WorkbenchError)
    if not (isinstance(kind, type) and issubclass(kind, WorkbenchError)):
        kind = WorkbenchError
    error = kind.__new__(kind)
    error.args = (str(values["message"]),)
    error.__dict__.update(values["own"])
    return error
