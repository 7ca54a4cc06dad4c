"""Child processes for the tests that need real ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lib.jobs import Jobs


@pytest.fixture(scope="module")
def jobs() -> Iterator[Jobs]:
    one = Jobs(workers=1, waiting=1, preload=("lib.onnx_inspect.tasks",))
    one.start()
    yield one
    one.close()
