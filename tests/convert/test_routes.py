"""Routes over the registry, and the registry itself."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from lib.convert import edges
from lib.convert.edges import Edge
from lib.convert.formats import APP, FORMATS, find
from lib.convert.proof.tolerances import loosest
from lib.convert.service import catalogue, routes
from lib.errors import InvalidValue

ROOT = Path(__file__).parent.parent.parent


def some(*given: tuple[str, str, float, float]) -> dict[tuple[str, str], Edge]:
    return {
        (a, b): Edge(source=a, target=b, tool=f"{a}-{b}", precision="fp32", seconds=s, error=e, run="x:y")
        for a, b, s, e in given
    }


def names(route: tuple[Edge, ...]) -> list[str]:
    return [edge.target for edge in route]


def test_the_cheapest_route_counts_seconds_and_error(monkeypatch: pytest.MonkeyPatch) -> None:
    table = some(
        ("keras", "onnx", 4, 2e-6), ("onnx", "pt2", 5, 2e-6), ("keras", "tflite", 5, 2e-6), ("tflite", "onnx", 25, 2e-6)
    )
    monkeypatch.setattr(routes, "edges", lambda: table)
    found = routes.routes("keras")
    assert {k: names(v) for k, v in found.items()} == {"onnx": ["onnx"], "tflite": ["tflite"], "pt2": ["onnx", "pt2"]}
    monkeypatch.setattr(routes, "edges", lambda: table | some(("keras", "pt2", 1, 1e-2)))
    assert names(routes.routes("keras")["pt2"]) == ["onnx", "pt2"], "an error of a hundredth costs more than ten seconds"
    monkeypatch.setattr(routes, "edges", lambda: table | some(("keras", "pt2", 8, 1e-6)))
    assert names(routes.routes("keras")["pt2"]) == ["pt2"]
    assert routes.routes("openvino") == {}


def test_a_cycle_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "edges", lambda: some(("onnx", "pt2", 1, 0), ("pt2", "onnx", 1, 0)))
    assert set(routes.routes("onnx")) == {"pt2"}


def test_a_chain_is_held_to_its_loosest_hop() -> None:
    assert loosest(["fp32", "exact"]) == "fp32"
    assert loosest(["fp32", "int8", "fp16"]) == "int8"


@pytest.mark.parametrize("edge", edges.edges().values(), ids=lambda e: f"{e.source}->{e.target}")
def test_every_edge_exists_and_says_what_it_needs(edge: Edge) -> None:
    module, name = edge.run.split(":")
    assert callable(getattr(importlib.import_module(module), name))
    assert edge.seconds > 0
    assert 0 <= edge.error < 1
    assert edge.environment != APP or not edge.missing(), "requirements.txt has what the app's own edges need"
    assert not find(edge.source).base, "a variant is a target, never a source"
    for option in edge.options:
        assert option.kind in ("bool", "int", "choice", "file", "text")
        assert option.kind != "choice" or option.default in option.choices
        assert option.kind != "int" or option.default is None or option.low <= option.default <= option.high


def test_options_of_one_name_mean_the_same_wherever_they_meet() -> None:
    """A route's options are one list: two hops with the same name get the same value."""
    kinds: dict[str, set[str]] = {}
    for edge in edges.edges().values():
        for option in edge.options:
            kinds.setdefault(option.name, set()).add(option.kind)
    assert {name: found for name, found in kinds.items() if len(found) > 1} == {}


def test_the_table_is_read_without_loading_a_framework() -> None:
    code = (
        "import sys; from lib.convert.formats.names import names; from lib.convert.service import catalogue; "
        "rows = catalogue.table(); names(); "
        "heavy = {'torch', 'onnx', 'tensorflow', 'keras', 'jax', 'openvino', 'transformers'}; "
        "print(len(rows), sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    count, loaded = done.stdout.split(maxsplit=1)
    assert int(count) == len(edges.edges())
    assert loaded.strip() == "[]"


def test_a_row_for_every_edge_with_a_reason_where_it_cannot_run() -> None:
    rows = catalogue.table()
    assert {(r["source"], r["target"]) for r in rows} == set(edges.edges())
    assert all(r["runs_here"] == (not r["why_not"]) for r in rows)


def test_a_second_edge_and_unknown_formats_are_refused() -> None:
    taken = next(iter(edges.edges().values()))
    about = {"tool": "x", "precision": "fp32", "seconds": 1, "error": 0}
    with pytest.raises(ValueError, match="a second edge"):
        edges.edge(taken.source, taken.target, **about)(lambda *_: None)
    with pytest.raises(InvalidValue):
        edges.edge("onnx", "word", **about)
    with pytest.raises(ValueError, match="precision"):
        edges.edge("onnx", "pt2", **about | {"precision": "good"})


def test_every_format_has_a_runner_and_a_title() -> None:
    for name, format in FORMATS.items():
        module, _ = format.runner.split(":")
        assert (ROOT / "lib" / "convert" / "formats" / f"{module.replace('.', '/')}.py").is_file(), name
        assert format.title
        assert format.environment == APP or (ROOT / f"lib/convert/environments/{format.environment}.txt").is_file()
