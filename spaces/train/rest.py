"""``GET /runs``, ``GET /runs/{run}`` and ``POST /classify?run=…``: a picture as the body, JSON out."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from lib.errors import InvalidFile, InvalidValue, WorkbenchError
from lib.train.trainer import Trainer
from web.body import receive
from web.errors import as_response

from .api import checked_key

MOST_MB = 64  # of one picture


def routes(trainer: Trainer) -> list[APIRoute]:
    async def runs(http: Request) -> Response:
        """Your runs, the newest first. Query: visitor, the key that you gave to /train (not needed with TRAIN_SHARED=1)."""
        try:
            query = _query(http, {"visitor"})
            visitor = query.get("visitor", "")
            if not visitor and not trainer.settings.train_shared:
                raise InvalidValue("visitor", "", "the key that you gave to /train (not needed with TRAIN_SHARED=1)")
            owner = trainer.owner(checked_key(visitor) if visitor else "")
            return JSONResponse(await asyncio.to_thread(trainer.runs(owner).list))
        except WorkbenchError as error:
            return as_response(error)

    async def run(http: Request) -> Response:
        """The whole record of one run."""
        try:
            return JSONResponse(await asyncio.to_thread(lambda: trainer.find(http.path_params["run"]).read()))
        except WorkbenchError as error:
            return as_response(error)

    async def classify(http: Request) -> Response:
        """A picture classified by a run: label, score, milliseconds, and scores by class. Query: run."""
        try:
            query = _query(http, {"run"})
            found = await asyncio.to_thread(trainer.find, query.get("run", ""))
            with tempfile.TemporaryDirectory(prefix="workbench-picture-", ignore_cleanup_errors=True) as folder:
                path = Path(folder) / "picture"
                if not await receive(http, path, MOST_MB):
                    raise InvalidFile("The body is empty. Send a picture: curl --data-binary @picture.jpg …")
                (row,) = await asyncio.to_thread(trainer.classify, found, [path])
            if "error" in row:
                raise InvalidFile(row["error"])
            return JSONResponse(row)
        except WorkbenchError as error:
            return as_response(error)

    return [
        APIRoute("/runs", runs, methods=["GET"]),
        APIRoute("/runs/{run}", run, methods=["GET"]),
        APIRoute("/classify", classify, methods=["POST"]),
    ]


def _query(http: Request, known: set[str]) -> dict[str, Any]:
    query = dict(http.query_params)
    if unknown := query.keys() - known:
        raise InvalidValue("query", sorted(unknown)[0], ", ".join(sorted(known)))
    return query
