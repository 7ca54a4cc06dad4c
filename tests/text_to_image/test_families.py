"""A family is there as soon as its file is; none can be forgotten and silently draw one picture at a time."""

from __future__ import annotations

import ast
from pathlib import Path

import diffusers
import pytest

from lib.text_to_image import families

HOME = Path(families.__file__).parent
MODULE = """
from lib.text_to_image.families.stable_diffusion import StableDiffusion

class Another(StableDiffusion):
    pipelines = ("{}",)
"""


def test_every_file_that_names_a_pipeline_is_in_the_table() -> None:
    named = set()
    for path in HOME.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "pipelines":
                named |= set(ast.literal_eval(node.value))
    assert named and named == set(families.FAMILIES)


def test_a_new_file_is_found_without_an_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "another.py").write_text(MODULE.format("KolorsPipeline"))
    monkeypatch.setattr(families, "__path__", [*families.__path__, str(tmp_path)])
    found = families.discover()
    assert found["KolorsPipeline"].__name__ == "Another"
    assert found.keys() - families.FAMILIES.keys() == {"KolorsPipeline"}


def test_two_families_cannot_claim_one_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "thief.py").write_text(MODULE.format("StableDiffusionPipeline"))
    monkeypatch.setattr(families, "__path__", [*families.__path__, str(tmp_path)])
    with pytest.raises(ValueError, match="two families claim StableDiffusionPipeline"):
        families.discover()


@pytest.mark.parametrize("name", families.FAMILIES)
def test_the_names_are_those_of_diffusers(name: str) -> None:
    """A misspelt one would silently run one request at a time."""
    assert issubclass(getattr(diffusers, name), diffusers.DiffusionPipeline)
