"""Environments of their own for tools that cannot live with the app's packages; made on first use, kept.

One pinned ``<name>.txt`` here is one environment: a complete list, nothing is resolved; its first lines describe it.
It is built in place (scripts hold its path) and counts only once its stamp is written, so a half-built one is never
used. It is made by the app itself, with pip's own configuration; no uploaded file is involved. Knows nothing of edges.

Several apps may share a folder of environments: each holds a lock on those it uses for as long as it lives, and
only what nobody holds is removed.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lib.convert.environments import build
from lib.errors import InvalidValue, JobFailed

Progress = Callable[..., None]
HERE = Path(__file__).parent
STAMP = "complete"
PYTHONS = ((3, 11), (3, 12))  # every pinned wheel exists for these
SYSTEM = ("Linux", "x86_64")
SPACE_MB = 500  # to have left over on the disk
_in_use: dict[Path, int] = {}  # a descriptor with a lock, by environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """``over_app``: it also sees the app's packages, after its own. So it is small; only for tools that conflict
    with the app in what they declare, not in what they do. ``modules`` must be importable when it is done."""

    name: str
    modules: tuple[str, ...]
    megabytes: int  # on disk
    over_app: bool = False
    pip: tuple[str, ...] = ()

    @property
    def requirements(self) -> Path:
        return HERE / f"{self.name}.txt"

    @property
    def pins(self) -> tuple[str, ...]:
        """``package==version``, as pip is given them."""
        lines = (line.strip() for line in self.requirements.read_text().splitlines())
        return tuple(line for line in lines if line and not line.startswith("#"))


def described(path: Path) -> Environment:
    """The environment of a list of pins, by the lines ``# name: value`` that it begins with.

    ``modules`` and ``megabytes``; perhaps ``over-app: yes`` and ``pip``, its options. Raises ValueError.
    """
    said: dict[str, str] = {}
    for line in path.read_text().splitlines():
        if not (found := re.fullmatch(r"# ([a-z-]+): (.+)", line)):
            break
        said[found[1]] = found[2]
    if odd := {"modules", "megabytes"} - said.keys() or said.keys() - {"modules", "megabytes", "over-app", "pip"}:
        raise ValueError(f"{path.name} has lines about itself that are missing or unknown: {', '.join(sorted(odd))}")
    return Environment(
        name=path.stem,
        modules=tuple(said["modules"].split()),
        megabytes=int(said["megabytes"]),
        over_app=said.get("over-app") == "yes",
        pip=tuple(said.get("pip", "").split()),
    )


ENVIRONMENTS: dict[str, Environment] = {path.stem: described(path) for path in sorted(HERE.glob("*.txt"))}


def names() -> tuple[str, ...]:
    return tuple(ENVIRONMENTS)


def find(name: str) -> Environment:
    """Raises InvalidValue, which lists what there is."""
    if name not in ENVIRONMENTS:
        raise InvalidValue("environment", name, ", ".join(ENVIRONMENTS))
    return ENVIRONMENTS[name]


@cache
def missing(name: str) -> str:
    """Why this environment cannot be made by this Python on this machine, and what would help; "" when it can.

    Looks at neither network nor disk: whether the packages come is known when ``ensure`` fetches them.
    """
    find(name)
    here = (platform.system(), platform.machine())
    if here != SYSTEM:
        return f"its packages are only built for {' on '.join(SYSTEM)}, and this machine is {' on '.join(here)}"
    if sys.version_info[:2] not in PYTHONS:
        allowed = " or ".join(".".join(map(str, v)) for v in PYTHONS)
        return f"its pinned packages need Python {allowed}; the app runs on {platform.python_version()}"
    if importlib.util.find_spec("ensurepip") is None:
        return "this Python has no ensurepip, so it cannot make environments; on Debian: apt-get install python3-venv"
    return ""


def ready(name: str, folder: Path) -> bool:
    """Whether it stands in ``folder``, complete and made from the pins of today."""
    return (_home(name, folder) / STAMP).is_file()


def ensure(name: str, folder: Path, progress: Progress) -> Path:
    """The Python of the environment ``name`` under ``folder``; makes it when it is not there (minutes, network).

    ``progress(stage, share)`` is called twice a second at least; whatever it raises stops the making, and what
    was half built is removed. One process makes it, others wait for it. Once it is there, no other app removes it
    while this process lives. Raises JobFailed: it cannot be made here, or pip failed.
    """
    try:
        return _ensure(name, folder, progress)
    except OSError as error:  # its text has paths
        why = error.strerror or type(error).__name__
        raise JobFailed(f"The environment {name!r} cannot be made in the folder of data: {why}.") from error


def _ensure(name: str, folder: Path, progress: Progress) -> Path:
    home = _home(name, folder)
    python = home / "bin" / "python"
    if _use(name, folder):
        return python
    if reason := missing(name):
        raise JobFailed(f"The environment {name!r} cannot be made here: {reason}.")
    folder.mkdir(parents=True, exist_ok=True)
    with _lock(folder / f"{name}.lock", name, progress) as lock:
        if _use(name, folder):  # made by another one while this one waited
            return python
        for old in folder.glob(f"{name}-{'[0-9a-f]' * 12}"):  # half built, or of other pins
            _remove_unused(old)
        _check_space(find(name), folder)
        try:
            _build(find(name), home, lock, progress)
        except BaseException:
            shutil.rmtree(home, ignore_errors=True)
            raise
        _use(name, folder)
    return python


def _use(name: str, folder: Path) -> bool:
    """Whether it is there. First takes a lock on it, which this process keeps: nobody removes it in between."""
    home = _home(name, folder)
    _release(home)  # another one may stand in its place by now
    if not ready(name, folder):
        return False
    _in_use[home] = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    with suppress(OSError):  # a network's file system without locks
        fcntl.flock(_in_use[home], fcntl.LOCK_SH)
    if not ready(name, folder):
        _release(home)
        return False
    return True


def _release(home: Path) -> None:
    if (held := _in_use.pop(home, None)) is not None:
        os.close(held)


def _remove_unused(home: Path) -> None:
    held = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # in use, or nobody can tell
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(home)
    finally:
        os.close(held)


def _build(environment: Environment, home: Path, lock: int, progress: Progress) -> None:
    name, python = environment.name, str(home / "bin" / "python")
    total = len(environment.pins)
    told = {"stage": f"Making the environment {name}", "share": 0.0, "seen": 0}

    def tell(line: str) -> None:
        if found := re.match(r"(?:Collecting|Processing) (?:\S*/)?(\S+)", line):
            told["seen"] += 1
            told["stage"] = f"Environment {name}: fetching {found[1]}"
            told["share"] = 0.05 + 0.6 * min(1.0, told["seen"] / total)
        elif line.startswith("Installing"):
            told["stage"], told["share"] = f"Environment {name}: installing {total} packages", 0.65
        progress(told["stage"], told["share"])

    tell("")
    # -I: neither the app's PYTHONPATH nor a user's packages leak in
    build.run([sys.executable, "-I", "-m", "venv", str(home)], tell, what=f"Making the environment {name!r}", hold=lock)
    fetch = [python, "-I", "-m", "pip", "install", "--no-deps", "--only-binary", ":all:", "--no-input"]
    fetch += ["--progress-bar", "off", "--disable-pip-version-check", "--retries", "2", *environment.pip]
    what = f"Fetching the packages of the environment {name!r} (once; it needs a package index)"
    build.run([*fetch, "--requirement", str(environment.requirements)], tell, what=what, hold=lock)
    if environment.over_app:
        site = next((home / "lib").glob("python*")) / "site-packages"
        (site / "app.pth").write_text("".join(f"{folder}\n" for folder in app_packages()))
    told["stage"], told["share"] = f"Environment {name}: trying it", 0.9
    tell("")
    trial = "; ".join(f"import {module}" for module in environment.modules)
    build.run([python, "-I", "-c", trial], tell, what=f"Using the environment {name!r}", hold=lock)
    (home / STAMP).write_text(environment.requirements.read_text())


def app_packages() -> tuple[str, ...]:
    """The folders that the app's own packages lie in."""
    return tuple(p for p in sys.path if Path(p).name in ("site-packages", "dist-packages") and Path(p).is_dir())


def _home(name: str, folder: Path) -> Path:
    """Named after all that it is made from: other pins, another Python or another app make another one."""
    environment = find(name)
    made_from = [environment.requirements.read_text(), sys.version, *environment.pip]
    made_from += app_packages() if environment.over_app else ()
    return folder / f"{name}-{hashlib.sha256(chr(0).join(made_from).encode()).hexdigest()[:12]}"


def _check_space(environment: Environment, folder: Path) -> None:
    # pip keeps the wheels beside what it unpacks from them
    need, free = 2 * environment.megabytes + SPACE_MB, shutil.disk_usage(folder).free >> 20
    if free < need:
        raise JobFailed(
            f"The environment {environment.name!r} needs {need} MB of disk while it is made; {free} MB are free."
        )


@contextmanager
def _lock(path: Path, name: str, progress: Progress) -> Iterator[int]:
    """Gives the locked file's descriptor, once nobody else holds it."""
    with path.open("w") as file:
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            progress(f"Waiting: the environment {name} is being made", None)
            time.sleep(build.PATIENCE)
        yield file.fileno()
