"""What a Space gets: the files of a commit without those of development, or one tab with what it needs."""

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

REVISION = "REVISION"  # the file that lib/settings.py reads
DEVELOPMENT = (
    *("tests/", "benchmarks/", ".ci/", ".github/", ".gitignore", ".gitattributes", "pyproject.toml"),
    *("requirements-", "lib/deploy/", "spaces/deploy.py", "spaces/stage.py"),
    *("Dockerfile", ".dockerignore", "compose.yaml", "deploy/"),
)
NAMED = re.compile(r"(lib|web|models)(\.\w+)+")  # a module: imported, or named to be imported in a child process


def identity(repository: Path, commit: str) -> str:
    """The 40 digits of a commit, branch or tag; it may be one that a push has brought and is not accepted with yet."""
    words = ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}"]
    done = subprocess.run(words, cwd=repository, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InvalidValue("commit", commit, "a commit, branch or tag of this repository")
    return done.stdout.strip()


def of_commit(repository: Path, identity: str) -> Files:
    """Every file of a commit."""
    command = ["git", "archive", "--format=tar", identity]
    done = subprocess.run(command, cwd=repository, capture_output=True, check=True)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        return {m.name: archive.extractfile(m).read() for m in archive if m.isfile()}  # type: ignore[union-attr]


def of_folder(folder: Path) -> Files:
    """Every file under ``folder`` that can be part of a Space, committed or not."""
    tops = ("app.py", "LICENSE", "README.md", "requirements.txt", "docs", "lib", "models", "spaces", "web")
    paths = [p for top in tops for p in (folder / top, *(folder / top).rglob("*")) if p.is_file()]
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths if "__pycache__" not in p.parts}


def whole(files: Files) -> Files:
    return {path: content for path, content in files.items() if not path.startswith(DEVELOPMENT)}


def tabs(files: Files) -> list[str]:
    return sorted(p.split("/")[1] for p in files if re.fullmatch(r"spaces/\w+/app\.py", p))


def one_tab(files: Files, tab: str) -> Files:
    """The tab's card and requirements at the root, the rest where it is in the repository."""
    if tab not in tabs(files):
        raise InvalidValue("tab", tab, ", ".join(tabs(files)))
    own = f"spaces/{tab}/"
    needed = {p for p in files if p.startswith(own) or (p.startswith("web/") and not p.endswith(".py"))} | {"LICENSE"}
    unread = set(needed)
    while unread:
        path = unread.pop()
        found = {p for unit in _units(files, path) for p in _members(files, unit)} - needed
        needed |= found
        unread |= found
    moved = {own + name: name for name in ("README.md", "requirements.txt")}
    return {moved.get(path, path): files[path] for path in sorted(needed)}


def _units(files: Files, path: str) -> Iterator[str]:
    """``lib/convert/``, ``lib/jobs.py``: what the file uses, by its imports and by the modules that its strings name."""
    if not path.endswith(".py"):
        return
    names = set(_names(ast.parse(files[path]), path))
    if "lib.settings.EMBEDDED_FOLDER" in names:
        yield "models/tiny_scenes/weights/"
    for name in names:
        if not NAMED.fullmatch(name):
            continue
        top, *below = name.split(".")
        if top == "models":  # code to make a model with stands beside it: only the modules that are used
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
