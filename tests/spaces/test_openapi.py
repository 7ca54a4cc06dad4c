"""``/openapi.json`` tells the truth: each route is asked for what is right and for rubbish, and answers as they say."""

from __future__ import annotations

import shutil
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastapi.routing import APIRoute
from gradio_client import Client, handle_file
from jsonschema import Draft202012Validator

from lib.onnx_inspect.examples import EXAMPLES
from lib.settings import EMBEDDED, Settings
from tests.spaces.conftest import serve
from tests.tflite.files import classifier
from tests.train.conftest import shapes
from web import body

pytestmark = pytest.mark.slow  # the other tests of spaces/ ask each door
TOKEN, VISITOR = "a token of the tests", "a key that nobody guesses"
TABS = ("text_to_image", "onnx_inspect", "convert", "train")
ERROR = {"type": "object", "properties": {"error": {"type": "string", "minLength": 9}}, "required": ["error"]}
OLDER = ("/edit_metadata", "/export_classifier")  # these spellings keep working
# for the page and for browsers: no door of programs
UNTOLD = ("/docs", "/openapi.json", "/netron", "/onnx-files/", "/train/files/", "/text-to-image/pictures/", *OLDER)
BUSY = {408, 429, 500, 503}  # not by what is asked
NOBODY = "20200101-000000-shapes-0123456789abcdef"  # as a run's id may be


@dataclass
class Asked:
    """Everything of a request; a parameter that is None is left out."""

    parameters: dict[str, str | None] = field(default_factory=dict)
    content: bytes | Iterator[bytes] = b""
    form: dict[str, Any] | None = None
    json: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class App:
    workbench: Any
    run: str  # a trained one
    picture: bytes

    @property
    def document(self) -> dict[str, Any]:
        return httpx.get(f"{self.workbench.address}/openapi.json").json()

    def ask(self, operation: tuple[str, str], asked: Asked) -> httpx.Response:
        method, path = operation
        given = {name: value for name, value in asked.parameters.items() if value is not None}
        for name in list(given):
            if f"{{{name}}}" in path:
                path = path.replace(f"{{{name}}}", quote(given.pop(name), safe=""))
        kind: dict[str, Any] = {"files": asked.form} if asked.form else {"json": asked.json} if asked.json else {}
        kind = kind or {"content": asked.content}
        address = f"{self.workbench.address}{path}"
        return httpx.request(method, address, params=given, headers=asked.headers, timeout=300, **kind)


