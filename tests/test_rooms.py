"""The rooms of lib/convert and the order of their floors, read from the imports: none runs upwards; nowhere is a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.test_architecture import CAPABILITIES, ROOT, imports

# from the ground up; a room imports from rooms before it
ROOMS = ("core", "environments", "proof", "formats", "emulation", "tools", "intake", "edges", "worker", "service")
PACKAGE = "lib.convert"
ALL = ("lib", "web", "spaces", "models")
Graph = dict[str, set[str]]


def modules(root: Path = ROOT, packages: Iterable[str] = (PACKAGE,)) -> dict[str, Path]:
    """Every module of ``packages`` by its dotted name."""
    found = {}
    for path in sorted(path for one in packages for path in root.joinpath(*one.split(".")).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def graph(root: Path = ROOT, packages: Iterable[str] = (PACKAGE,)) -> Graph:
    """Module -> the modules of ``packages`` that it imports, also inside functions and for types only."""
    known = modules(root, packages)
    return {
        name: {n if n in known else n.rpartition(".")[0] for n in imports(path, root)} & known.keys() - {name}
        for name, path in known.items()
    }


def room(module: str) -> str:
    return [*module.split("."), "", ""][2]


def upwards(found: Graph) -> list[str]:
    floors = {name: k for k, name in enumerate(ROOMS)}
    return [
        f"{module} -> {other}"
        for module, others in found.items()
        for other in sorted(others)
        if room(module) and room(other) and room(module) != room(other) and floors[room(other)] >= floors[room(module)]
    ]


def test_the_rooms_are_these() -> None:
    here = {p.name for p in (ROOT / "lib" / "convert").iterdir() if p.name != "__pycache__"}
    assert here == {*ROOMS, "__init__.py"}


def test_no_import_runs_upwards() -> None:
    found = graph()
    assert len(found) > 150 and upwards(found) == []


def test_no_import_runs_in_a_circle() -> None:
    whole = graph(packages=ALL)
    assert len(whole) > 500
    TopologicalSorter(whole).prepare()
    by_format: Graph = {}
    for module, others in graph().items():
        if room(module) == "formats":
            here = module.split(".")[3:4]
            by_format.setdefault("".join(here), set()).update(
                o.split(".")[3] for o in others if room(o) == "formats" and o.count(".") > 2
            )
    TopologicalSorter({name: others - {name} for name, others in by_format.items() if name}).prepare()


def test_the_rules_can_fail(tmp_path: Path) -> None:
    for name, text in {
        "core/bad.py": "def f():\n    from lib.convert.worker import hops\n",
        "worker/hops.py": "from lib.convert.worker import other\n",
        "worker/other.py": "from . import hops\n",
    }.items():
        path = tmp_path / "lib" / "convert" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = graph(tmp_path)
    assert upwards(found) == ["lib.convert.core.bad -> lib.convert.worker.hops"]
    with pytest.raises(CycleError):
        TopologicalSorter(found).prepare()


def test_what_all_tabs_share_knows_no_capability() -> None:
    """web/ is for every tab; what knows a capability belongs into that tab's folder."""
    found = {
        str(path.relative_to(ROOT)): names
        for path in (ROOT / "web").rglob("*.py")
        if (names := {n for n in imports(path) if n.startswith("lib.") and n.split(".")[1] in CAPABILITIES})
    }
    assert found == {}


def test_a_format_loads_no_framework_by_its_name() -> None:
    """``lib.convert.formats`` is read by the app: the ``__init__`` of a format imports core and nothing else."""
    for path in (ROOT / "lib" / "convert" / "formats").glob("*/__init__.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                module = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
                assert module == "__future__" or str(module).startswith("lib.convert.core"), path
