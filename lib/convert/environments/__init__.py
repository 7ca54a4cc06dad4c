"""Separate Python environments for tools whose packages conflict with the app's. Built on first use and kept.

Each ``<name>.txt`` here defines one environment: a complete list of pins, so nothing is resolved, with a header that
describes it. An environment is built in place, since scripts contain its path, and is valid only once its stamp is
written, so an incomplete one is never used. The app builds it with pip's own configuration; no uploaded file is involved.

Several apps may share a folder of environments. Each process holds a lock on those it uses, and only unlocked ones are
removed.
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
PYTHONS = ((3, 11), (3, 12))  # versions for which all pinned wheels exist
SYSTEM = ("Linux", "x86_64")
SPACE_MB = 500  # free disk space to keep
_in_use: dict[Path, int] = {}  # locked file descriptors, by environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """An environment. ``over_app``: it also sees the app's packages, after its own, which keeps it small; only for tools
    that conflict with the app in their declared requirements, not in fact. ``modules``: must be importable afterwards."""

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
        """Pins for pip, ``package==version``."""
        lines = (line.strip() for line in self.requirements.read_text().splitlines())
        return tuple(line for line in lines if line and not line.startswith("#"))


def described(path: Path) -> Environment:
    """Parse the environment of a list of pins from its header of lines ``# name: value``.

    Names: ``modules``, ``megabytes``, and optionally ``over-app: yes`` and ``pip`` (options). Raises ValueError.
    """
    header: dict[str, str] = {}
    for line in path.read_text().splitlines():
        if not (match := re.fullmatch(r"# ([a-z-]+): (.+)", line)):
            break
        header[match[1]] = match[2]
    if invalid := {"modules", "megabytes"} - header.keys() or header.keys() - {"modules", "megabytes", "over-app", "pip"}:
        raise ValueError(f"{path.name} has lines about itself that are missing or unknown: {', '.join(sorted(invalid))}")
    return Environment(
        name=path.stem,
        modules=tuple(header["modules"].split()),
        megabytes=int(header["megabytes"]),
        over_app=header.get("over-app") == "yes",
        pip=tuple(header.get("pip", "").split()),
    )


ENVIRONMENTS: dict[str, Environment] = {path.stem: described(path) for path in sorted(HERE.glob("*.txt"))}


def names() -> tuple[str, ...]:
    return tuple(ENVIRONMENTS)


def find(name: str) -> Environment:
    """Return an environment by name. Raises InvalidValue, which lists the names."""
    if name not in ENVIRONMENTS:
        raise InvalidValue("environment", name, ", ".join(ENVIRONMENTS))
    return ENVIRONMENTS[name]


@cache
def missing(name: str) -> str:
    """Return why this Python on this machine cannot build the environment and what would help, or "" if it can.

    Checks neither network nor disk space: ``ensure`` does when it downloads the packages.
    """
    find(name)
    system = (platform.system(), platform.machine())
    if system != SYSTEM:
        return f"its packages are only available for {' on '.join(SYSTEM)}; this machine is {' on '.join(system)}"
    if sys.version_info[:2] not in PYTHONS:
        allowed = " or ".join(".".join(map(str, v)) for v in PYTHONS)
        return f"its pinned packages need Python {allowed}; the app runs on {platform.python_version()}"
    if importlib.util.find_spec("ensurepip") is None:
        return "this Python has no ensurepip, so it cannot create environments; on Debian: apt-get install python3-venv"
    return ""


def ready(name: str, folder: Path) -> bool:
    """Return whether ``folder`` has the environment, complete and built from the current pins."""
    return (_home(name, folder) / STAMP).is_file()


def ensure(name: str, folder: Path, progress: Progress) -> Path:
    """Return the Python of the environment ``name`` under ``folder``. Builds it first if needed (minutes, network).

    ``progress(stage, share)`` is called at least twice a second; an exception that it raises aborts the build and removes
    the incomplete environment. One process builds it, others wait. While this process lives, no other app removes it.
    Raises JobFailed if it cannot be built here or pip fails.
    """
    try:
        return _ensure(name, folder, progress)
    except OSError as error:  # its message contains paths
        reason = error.strerror or type(error).__name__
        raise JobFailed(f"The environment {name!r} cannot be created in the data folder: {reason}.") from error


def _ensure(name: str, folder: Path, progress: Progress) -> Path:
    home = _home(name, folder)
    python = home / "bin" / "python"
    if _use(name, folder):
        return python
    if reason := missing(name):
        raise JobFailed(f"The environment {name!r} cannot be created here: {reason}.")
    folder.mkdir(parents=True, exist_ok=True)
    with _lock(folder / f"{name}.lock", name, progress) as lock:
        if _use(name, folder):  # another process built it meanwhile
            return python
        for stale in folder.glob(f"{name}-{'[0-9a-f]' * 12}"):  # incomplete, or of other pins
            _remove_unused(stale)
        _check_space(find(name), folder)
        try:
            _build(find(name), home, lock, progress)
        except BaseException:
            shutil.rmtree(home, ignore_errors=True)
            raise
        _use(name, folder)
    return python


def _use(name: str, folder: Path) -> bool:
    """Return whether the environment is ready. If so, keep a lock on it, so that no other process removes it."""
    home = _home(name, folder)
    _release(home)  # the folder may have been replaced
    if not ready(name, folder):
        return False
    _in_use[home] = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    with suppress(OSError):  # a network file system without locks
        fcntl.flock(_in_use[home], fcntl.LOCK_SH)
    if not ready(name, folder):
        _release(home)
        return False
    return True


def _release(home: Path) -> None:
    if (descriptor := _in_use.pop(home, None)) is not None:
        os.close(descriptor)


def _remove_unused(home: Path) -> None:
    descriptor = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # in use, or locks are not supported
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(home)
    finally:
        os.close(descriptor)


def _build(environment: Environment, home: Path, lock: int, progress: Progress) -> None:
    name, python = environment.name, str(home / "bin" / "python")
    total = len(environment.pins)
    state = {"stage": f"Creating the environment {name}", "share": 0.0, "seen": 0}

    def tell(line: str) -> None:
        if match := re.match(r"(?:Collecting|Processing) (?:\S*/)?(\S+)", line):
            state["seen"] += 1
            state["stage"] = f"Environment {name}: fetching {match[1]}"
            state["share"] = 0.05 + 0.6 * min(1.0, state["seen"] / total)
        elif line.startswith("Installing"):
            state["stage"], state["share"] = f"Environment {name}: installing {total} packages", 0.65
        progress(state["stage"], state["share"])

    tell("")
    # -I: isolated from the app's PYTHONPATH and the user's packages
    build.run([sys.executable, "-I", "-m", "venv", str(home)], tell, what=f"Creating the environment {name!r}", hold=lock)
    install = [python, "-I", "-m", "pip", "install", "--no-deps", "--only-binary", ":all:", "--no-input"]
    install += ["--progress-bar", "off", "--disable-pip-version-check", "--retries", "2", *environment.pip]
    description = f"Fetching the packages of the environment {name!r} (once; it needs a package index)"
    build.run([*install, "--requirement", str(environment.requirements)], tell, what=description, hold=lock)
    if environment.over_app:
        site = next((home / "lib").glob("python*")) / "site-packages"
        (site / "app.pth").write_text("".join(f"{folder}\n" for folder in app_packages()))
    state["stage"], state["share"] = f"Environment {name}: testing it", 0.9
    tell("")
    trial = "; ".join(f"import {module}" for module in environment.modules)
    build.run([python, "-I", "-c", trial], tell, what=f"Using the environment {name!r}", hold=lock)
    (home / STAMP).write_text(environment.requirements.read_text())


def app_packages() -> tuple[str, ...]:
    """Return the folders of the app's own packages."""
    return tuple(p for p in sys.path if Path(p).name in ("site-packages", "dist-packages") and Path(p).is_dir())


def _home(name: str, folder: Path) -> Path:
    """Return the environment's folder. Its name has a hash of the pins, the Python and, for ``over_app``, the app."""
    environment = find(name)
    inputs = [environment.requirements.read_text(), sys.version, *environment.pip]
    inputs += app_packages() if environment.over_app else ()
    return folder / f"{name}-{hashlib.sha256(chr(0).join(inputs).encode()).hexdigest()[:12]}"


def _check_space(environment: Environment, folder: Path) -> None:
    # pip keeps the wheels in addition to the unpacked packages
    needed, free = 2 * environment.megabytes + SPACE_MB, shutil.disk_usage(folder).free >> 20
    if free < needed:
        raise JobFailed(
            f"The environment {environment.name!r} needs {needed} MB of disk space to be created; {free} MB are free."
        )


@contextmanager
def _lock(path: Path, name: str, progress: Progress) -> Iterator[int]:
    """Wait for an exclusive lock on ``path`` and yield the file descriptor."""
    with path.open("w") as file:
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            progress(f"Waiting: the environment {name} is being created", None)
            time.sleep(build.PATIENCE)
        yield file.fileno()
