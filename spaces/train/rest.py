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
from web.openapi import body, file, path_parameter, query, record, route, rows

from .api import checked_key

MOST_MB = 64  # of one picture
RUN = "A run's id, as /train and /runs give it."


def routes(trainer: Trainer) -> list[APIRoute]:
    async def runs(http: Request) -> Response:
        """Your runs, the newest first. Query: visitor, the key that you gave to /train (not needed with TRAIN_SHARED=1)."""
        try:
            visitor = _query(http, {"visitor"}).get("visitor", "")
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
            asked = _query(http, {"run"})
            found = await asyncio.to_thread(trainer.find, asked.get("run", ""))
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

    scores = {"type": "object", "additionalProperties": {"type": "number"}}
    row = record(label="string", score="number", scores=scores, milliseconds="number")
    return [
        route(
            "/runs",
            runs,
            parameters=[query("visitor", "The key that you gave to /train; not needed with TRAIN_SHARED=1.", minLength=16)],
            answer=rows(record(id="string", status="string")),
            errors=(422,),
        ),
        route(
            "/runs/{run}",
            run,
            parameters=[path_parameter("run", RUN)],
            answer=record(id="string", status="string"),
            errors=(404, 422),
        ),
        route(
            "/classify",
            classify,
            method="POST",
            parameters=[query("run", RUN, required=True)],
            body=body(f"The picture, at most {MOST_MB} MB.", file()),
            answer=row,
            errors=(404, 413, 422, 429, 500),
        ),
    ]


def _query(http: Request, known: set[str]) -> dict[str, Any]:
    asked = dict(http.query_params)
    if unknown := asked.keys() - known:
        raise InvalidValue("query", sorted(unknown)[0], ", ".join(sorted(known)))
    return asked
