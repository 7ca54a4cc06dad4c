"""``POST /inspect-onnx`` and ``POST /run-onnx``: the .onnx file as the body, JSON out.

For a model whose external data are files of their own, and for inputs of one's own, the Gradio API takes
several files.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from contextlib import aclosing
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from lib.errors import Cancelled, InvalidFile, InvalidValue, WorkbenchError
from lib.jobs import Job, Result
from web.body import receive
from web.errors import as_response
from web.follow_job import follow_job

from .bench import Bench
from .subject import RUNS, Subject, parse_symbols


def routes(bench: Bench, max_file_mb: int) -> list[APIRoute]:
    async def inspect(http: Request) -> Response:
        """The report of an ONNX model. Query: name, symbols ("batch=8, sequence=128")."""

        def ask(subject: Subject, query: dict[str, str]) -> Job:
            return bench.inspect(subject, parse_symbols(query.get("symbols")))

        return await _answer(http, ask, {"name", "symbols"})

    async def run(http: Request) -> Response:
        """An ONNX model run on random inputs. Query: seed, runs, symbols."""

        def ask(subject: Subject, query: dict[str, str]) -> Job:
            numbers = _whole(query, "seed", 0), _whole(query, "runs", RUNS)
            return bench.run(subject, None, *numbers, parse_symbols(query.get("symbols")))

        return await _answer(http, ask, {"name", "seed", "runs", "symbols"})

    async def _answer(http: Request, ask: Any, known: set[str]) -> Response:
        query = dict(http.query_params)
        try:
            if unknown := query.keys() - known:
                raise InvalidValue("query", sorted(unknown)[0], ", ".join(sorted(known)))
            with tempfile.TemporaryDirectory(prefix="workbench-onnx-", ignore_cleanup_errors=True) as folder:
                path = Path(folder) / "model.onnx"
                if not await receive(http, path, max_file_mb):
                    raise InvalidFile("The body is empty. Send the .onnx file itself: curl --data-binary @model.onnx …")
                name = re.sub(r"[/\\\x00-\x1f]", "_", query.get("name", "model.onnx"))[:200]
                async with aclosing(follow_job(ask(Subject(str(path), name), query))) as events:
                    async for event in events:
                        if isinstance(event, Result):
                            return await asyncio.to_thread(JSONResponse, event.value)  # up to 64 MB to write
                        if await http.is_disconnected():
                            raise Cancelled()
                raise AssertionError("a job ends with a result or an error")
        except WorkbenchError as error:
            return as_response(error)

    table = (("/inspect-onnx", inspect), ("/run-onnx", run))
    return [APIRoute(path, endpoint, methods=["POST"], response_class=JSONResponse) for path, endpoint in table]


def _whole(query: dict[str, str], name: str, default: int) -> int:
    try:
        return int(query.get(name, default))
    except ValueError:
        raise InvalidValue(name, query[name], "a whole number") from None