@pytest.fixture(scope="module")
def app(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """All tabs, small limits, and a run of a small training."""
    home = tmp_path_factory.mktemp("document")
    own = replace(
        settings, default_model=EMBEDDED, data_folder=home / "data", metrics_token=TOKEN, max_file_mb=1, max_rows=2
    )
    pictures = shapes(home / "shapes")
    archive = shutil.make_archive(str(home / "shapes"), "zip", pictures.parent, pictures.name)
    with pytest.MonkeyPatch.context() as patch:
        for workbench in serve(replace(own, queue_size=1), patch, home / "gradio", TABS):
            quick = {"epochs": 1, "image_size": 32, "batch_size": 8, "visitor": VISITOR}
            client = Client(workbench.address, verbose=False)
            run, _ = client.predict(file=handle_file(archive), **quick, api_name="/train")
            yield App(workbench, run, next(pictures.glob("*/00.png")).read_bytes())


@pytest.fixture(scope="module")
def operations(app: App) -> dict[tuple[str, str], dict[str, Any]]:
    return {(method.upper(), path): o for path, methods in app.document["paths"].items() for method, o in methods.items()}


@pytest.fixture(scope="module")
def right(app: App, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Asked]:
    """A request of each kind that is answered with 200, in this order."""
    path = tmp_path_factory.mktemp("tflite") / "animals.tflite"
    classifier(path)
    tflite = path.read_bytes()
    answered = app.ask(("POST", "/classify"), Asked({"run": app.run}, content=app.picture))
    model, drawn = EXAMPLES["linear"]().SerializeToString(), {"prompt": "a red car", "steps": "1"}
    return {
        ("GET", "/healthz"): Asked(),
        ("GET", "/readyz"): Asked(),
        ("GET", "/metrics"): Asked(headers={"Authorization": f"Bearer {TOKEN}"}),
        ("GET", "/text-to-image"): Asked(drawn),
        ("POST", "/text-to-image"): Asked(json=drawn),
        ("GET", "/text-to-image/tokens"): Asked({"prompt": "a red car"}),
        ("POST", "/inspect-onnx"): Asked({"sizes": "batch=2"}, content=model),
        ("POST", "/run-onnx"): Asked({"runs": "1"}, form={"model": model}),
        ("POST", "/convert"): Asked({"target": "onnx-slim", "name": "a.onnx"}, content=model),
        ("GET", "/conversions"): Asked(),
        ("GET", "/runs"): Asked({"visitor": VISITOR}),
        ("GET", "/runs/{run}"): Asked({"run": app.run}),
        ("POST", "/classify"): Asked({"run": app.run}, content=app.picture),
        ("POST", "/classify/{id}/truth"): Asked({"id": answered.json()["id"]}, json={"label": "cross"}),
        ("GET", "/monitor"): Asked({"run": app.run}),
        ("POST", "/edit-metadata"): Asked(form={"file": tflite, "changes": (None, '{"author": "Ada"}')}),
        ("POST", "/export-classifier"): Asked(json={"run": app.run, "target": "onnx"}),
        ("GET", "/export-classifier/{run}"): Asked({"run": app.run}),
        ("GET", "/export-classifier/{run}/{target}"): Asked({"run": app.run, "target": "onnx"}),
    }


def resolved(schema: Any, document: dict[str, Any]) -> Any:
    """Without ``$ref``."""
    if isinstance(schema, list):
        return [resolved(one, document) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return resolved(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document)
    return {name: resolved(value, document) for name, value in schema.items()}


def check(answer: httpx.Response, operation: dict[str, Any], document: dict[str, Any]) -> None:
    """The answer is one that the document tell of."""
    told = operation["responses"].get(str(answer.status_code))
    assert told, f"{answer.request.method} {answer.url}: {answer.status_code} {answer.text[:300]}"
    kind = answer.headers["content-type"].partition(";")[0]
    assert kind in told["content"], (kind, told)
    for name in told.get("headers", {}):
        assert name in answer.headers, (name, answer.url)
    if kind == "application/json":
        Draft202012Validator(resolved(told["content"][kind]["schema"], document)).validate(answer.json())
    if answer.status_code >= 400 and answer.request.url.path != "/readyz":
        Draft202012Validator(ERROR).validate(answer.json())
        assert "Traceback" not in answer.text and "/root" not in answer.text and "/tmp" not in answer.text


def rubbish(operation: dict[str, Any], good: Asked) -> Iterator[tuple[str, Asked]]:
    """What a careless or a hostile client sends, by a name."""
    names = [p["name"] for p in operation.get("parameters", []) if p["name"] not in ("options", "name")]
    yield "no parameters", replace(good, parameters={n: v for n, v in good.parameters.items() if n == "run"})
    yield "an unknown parameter", replace(good, parameters=good.parameters | {"zebra": "1"})
    if good.headers:
        yield "no token", replace(good, headers={})
    for name in names:
        for value in ("zebra", "\x00", "-9e999", "9" * 400, "é" * 3000):
            yield f"{name}={value[:9]}", replace(good, parameters=good.parameters | {name: value}, json=None)
        if name in good.parameters:
            yield f"no {name}", replace(good, parameters=good.parameters | {name: None})
        yield f"{name} of nobody", replace(good, parameters=good.parameters | {name: NOBODY})
    if "requestBody" in operation:
        nothing = replace(good, form=None, json=None)
        yield "no body", nothing
        yield "no known file", replace(nothing, content=b"zebra")
        for name in good.json or {}:
            for value in ("zebra", -1, [], NOBODY):
                yield f"JSON, {name}={value}", replace(good, json=good.json | {name: value})
        yield "JSON, not an object", replace(nothing, json=["zebra"])
        yield "JSON with an unknown name", replace(nothing, json={"zebra": 1})
        yield "deep JSON", replace(nothing, content=b"[" * 60_000)
        yield "too much", replace(nothing, content=bytes((1 << 20) + 1))
        yield (
            "half a form",
            replace(nothing, content=b"--x\r\n", headers={"Content-Type": "multipart/form-data; boundary=x"}),
        )
        yield "a form without a boundary", replace(nothing, content=b"x", headers={"Content-Type": "multipart/form-data"})
        yield "a form with another field", replace(nothing, form={"zebra": b"1"})
        yield "a form with rubbish", replace(nothing, form={"model": b"zebra", "samples": b"zebra"})


def test_every_route_has_papers(app: App, operations: dict[tuple[str, str], dict[str, Any]]) -> None:
    served = {(m, r.path) for r in app.workbench.traffic.routes if isinstance(r, APIRoute) for m in r.methods}
    ways = {("GET", f"/{tab.slug}") for tab in app.workbench.tabs} | {
        ("GET", path) for method, path in operations if method == "POST"
    }
    untold = {one for one in served - operations.keys() - ways if not one[1].startswith(UNTOLD)}
    assert not untold and operations.keys() <= served
    names = [operation["operationId"] for operation in operations.values()]
    assert len(set(names)) == len(names)
    for one, operation in operations.items():
        assert operation["description"], one
        schemas = [p["schema"] for p in operation.get("parameters", [])]
        places = [*operation["responses"].values(), operation.get("requestBody", {"content": {}})]
        schemas += [content["schema"] for place in places for content in place["content"].values()]
        assert all(schemas), f"{one}: use web/openapi.py's route()"
        for schema in schemas:
            Draft202012Validator.check_schema(schema)
        told = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
        assert told == {part[1:-1] for part in one[1].split("/") if part.startswith("{")}, one


def test_gradio_s_own_routes_are_told_elsewhere(app: App) -> None:
    assert not [path for path in app.document["paths"] if "gradio" in path or path == "/"]
    assert "/text_to_image" in httpx.get(f"{app.workbench.address}/gradio_api/openapi.json").text


def test_tools_have_valid_schemas(app: App) -> None:
    tools = httpx.get(f"{app.workbench.address}/gradio_api/mcp/schema", timeout=60).json()
    assert {"text_to_image", "run_onnx", "edit_metadata", "convert", "train", "classify"} <= {tool["name"] for tool in tools}
    for tool in tools:
        Draft202012Validator.check_schema(tool["inputSchema"])
        assert "$ref" not in str(tool["inputSchema"])
    train = next(tool["inputSchema"]["properties"] for tool in tools if tool["name"] == "train")
    assert train["technique"]["enum"] == ["fine_tuning", "feature_extraction"]


def test_what_is_right(
    app: App, operations: dict[tuple[str, str], dict[str, Any]], right: dict[tuple[str, str], Asked]
) -> None:
    assert right.keys() == operations.keys()  # a new route has a row there
    document = app.document
    for one, asked in right.items():
        answer = app.ask(one, asked)
        assert answer.status_code == 200, (one, answer.text[:300])
        check(answer, operations[one], document)


def test_rubbish(
    app: App,
    operations: dict[tuple[str, str], dict[str, Any]],
    right: dict[tuple[str, str], Asked],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It brings every error of the document and no other."""
    import tab_train.rest_watch as train

    monkeypatch.setattr(train, "MAX_MB", 1)
    document, seen = app.document, defaultdict(set)
    for one, operation in operations.items():
        for name, asked in rubbish(operation, right[one]):
            answer = app.ask(one, asked)
            seen[one].add(answer.status_code)
            try:
                check(answer, operation, document)
            except Exception as error:
                raise AssertionError(f"{one}, {name}: {answer.status_code} {answer.text[:300]}") from error
    for one, operation in operations.items():
        told = {int(status) for status in operation["responses"] if int(status) not in BUSY}
        assert told - seen[one] <= {200} | ({404} if one[1] == "/metrics" else set()), (one, seen[one])


def test_other_methods_and_addresses(app: App, operations: dict[tuple[str, str], dict[str, Any]]) -> None:
    for _, path in operations:
        answer = app.ask(("PATCH", path), Asked({"run": app.run}))
        allowed = {method for method, other in operations if other == path}
        assert answer.status_code == 405 and allowed <= set(answer.headers["allow"].split(", "))
        Draft202012Validator(ERROR).validate(answer.json())
    for path in ("/zebra", "/docs/zebra", "/runs/a/b", "/" + "é" * 300):
        answer = app.ask(("GET", path), Asked())
        assert answer.status_code == 404, path
        Draft202012Validator(ERROR).validate(answer.json())
    assert "detail" in app.ask(("GET", "/gradio_api/zebra"), Asked()).json()  # Gradio's own clients read it


@pytest.mark.slow
def test_busy(app: App, operations: dict[tuple[str, str], dict[str, Any]], right: dict[tuple[str, str], Asked]) -> None:
    """429 where the queue is full, 408 where a body is slow, and 503 where the app is stopping."""
    document = app.document
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(body, "AT_ONCE", 0)
        for one, operation in operations.items():
            if "requestBody" in operation and one[1] != "/text-to-image":
                answer = app.ask(one, right[one])
                assert answer.status_code == 429, one
                check(answer, operation, document)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(body, "GRACE", 0.2)
        for one, operation in operations.items():
            if "408" in operation["responses"]:
                answer = app.ask(one, replace(right[one], form=None, json=None, content=hesitant()))
                assert answer.status_code == 408, one
                check(answer, operation, document)
    engine = app.workbench.tabs[0].engine
    slow = {"prompt": "a red car", "steps": "150", "scheduler": "Heun"}
    tickets = [engine.submit(engine_request(slow), owner=str(n), watch=False) for n in range(1)]
    while not engine.status()["rows_in_batch"]:
        pass
    tickets.append(engine.submit(engine_request(slow), owner="second", watch=False))
    for method in ("GET", "POST"):
        one = (method, "/text-to-image")
        answer = app.ask(one, right[one])
        assert answer.status_code == 429
        check(answer, operations[one], document)
    for ticket in tickets:
        ticket.cancel()
    app.workbench.drain()
    for one in (("GET", "/text-to-image"), ("POST", "/text-to-image"), ("GET", "/readyz")):
        answer = app.ask(one, right[one])
        assert answer.status_code == 503
        check(answer, operations[one], document)


def hesitant() -> Iterator[bytes]:
    """A body whose end does not come in time."""
    yield b"{"
    time.sleep(0.6)
    yield b"}"


def engine_request(values: dict[str, str]) -> Any:
    from lib.text_to_image.request import Request

    return Request.parse(values)
