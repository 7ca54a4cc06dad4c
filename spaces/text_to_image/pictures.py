"""A visitor's pictures as shown on the page, and their URLs. ``png.py`` defines what the files contain."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi.responses import FileResponse, JSONResponse
from fastapi.routing import APIRoute
from starlette.responses import Response

from lib.errors import InvalidValue
from lib.text_to_image import png
from lib.text_to_image.gallery import Gallery, plain_name

PREFIX = "/text-to-image/pictures"
# files never change; after a deletion, only the browser's private cache may still have a copy
HEADERS = {"Cache-Control": "private, max-age=3600, immutable", "X-Content-Type-Options": "nosniff"}
LONGEST = 60  # characters of the prompt in a file name


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture in the gallery.

    ``name`` is its file name there, ``address`` the URL relative to the page, ``file`` the name for downloads.
    """

    name: str
    address: str
    file: str
    info: dict[str, Any]


def of(gallery: Gallery, key: str) -> list[Picture]:
    """Returns the visitor's pictures, newest first."""
    candidates = (picture(path) for path in gallery.pictures(key))
    return [candidate for candidate in candidates if candidate is not None]


def picture(path: Path) -> Picture | None:
    """Returns the picture in a file, None if it was removed in the meantime."""
    try:
        info = _info(path)
    except (InvalidValue, OSError):
        return None
    return Picture(path.name, f".{PREFIX}/{path.parent.name}/{path.name}", f"{plain_name(path)}.png", info)


def zip_address(path: Path) -> str:
    return f".{PREFIX}/zip/{path.name}"


def name_of(info: dict[str, Any]) -> str:
    """Returns a file name such as ``a-red-car-613613918`` for the picture that ``info`` describes."""
    words = re.sub(r"[^a-z0-9]+", "-", info["prompt"].lower())[:LONGEST].strip("-") or "picture"
    return f"{words}-{info['seed']}"


def routes(gallery: Gallery) -> list[APIRoute]:
    async def file(home: str, name: str) -> Response:
        path = gallery.path_of(home, name)
        if path is None:
            words = "There is no such picture, or it was deleted."
            return JSONResponse({"error": words}, status_code=404, headers={"Cache-Control": "no-store"})
        return FileResponse(path, headers=HEADERS)

    return [APIRoute(f"{PREFIX}/{{home}}/{{name}}", file, methods=["GET"], include_in_schema=False)]


@lru_cache(2000)
def _info(path: Path) -> dict[str, Any]:
    return png.read_info(path)
