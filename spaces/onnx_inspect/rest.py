"""``POST /inspect-onnx`` and ``POST /run-onnx``: the .onnx file as the body, JSON out.

A model with external data, and samples for a run, come as a form: ``curl -F model=@m.onnx -F external_data=@m.data
-F samples=@cat.jpg``. What else is said stands in the query.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from lib.errors import Cancelled, InvalidFile, InvalidValue, WorkbenchError
from lib.jobs import Job, Result
from web import form
from web.body import receive
from web.errors import as_response
from web.follow_job import follow_job

from .bench import Bench
from .subject import RUNS, Subject, parse_samples, parse_sizes

FILES = ("model", "external_data", "samples")
Samples = tuple[str, str] | None  # path and name
Ask = Callable[[Subject, dict[str, str], Samples], Job]
EMPTY = "The body is empty. Send the .onnx file itself: curl --data-binary @model.onnx …, or curl -F model=@model.onnx …"


def routes(bench: Bench, max_file_mb: int) -> list[APIRoute]:
    async def inspect(http: Request) -> Response:
        """The report of an ONNX model. Query: name, sizes ("batch=8, sequence=128"; older: symbols)."""

        def ask(subject: Subject, query: dict[str, str], samples: Samples) -> Job:
            if samples:
                raise InvalidValue("samples", samples[1], "files of /run-onnx")
            return bench.inspect(subject, parse_sizes(query.get("sizes"), query.get("symbols")))

        return await _answer(http, ask, {"name", "sizes", "symbols"})

    async def run(http: Request) -> Response:
        """An ONNX model run on random inputs, or on a form's samples. Query: seed, runs, sizes, preprocessing."""

        def ask(subject: Subject, query: dict[str, str], samples: Samples) -> Job:
            numbers = _whole(query, "seed", 0), _whole(query, "runs", RUNS)
            sizes = parse_sizes(query.get("sizes"), query.get("symbols"))
            real = parse_samples(*(samples or ("", "")), query.get("preprocessing"))
            return bench.run(subject, None, *numbers, sizes, None, real)

        return await _answer(http, ask, {"name", "seed", "runs", "sizes", "symbols", "preprocessing"})

    async def _answer(http: Request, ask: Ask, known: set[str]) -> Response:
        query = dict(http.query_params)
        try:
            _check(query, known)
            with tempfile.TemporaryDirectory(prefix="workbench-onnx-", ignore_cleanup_errors=True) as folder:
                path = Path(folder) / "model.onnx"
                if not await receive(http, path, max_file_mb):
                    raise InvalidFile(EMPTY)
                subject, samples = Subject(str(path), _plain(query.get("name", "model.onnx"))), None
                kind = http.headers.get("content-type")
                if form.is_form(kind):
                    files, fields = await form.read(path, str(kind), Path(folder))
                    _check(fields, known)
                    query = fields | query
                    subject, samples = _of_form(files, query)
                async with aclosing(follow_job(ask(subject, query, samples))) as events:
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


def _of_form(files: dict[str, list[tuple[Path, str]]], query: dict[str, str]) -> tuple[Subject, Samples]:
    if odd := sorted(files.keys() - set(FILES)):
        raise InvalidValue("field", odd[0], ", ".join(FILES))
    models, samples = files.get("model", []), files.get("samples", [])
    if len(models) != 1 or len(samples) > 1:
        raise InvalidFile(
            f"The form has {len(models)} files as model and {len(samples)} as samples; exactly one model and at most one "
            "file of samples are taken: curl -F model=@model.onnx -F samples=@samples.npz …"
        )
    path, name = models[0]
    externals = {called: str(part) for part, called in files.get("external_data", [])}
    subject = Subject(str(path), _plain(query.get("name") or name), externals)
    return subject, (str(samples[0][0]), samples[0][1]) if samples else None


def _plain(name: str) -> str:
    return re.sub(r"[/\\\x00-\x1f]", "_", name)[:200]


def _check(query: dict[str, str], known: set[str]) -> None:
    if unknown := query.keys() - known:
        raise InvalidValue("query", sorted(unknown)[0], ", ".join(sorted(known)))


def _whole(query: dict[str, str], name: str, default: int) -> int:
    try:
        return int(query.get(name, default))
    except ValueError:
        raise InvalidValue(name, query[name], "a whole number") from None
