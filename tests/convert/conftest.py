"""One converter: its fork server imports torch once for all modules."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.convert.service.converter import Converter
from lib.settings import Settings


@pytest.fixture(scope="session")
def converter(request: pytest.FixtureRequest) -> Iterator[Converter]:
    """Exported programs may be uploaded; environments are kept from one session to the next."""
    folder = os.environ.get("DATA_FOLDER") or request.config.cache.mkdir("workbench")
    found = Converter(Settings(jobs=2, pt2_uploads=True, data_folder=Path(folder)))
    yield found
    found.close()
