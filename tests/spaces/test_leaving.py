"""A client that goes away: when its request's handler is done, so are the child process and the folder."""

from __future__ import annotations

import asyncio
import importlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from fastapi import Request

from lib.jobs import Job, Jobs, Limits
from web.folders import Folders
from web.shell import load_tab

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def jobs() -> Iterator[Jobs]:
    jobs = Jobs(workers=1, waiting=4, preload=("tests.job_tasks",))
    jobs.start()
    yield jobs
    jobs.close()


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def part(tab: str, name: str) -> Any:
    """A module of a tab; the app loads tabs by their folders."""
    if f"tab_{tab}" not in sys.modules:
        load_tab(ROOT / "spaces" / tab)
    return importlib.import_module(f"tab_{tab}.{name}")


def slow_bench(jobs: Jobs) -> Any:
    """Every question takes for ever."""
    bench = part("onnx_inspect", "bench").Bench(jobs, Limits())
    bench._ask = lambda *task, **arguments: jobs.submit("tests.job_tasks:hang", {})
    return bench


class SlowConverter:
    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs

    def conversions(self) -> list[dict[str, Any]]:
        return []

    def convert(self, *given: Any) -> Job:
        return self.jobs.submit("tests.job_tasks:hang", {})

    describe = convert


def gone_after_the_body(query: str = "") -> Request:
    messages = [{"type": "http.request", "body": b"model", "more_body": False}]

    async def receive() -> dict[str, Any]:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    scope = {"type": "http", "method": "POST", "path": "/", "query_string": query.encode(), "headers": []}
    return Request(scope, receive)


def post(routes: list[Any], path: str, query: str, jobs: Jobs) -> tuple[int, int]:
    """The status, and how many jobs run at that moment."""

    async def ask() -> tuple[int, int]:
        endpoint = next(route.endpoint for route in routes if route.path == path)
        response = await endpoint(gone_after_the_body(query))
        return response.status_code, jobs.status()["running"]

    return asyncio.run(ask())


def call(build: Any, name: str, given: list[Any], jobs: Jobs) -> int:
    """How many jobs run once an endpoint of the API was left in its midst."""

    async def ask() -> int:
        with gr.Blocks() as page:
            build()
        endpoint = next(f.fn for f in page.fns.values() if f.api_name == name)
        answers = endpoint(*given)
        await anext(answers)
        assert jobs.status()["running"] == 1
        await answers.aclose()
        return jobs.status()["running"]

    return asyncio.run(ask())


@pytest.mark.parametrize("path", ["/inspect-onnx", "/run-onnx"])
def test_inspector_rest(jobs: Jobs, temporary: Path, path: str) -> None:
    routes = part("onnx_inspect", "rest").routes(slow_bench(jobs), 10)
    assert post(routes, path, "", jobs) == (499, 0)
    assert not list(temporary.iterdir())


def test_converter_rest(jobs: Jobs) -> None:
    folders = Folders("workbench-test-")
    routes = part("convert", "rest").routes(SlowConverter(jobs), folders, 10)
    assert post(routes, "/convert", "target=onnx", jobs) == (499, 0)
    assert not list(Path(folders.new()).parent.glob("*/*"))
    folders.close()


def test_inspector_api(jobs: Jobs) -> None:
    bench = slow_bench(jobs)
    assert call(lambda: part("onnx_inspect", "api").build(bench), "build_onnx", ["text"], jobs) == 0
    bench.folders.close()


@pytest.mark.parametrize(("name", "given"), [("convert", [None, "a:b", "onnx"]), ("describe_source", [None, "a:b"])])
def test_converter_api(jobs: Jobs, name: str, given: list[Any]) -> None:
    folders = Folders("workbench-test-")
    assert call(lambda: part("convert", "api").build(SlowConverter(jobs), folders), name, given, jobs) == 0
    assert not list(Path(folders.new()).parent.glob("*/*"))
    folders.close()
