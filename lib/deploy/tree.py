"""The files that are deployed: a commit without development files, or one tab with its dependencies."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

from lib.errors import InvalidValue

# Path in the repository -> content.
Files = dict[str, bytes]

REVISION = "REVISION"  # file with the commit, read by lib/settings.py
DEVELOPMENT = (
    *("tests/", "benchmarks/", ".ci/", ".github/", ".gitignore", ".gitattributes", "pyproject.toml"),
    *("requirements-", "lib/deploy/", "spaces/deploy.py", "spaces/stage.py"),
    *("Dockerfile", ".dockerignore", "compose.yaml", "deploy/"),
)
NAMED = re.compile(r"(lib|web|models)(\.\w+)+")  # a module that is imported, or named in a string for a child process


def identity(repository: Path, commit: str) -> str:
    """Return the full hash of a commit, branch or tag, also of a commit in a push that is not accepted yet.

    Raises InvalidValue.
    """
    command = ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}"]
    result = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    if result.returncode:
        raise InvalidValue("commit", commit, "a commit, branch or tag of this repository")
    return result.stdout.strip()


def of_commit(repository: Path, identity: str) -> Files:
    """Return all files of a commit."""
    command = ["git", "archive", "--format=tar", identity]
    result = subprocess.run(command, cwd=repository, capture_output=True, check=True)
    with tarfile.open(fileobj=io.BytesIO(result.stdout)) as archive:
        return {m.name: archive.extractfile(m).read() for m in archive if m.isfile()}  # type: ignore[union-attr]


def of_folder(folder: Path) -> Files:
    """Return all files under ``folder`` that can be part of a Space, committed or not."""
    tops = ("app.py", "LICENSE", "README.md", "requirements.txt", "docs", "lib", "models", "spaces", "web")
    paths = [p for top in tops for p in (folder / top, *(folder / top).rglob("*")) if p.is_file()]
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths if "__pycache__" not in p.parts}


def whole(files: Files) -> Files:
    """Return the files of the whole app, without development files."""
    return {path: content for path, content in files.items() if not path.startswith(DEVELOPMENT)}


def tabs(files: Files) -> list[str]:
    """Return the names of the tabs."""
    return sorted(p.split("/")[1] for p in files if re.fullmatch(r"spaces/\w+/app\.py", p))


def one_tab(files: Files, tab: str) -> Files:
    """Return the files of one tab: its card and requirements at the root, the others at their usual paths.

    Raises InvalidValue for an unknown tab.
    """
    if tab not in tabs(files):
        raise InvalidValue("tab", tab, ", ".join(tabs(files)))
    prefix = f"spaces/{tab}/"
    needed = {p for p in files if p.startswith(prefix) or (p.startswith("web/") and not p.endswith(".py"))} | {"LICENSE"}
    queue = set(needed)
    while queue:
        path = queue.pop()
        used = {p for unit in _units(files, path) for p in _members(files, unit)} - needed
        needed |= used
        queue |= used
    destinations = {prefix + name: name for name in ("README.md", "requirements.txt")}
    return {destinations.get(path, path): files[path] for path in sorted(needed)}


def _units(files: Files, path: str) -> Iterator[str]:
    """Yield the files and folders that a module uses, by its imports and by module names in its strings."""
    if not path.endswith(".py"):
        return
    names = set(_names(ast.parse(files[path]), path))
    if "lib.settings.EMBEDDED_FOLDER" in names:
        yield "models/tiny_scenes/weights/"
    for name in names:
        if not NAMED.fullmatch(name):
            continue
        top, *below = name.split(".")
        if top == "models":  # only the used modules, without the code that created the model
            yield f"models/{'/'.join(below[:2])}.py"
        else:
            yield from (f"{top}/__init__.py", f"{top}/{below[0]}.py", f"{top}/{below[0]}/")


def _names(tree: ast.AST, path: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = path.split("/")[: -node.level] if node.level else []
            yield from (".".join([*package, *filter(None, [node.module]), alias.name]) for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _members(files: Files, unit: str) -> list[str]:
    return [p for p in files if p == unit or (unit.endswith("/") and p.startswith(unit))]
