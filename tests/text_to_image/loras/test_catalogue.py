"""The owner's list: names, places and what is wrong with them, in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from lib.errors import InvalidValue, ModelUnavailable
from lib.settings import Settings
from lib.text_to_image.loras.catalogue import LoraCatalogue, LoraSource


def test_the_setting() -> None:
    settings = Settings.from_environment({"LORAS": "ink = /x/ink, neon light=a/b@v2,f=/x/f.safetensors"})
    catalogue = LoraCatalogue(settings.loras)
    assert list(catalogue.sources.values()) == [
        LoraSource(name="ink", path=Path("/x/ink")),
        LoraSource(name="neon light", repository="a/b", revision="v2"),
        LoraSource(name="f", path=Path("/x/f.safetensors")),
    ]
    catalogue.check((("ink", 1.0), ("f", 0.0)))
    with pytest.raises(InvalidValue, match="loras was 'other'; allowed: ink, neon light, f"):
        catalogue.check((("ink", 1.0), ("other", 1.0)))
    with pytest.raises(InvalidValue, match="allowed: none, since this app has no LoRAs"):
        LoraCatalogue(()).check((("ink", 1.0),))


@pytest.mark.parametrize("text", ["ink", "=x", "a:b=/x", "<a>=/x", "ink=", "ink=/x, ink=/y", "a=/x, b"])
def test_a_bad_setting_names_the_variable(text: str) -> None:
    with pytest.raises(InvalidValue, match="LORAS was"):
        Settings.from_environment({"LORAS": text})


@pytest.mark.parametrize("place", ["./b", "a/b.safetensors", "/a/b", "a", "~/a", "a/b/c"])
def test_places_on_this_machine(place: str) -> None:
    assert LoraSource.parse(f"n={place}").path == Path(place).expanduser()


def test_which_file_of_a_folder(tmp_path: Path) -> None:
    def ask() -> str:
        return LoraSource.parse(f"n={tmp_path}").file().name

    with pytest.raises(ModelUnavailable, match=r"its folder holds no .safetensors file"):
        ask()
    (tmp_path / "a.safetensors").touch()
    assert ask() == "a.safetensors"
    (tmp_path / "b.safetensors").touch()
    with pytest.raises(ModelUnavailable, match=r"several \(a.safetensors, b.safetensors\)"):
        ask()
    (tmp_path / "pytorch_lora_weights.safetensors").touch()
    assert ask() == "pytorch_lora_weights.safetensors"
    assert LoraSource.parse(f"n={tmp_path / 'b.safetensors'}").file().name == "b.safetensors"


def test_a_pickle_and_a_file_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.bin").touch()
    with pytest.raises(ModelUnavailable, match="pickles are not opened here"):
        LoraSource.parse(f"n={tmp_path / 'a.bin'}").file()
    with pytest.raises(ModelUnavailable, match="its file is missing"):
        LoraSource.parse(f"n={tmp_path / 'b.safetensors'}").file()


def test_the_hub_without_a_network() -> None:
    with pytest.raises(ModelUnavailable, match="the network could not be reached"):
        LoraSource.parse("n=someone/some-lora").file()
