"""What a child process that was taken over may say: nonsense of any type is refused in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lib.convert import edges
from lib.convert.service import child_schema
from lib.convert.service.child_schema import RunEdge, RunSource, RunTarget
from lib.convert.service.options import chosen
from lib.convert.service.pipeline import Conversion
from lib.convert.worker import entrypoints
from lib.errors import JobFailed
from tests.convert import models

NAMES: dict[str, Any] = {"inputs": {}, "outputs": {}}
MODELS = {"run_edge": RunEdge, "run_source": RunSource, "run_target": RunTarget}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """True answers of the three tasks."""
    home = tmp_path_factory.mktemp("home")
    source = str(models.save(models.mlp(), home / "0"))
    for name in ("1", "asked", "answers"):
        (home / name).mkdir()
    run = edges.edges()["onnx", "onnx-fp16"].run

    def progress(stage: str, share: float | None = None) -> None:
        assert stage

    apply = entrypoints.run_edge(progress, run, source, str(home / "1"), {"keep_io_types": True})
    where = {"format": "onnx", "folder": source, "out": str(home / "asked")}
    first = entrypoints.run_source(progress, **where, seeds=[0, 1, 2], sizes={})
    where = {
        "format": "onnx-fp16",
        "folder": str(home / "1"),
        "source_runs": str(home / "asked"),
        "out": str(home / "answers"),
    }
    given = {"cases": first["cases"], "source": first["signature"], "names": NAMES}
    return {"run_edge": apply, "run_source": first, "run_target": entrypoints.run_target(progress, **where, **given)}


def plain(value: Any) -> Any:
    """As it comes over the wire."""
    import json

    return json.loads(json.dumps(value))


@pytest.mark.parametrize("task", ["run_edge", "run_source", "run_target"])
def test_true_answers_pass_and_no_key_may_lie(task: str, said: dict[str, dict[str, Any]]) -> None:
    true = plain(said[task])
    found = child_schema.checked(MODELS[task], true).model_dump()
    fields = MODELS[task].model_fields.keys()
    assert found == {name: true.get(name) for name in fields}
    for name in fields:
        for odd in (-1, "../x", [[1]], [None], {"a": {"b": 1}}, {"a": []}, 1e400, True):
            if (odd is True and name in ("steady", "steady_ms")) or (
                odd == "../x" and name in ("reference", "tool", "unchanged", "sizes_note")
            ):
                continue
            if name == "chosen" and isinstance(odd, dict):
                continue  # figures of the tool's own, in whatever depth
            with pytest.raises(JobFailed, match=f"invalid result.*{name}"):
                child_schema.checked(MODELS[task], true | {name: odd})
    with pytest.raises(JobFailed, match="invalid result"):
        child_schema.checked(MODELS[task], {})


@pytest.mark.parametrize(
    ("task", "change"),
    [
        ("run_source", lambda s: s["cases"][0].update(file="../../etc/passwd.npz")),
        ("run_source", lambda s: s["cases"][0].update(sizes=[1])),
        ("run_source", lambda s: s["cases"][0].update(kind=3)),
        ("run_source", lambda s: s["signature"]["inputs"][0].update(shape=[{}])),
        ("run_source", lambda s: s["signature"]["inputs"][0].update(name=None)),
        ("run_source", lambda s: s["signature"]["inputs"][0].update(other=1)),
        ("run_source", lambda s: s["signature"].update(sizes={"batch": ["x"]})),
        ("run_source", lambda s: s.update(median_ms=float("nan"))),
        ("run_target", lambda s: s["median_ms"].update(target="1")),
        ("run_edge", lambda s: s.update(fixed={"batch": True})),
        ("run_edge", lambda s: s.update(files={"model.onnx": "0"})),
        ("run_edge", lambda s: s.update(precision="any")),
    ],
)
def test_nonsense_deeper_inside(task: str, change: Any, said: dict[str, dict[str, Any]]) -> None:
    given = plain(said[task])
    change(given)
    with pytest.raises(JobFailed, match="invalid result"):
        child_schema.checked(MODELS[task], given)


def test_a_conversion_ends_with_that_sentence(said: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    def job(environment: str, task: str, arguments: dict[str, Any], stage: str, share: float) -> Any:
        yield from ()
        return plain(said[task]) | {"fixed": [1]}

    route = (edges.edges()["onnx", "onnx-fp16"],)
    conversion = Conversion(job, tmp_path, route, chosen(route, {}))
    with pytest.raises(JobFailed, match=r"returned an invalid result \(fixed\)"):
        list(conversion.run_edges(child_schema.checked(RunSource, plain(said["run_source"]))))
