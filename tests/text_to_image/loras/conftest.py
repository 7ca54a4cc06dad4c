"""Models that know two LoRAs each, made for them: ``ink`` in kohya's format where there is one, and ``neon`` in peft's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lib.settings import EMBEDDED, Settings
from lib.text_to_image.model_loading import load
from lib.text_to_image.models import Model, Source
from tests.text_to_image.loras.make import write

NAMES = ("tiny-scenes", "sd", "sdxl", "sd3", "flux")


@pytest.fixture(scope="session")
def knowing(settings: Settings, folders: dict[str, Path], embedded: Model, loaded: dict[str, Model], tmp_path_factory: Any):  # type: ignore[no-untyped-def]
    """Settings and a loaded model by name; the first has LORAS of files that fit the second."""

    home = tmp_path_factory.mktemp("loras")
    found: dict[str, tuple[Settings, Model]] = {}

    def get(name: str) -> tuple[Settings, Model]:
        if name not in found:
            pipeline = embedded.pipeline if name == EMBEDDED else loaded[name].pipeline
            kohya = "kohya" if hasattr(pipeline, "unet") else "peft"
            # a tenth or so of what random matrices would do
            write(home / f"{name}-ink.safetensors", pipeline, kohya, seed=1, rank=4, alpha=0.4)
            write(home / f"{name}-neon.safetensors", pipeline, "peft", seed=2, rank=6, alpha=0.6)
            own = replace(settings, loras=tuple(f"{lora}={home / f'{name}-{lora}.safetensors'}" for lora in ("ink", "neon")))
            source = Source.parse(EMBEDDED) if name == EMBEDDED else Source(name=name, folder=folders[name])
            model = load(source, own)
            found[name] = own, replace(model, size=128) if name == "flux" else model  # smaller pictures are enough
        return found[name]

    return get
