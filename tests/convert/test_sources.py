"""Sources by name, as ``take`` gets them: nothing that was sent is left aside without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from lib.convert.intake import sources
from lib.errors import InvalidValue


@pytest.mark.parametrize("name", ["diffusers:tiny-scenes", "jax:mlp", "hub:owner/name"])
def test_files_beside_a_name_that_takes_none_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "up").write_bytes(b"anything")
    with pytest.raises(InvalidValue, match=r"files was 'mine\.safetensors'") as caught:
        sources.admit_source({"mine.safetensors": tmp_path / "up"}, name, tmp_path / "out", allow_hub=True)
    assert name.partition(":")[0] in caught.value.message
    assert not list((tmp_path / "out").iterdir())


def test_without_files_the_name_is_taken(tmp_path: Path) -> None:
    from lib.convert.formats.jax.examples import EXAMPLES

    assert sources.admit_source({}, f"jax:{next(iter(EXAMPLES))}", tmp_path)[0] == "jax"
