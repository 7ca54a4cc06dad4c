"""What a tab needs is read from its imports: of this repository's tabs, and of ones that are harder."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from lib.deploy import tree
from lib.errors import InvalidValue

ROOT = Path(__file__).parent.parent.parent
FILES = tree.of_folder(ROOT)


@pytest.mark.parametrize("tab", tree.tabs(FILES))
def test_every_module_that_a_tab_s_files_import_is_there(tab: str) -> None:
    files = tree.one_tab(FILES, tab)
    modules = {p.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for p in files if p.endswith(".py")}
    packages = {m.rsplit(".", n)[0] for m in modules for n in (1, 2, 3)}
    seen = 0
    for path in (p for p in files if p.endswith(".py")):
        for name in imported(files[path], path):
            seen += 1
            parent = name.rsplit(".", 1)[0]  # the last word may be a function of it
            assert {name, parent} & (modules | packages), f"{path} imports {name}"
    assert seen > 50


def imported(content: bytes, path: str) -> list[str]:
    """Our modules, by the import statements alone, with what is imported from them."""
    found = []
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = path.split("/")[: -node.level] if node.level else []
            found += [".".join([*base, *filter(None, [node.module]), alias.name]) for alias in node.names]
    return [name for name in found if name.split(".")[0] in ("lib", "web", "models") and "." in name]


def test_only_what_it_needs() -> None:
    inspect = tree.one_tab(FILES, "onnx_inspect")
    assert sum(map(len, inspect.values())) < 2e6  # bytes; the picture model's weights are 12 MB
    assert not [p for p in inspect if p.startswith(("lib/train", "lib/text_to_image", "lib/deploy", "spaces/convert"))]
    assert "models/tiny_scenes/weights/unet/config.json" in tree.one_tab(FILES, "text_to_image")


def test_relative_imports_and_modules_named_in_text() -> None:
    files = dict.fromkeys(["LICENSE", "lib/one/__init__.py", "lib/two/data.csv", "lib/three.py", "lib/four.py"], b"")
    files["lib/one/deep/a.py"] = b"from ... import three\nfrom ..b import x\n"
    files["lib/one/b.py"] = b"def f():\n    run('lib.two.tasks', 'run lib.four.x')\n"
    files["lib/two/tasks.py"] = b""
    files |= {
        "spaces/t/app.py": b"import lib.one.deep.a as a\n",
        "spaces/t/README.md": b"",
        "spaces/t/requirements.txt": b"",
    }
    assert set(tree.one_tab(files, "t")) == {
        *("LICENSE", "README.md", "requirements.txt", "spaces/t/app.py", "lib/three.py"),
        *("lib/one/__init__.py", "lib/one/deep/a.py", "lib/one/b.py", "lib/two/data.csv", "lib/two/tasks.py"),
    }


def test_a_commit_of_no_repository(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="commit was '--output=x'; allowed: a commit, branch or tag"):
        tree.identity(tmp_path, "--output=x")
