"""``POST /inspect-onnx`` and ``POST /run-onnx``: the .onnx or .tflite file is the body, the answer is JSON.

Send a model with external data, or samples for a run, as a form: ``curl -F model=@m.onnx -F external_data=@m.data
-F samples=@cat.jpg``. All other options are query parameters.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from lib.errors import Cancelled, InvalidFile, InvalidValue, WorkbenchError
from lib.jobs import Job, Result
from lib.tflite_inspect.report import shortened
from web import form as forms
from web.body import receive
from web.errors import as_response
from web.follow_job import follow_job
from web.openapi import body, file, form, part, query, record, route, rows

from . import formats
from .bench import Bench
from .subject import RUNS, Subject, parse_samples, parse_sizes

FILES = ("model", "external_data", "samples")
Samples = tuple[str, str] | None  # path and name
Ask = Callable[[Subject, dict[str, str], Samples], Job]
Endpoint = Callable[..., Any]
EMPTY = "The body is empty. Send the .onnx file itself: curl --data-binary @model.onnx …, or curl -F model=@model.onnx …"


def routes(bench: Bench, max_file_mb: int) -> list[APIRoute]:
    async def inspect(http: Request) -> Response:
        """Report on an ONNX or TensorFlow Lite model. Query: name, sizes ("batch=8, sequence=128"; older: symbols)."""

        def ask(subject: Subject, values: dict[str, str], samples: Samples) -> Job:
            if samples:
                raise InvalidFile("This route takes no samples. Send them to /run-onnx.")
            return bench.inspect(subject, parse_sizes(values.get("sizes"), values.get("symbols")))

        return await _answer(http, ask, {"name", "sizes", "symbols"})

    async def run(http: Request) -> Response:
        """Run a model on random inputs, or on the samples of a form. Query: seed, runs, sizes, preprocessing."""

        def ask(subject: Subject, values: dict[str, str], samples: Samples) -> Job:
            numbers = _whole_number(values, "seed", 0), _whole_number(values, "runs", RUNS)
            sizes = parse_sizes(values.get("sizes"), values.get("symbols"))
            sample_arguments = parse_samples(*(samples or ("", "")), values.get("preprocessing"))
            return bench.run(subject, None, *numbers, sizes, None, sample_arguments)

        return await _answer(http, ask, {"name", "seed", "runs", "sizes", "symbols", "preprocessing"})

    async def _answer(http: Request, ask: Ask, known: set[str]) -> Response:
        values = dict(http.query_params)
        try:
            _check_names(values, known)
            with tempfile.TemporaryDirectory(prefix="workbench-onnx-", ignore_cleanup_errors=True) as folder:
                path = Path(folder) / "model.onnx"
                if not await receive(http, path, max_file_mb):
                    raise InvalidFile(EMPTY)
                subject, samples = Subject(str(path), _plain(values.get("name") or f"model.{formats.of(str(path))}")), None
                kind = http.headers.get("content-type")
                if forms.is_form(kind):
                    files, fields = await forms.read(path, str(kind), Path(folder))
                    _check_names(fields, known)
                    values = fields | values
                    subject, samples = _from_form(files, values)
                async with aclosing(follow_job(ask(subject, values, samples))) as events:
                    async for event in events:
                        if isinstance(event, Result):
                            return await asyncio.to_thread(JSONResponse, shortened(event.value))  # serialises up to 64 MB
                        if await http.is_disconnected():
                            raise Cancelled()
                raise AssertionError("a job ends with a result or an error")
        except WorkbenchError as error:
            return as_response(error)

    return [route(path, ask, method="POST", **papers) for path, ask, papers in _papers(inspect, run, max_file_mb)]


def _papers(inspect: Endpoint, run: Endpoint, max_file_mb: int) -> list[tuple[str, Endpoint, dict[str, Any]]]:
    """Return the path, endpoint and OpenAPI description of each route."""
    known = {
        "name": query("name", "The model's name. A file in a form brings its own."),
        "sizes": query("sizes", 'Sizes of dynamic dimensions: "batch=8, sequence=128".'),
        "symbols": query("symbols", "Older name of sizes.", deprecated=True),
    }
    extra = {
        "seed": query("seed", "Seed of the random inputs.", "integer", default=0),
        "runs": query("runs", "Number of timed runs.", "integer", default=RUNS),
        "preprocessing": query(
            "preprocessing", 'How pictures become the input, where the guess is wrong: "size=224, crop=center", or JSON.'
        ),
    }
    parts = {"model": part("The model."), "external_data": part("Files with its weights (external data).", many=True)}
    samples = {"samples": part("Real inputs: .npz, .npy, a picture, a .zip of pictures, .wav or .txt.")}
    text = f"The model, at most {max_file_mb} MB in all."
    report = record(
        format="string", valid="boolean", problems=rows(record(severity="string", where="string", message="string"))
    )
    result = record(seed="integer", inputs=rows(record(name="string")), outputs=rows(record(name="string")))
    errors = (413, 422, 429, 500)
    first = {"parameters": known.values(), "body": body(text, file(), form(**parts)), "answer": report, "errors": errors}
    merged = {**known, **extra}.values()
    second = {"parameters": merged, "body": body(text, file(), form(**parts, **samples)), "answer": result, "errors": errors}
    return [("/inspect-onnx", inspect, first), ("/run-onnx", run, second)]


def _from_form(files: dict[str, list[tuple[Path, str]]], values: dict[str, str]) -> tuple[Subject, Samples]:
    if unknown := sorted(files.keys() - set(FILES)):
        raise InvalidValue("field", unknown[0], ", ".join(FILES))
    models, samples = files.get("model", []), files.get("samples", [])
    if len(models) != 1 or len(samples) > 1:
        raise InvalidFile(
            f"The form has {len(models)} files as model and {len(samples)} as samples. Send exactly one model and at most "
            "one file of samples: curl -F model=@model.onnx -F samples=@samples.npz …"
        )
    path, name = models[0]
    externals = {filename: str(part) for part, filename in files.get("external_data", [])}
    subject = Subject(str(path), _plain(values.get("name") or name), externals)
    return subject, (str(samples[0][0]), samples[0][1]) if samples else None


def _plain(name: str) -> str:
    return re.sub(r"[/\\\x00-\x1f]", "_", name)[:200]


def _check_names(values: dict[str, str], known: set[str]) -> None:
    if unknown := values.keys() - known:
        raise InvalidValue("query", sorted(unknown)[0], ", ".join(sorted(known)))


def _whole_number(values: dict[str, str], name: str, default: int) -> int:
    try:
        return int(values.get(name, default))
    except ValueError:
        raise InvalidValue(name, values[name], "a whole number") from None
