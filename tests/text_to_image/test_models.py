"""Loading: precision, upcasts, revisions, and what the Hub is asked for."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lib.errors import InvalidValue, ModelUnavailable
from lib.settings import Settings
from lib.text_to_image import model_files, model_loading
from lib.text_to_image.families import FAMILIES
from lib.text_to_image.families.flow_schedulers import FLOW_SCHEDULERS
from lib.text_to_image.model_loading import load
from lib.text_to_image.models import Catalogue, Source, suggested
from lib.text_to_image.request import SCHEDULERS, Request
from tests.text_to_image.test_batch import alone


def test_precision_follows_the_device_unless_the_owner_asks() -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert model_loading.pick_dtype("auto", cpu) == torch.float32 and model_loading.pick_dtype("auto", cuda) == torch.float16
    assert model_loading.pick_dtype("bfloat16", cuda) == torch.bfloat16


@pytest.mark.parametrize("has_bf16", [True, False])
def test_flux_computes_in_bf16_where_the_accelerator_has_it(monkeypatch: pytest.MonkeyPatch, has_bf16: bool) -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16)
    half = {name: FAMILIES[name].half for name in ("FluxPipeline", "StableDiffusion3Pipeline")}
    assert model_loading.pick_dtype("auto", cuda, half["FluxPipeline"]) == (torch.bfloat16 if has_bf16 else torch.float16)
    assert model_loading.pick_dtype("auto", cuda, half["StableDiffusion3Pipeline"]) == torch.float16
    assert model_loading.pick_dtype("auto", cpu, half["FluxPipeline"]) == torch.float32


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(ModelUnavailable, match="DEVICE was 'warp'"):
        model_loading.pick_device("warp")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["sd", "sdxl"])
def test_half_precision(settings: Settings, folders: dict[str, Path], name: str, dtype: str) -> None:
    """The code path of a GPU, on the CPU: half-precision networks, float32 latents between steps."""
    model = load(Source(name=name, folder=folders[name]), replace(settings, dtype=dtype))
    assert model.pipeline.unet.dtype == getattr(torch, dtype)
    # SDXL's VAE overflows in fp16 (its config says so), so it stays in fp32; that is diffusers' default, too, for sd
    assert model.pipeline.vae.config.force_upcast
    upcast = dtype == "float16" and name == "sdxl"
    assert model.pipeline.vae.dtype == (torch.float32 if upcast else getattr(torch, dtype))
    for scheduler in SCHEDULERS:
        picture = alone(model, Request(prompt="a red car", steps=3, seed=1, scheduler=scheduler))
        assert len(set(picture.tobytes())) > 8


def test_a_vae_that_leaves_the_range_of_fp16_goes_on_in_fp32(settings: Settings, folders: dict[str, Path]) -> None:
    model = load(Source(name="sd", folder=folders["sd"]), replace(settings, dtype="float16"))
    vae, latents = model.pipeline.vae, torch.ones(1, 4, 8, 8)
    assert model.decode(latents).dtype == torch.float16
    with torch.no_grad():
        vae.decoder.conv_out.bias.fill_(6e4)
        vae.decoder.conv_out.weight.fill_(6e4)
    found = model.decode(latents)
    assert found.dtype == vae.dtype == torch.float32 and torch.isfinite(found).all()


def test_a_revision_is_a_hash_of_the_weights(settings: Settings, folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["sd"], tmp_path / "same")
    shutil.copytree(folders["sd2"], tmp_path / "other")
    weights = tmp_path / "other" / "unet" / "diffusion_pytorch_model.safetensors"
    from safetensors.torch import load_file, save_file

    save_file({k: v + 1 for k, v in load_file(weights).items()}, weights)
    found = [
        load(Source(name="m", folder=f), settings).revision for f in (folders["sd"], tmp_path / "same", tmp_path / "other")
    ]
    assert found[0] == found[1] != found[2] and len(found[0]) == 64


def test_the_hub_is_asked_for_half_precision_first(monkeypatch: pytest.MonkeyPatch, folders: dict[str, Path]) -> None:
    from diffusers import DiffusionPipeline

    asked = []

    def download(repository: str, **options: object) -> Path:
        asked.append((repository, options["revision"], options["variant"], options["use_safetensors"]))
        if options["variant"]:
            raise ValueError("no such variant")
        return folders["sd"]

    monkeypatch.setattr(DiffusionPipeline, "download", download)
    assert model_loading._download(Source.parse("a/b@v2"), half=True) == (folders["sd"], None)
    assert asked == [("a/b", "v2", "fp16", True), ("a/b", "v2", None, True)]


def test_the_catalogue_is_the_owners_list() -> None:
    catalogue = Catalogue(Settings(models=("a/b", "mine=/x"), default_model="mine"))
    assert catalogue.names == ["a/b", "mine"] and catalogue.choose("").name == "mine"
    with pytest.raises(InvalidValue, match="model was 'c/d'; allowed: a/b, mine"):
        catalogue.choose("c/d")


def test_distilled_models_get_few_steps() -> None:
    assert suggested("stabilityai/sd-turbo")["steps"] <= 4 and suggested("stabilityai/sd-turbo")["guidance_scale"] == 0
    assert suggested("black-forest-labs/FLUX.1-schnell")["guidance_scale"] == 0
    assert all(suggested(n)["scheduler"] in SCHEDULERS for n in ("tiny-scenes", "stabilityai/sd-turbo", "x/y"))


def test_models_of_flow_matching_get_a_scheduler_that_they_take() -> None:
    names = ("black-forest-labs/FLUX.1-dev", "stabilityai/stable-diffusion-3.5-large-turbo", "sd3")
    assert all(suggested(name)["scheduler"] in FLOW_SCHEDULERS for name in names)


def test_a_folder_by_any_name_gets_a_scheduler_that_it_takes(folders: dict[str, Path], tmp_path: Path) -> None:
    for model, takes in (("sd", SCHEDULERS), ("sd3", FLOW_SCHEDULERS), ("flux", FLOW_SCHEDULERS)):
        kind = model_files.pipeline_class(Source(name="mine", folder=folders[model]))
        assert kind and suggested("mine", kind)["scheduler"] in takes
    assert model_files.pipeline_class(Source(name="mine", folder=tmp_path)) == ""
