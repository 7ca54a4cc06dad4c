from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from lib.errors import InvalidValue
from lib.settings import Settings
from lib.text_to_image.models import Catalogue, Source

ROOT = Path(__file__).parent.parent


def test_defaults_need_no_environment() -> None:
    settings = Settings.from_environment({})
    assert settings.models[0] == "tiny-scenes" and settings.dtype == "auto" and not settings.share


def test_values_are_read() -> None:
    settings = Settings.from_environment({"MODELS": "a/b, c=/d ,", "QUEUE_SIZE": "3", "SHARE": "Yes", "DTYPE": "bfloat16"})
    assert settings.models == ("a/b", "c=/d") and settings.queue_size == 3 and settings.share
    assert settings.dtype == "bfloat16"


@pytest.mark.parametrize(
    ("name", "value"), [("QUEUE_SIZE", "0"), ("QUEUE_SIZE", "x"), ("SHARE", "maybe"), ("DTYPE", "int8")]
)
def test_a_bad_value_names_the_variable(name: str, value: str) -> None:
    with pytest.raises(InvalidValue, match=f"{name} was '{value}'; allowed: "):
        Settings.from_environment({name: value})


def test_the_docs_list_every_variable() -> None:
    listed, readme = (
        re.findall(r"^\| `([A-Z0-9_]+)` \| (.*)$", (ROOT / page).read_text(), re.M)
        for page in ("docs/settings.md", "README.md")
    )
    set_by_others = {"SPACES_ZERO_GPU", "WORLD_SIZE", "RANK"}  # by ZeroGPU and by accelerate launch
    assert {name for name, _ in listed} == {f.metadata["variable"] for f in fields(Settings)} - set_by_others
    assert set(readme) <= set(listed)  # in the same words


def test_only_settings_reads_the_environment() -> None:
    for path in [ROOT / "app.py", *(ROOT / "lib").rglob("*.py"), *(ROOT / "spaces").rglob("*.py")]:
        if path.name != "settings.py":
            assert not re.search(r"os\.environ|\bgetenv\b|import environ\b", path.read_text()), path


def test_sources() -> None:
    assert Source.parse("a/b@v1") == Source(name="a/b", repository="a/b", revision="v1")
    assert Source.parse("mine=/x/y") == Source(name="mine", folder=Path("/x/y"))
    with pytest.raises(InvalidValue, match="DEFAULT_MODEL"):
        Catalogue(Settings(default_model="nothing"))
