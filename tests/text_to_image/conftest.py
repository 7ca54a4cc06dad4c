"""What tests of pictures share beside the models of ``tests/conftest.py``."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lib.text_to_image.models import Model


@pytest.fixture(scope="session")
def flows(loaded: dict[str, Model]) -> dict[str, Model]:
    """The models of flow matching. Flux draws 1024 pixels by itself; small pictures are enough here."""
    return {name: replace(loaded[name], size=128) for name in ("sd3", "flux", "schnell")}
