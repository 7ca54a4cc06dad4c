"""What the tests run in a child process with limits: the intake, on one upload or on many."""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lib.convert.intake.admit import admit_upload
from lib.errors import InvalidFile

Progress = Callable[..., None]


def take(progress: Progress, files: dict[str, str], out: str, pt2: bool = False) -> dict[str, Any]:
    format, messages = admit_upload({name: Path(p) for name, p in files.items()}, Path(out), allow_pt2=pt2)
    return {"format": format, "messages": messages}


def take_many(progress: Progress, uploads: dict[str, str]) -> dict[str, str]:
    """By name: the format, the message of a refusal, or a traceback under ``broken``."""
    out: dict[str, str] = {}
    for name, path in uploads.items():
        folder = Path("artifact")
        folder.mkdir()
        try:
            out[name] = f"taken: {admit_upload({'upload': Path(path)}, folder, allow_pt2=True)[0]}"
        except InvalidFile as error:
            out[name] = f"refused: {error.message}"
            if any(folder.iterdir()):
                out[name] = "broken: something is left in the folder"
        except Exception:
            out[name] = f"broken: {traceback.format_exc(limit=-4)}"
        shutil.rmtree(folder)
    return out
