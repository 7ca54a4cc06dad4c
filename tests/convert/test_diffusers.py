"""Pipelines on disk: run as diffusers runs them; hostile folders are refused before a loader sees them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lib.convert.formats import load
from lib.convert.formats.diffusers.runner import DiffusersRunner
from lib.convert.formats.diffusers.sources import SOURCES, format_of, prepare
from lib.convert.proof.cases import cases
from lib.errors import InvalidFile, InvalidValue, JobFailed
from tests.convert.tiny_pipelines import PIPELINES


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    homes = {name: tmp_path_factory.mktemp(name) for name in PIPELINES}
    for name, make in PIPELINES.items():
        make().save_pretrained(homes[name] / "pipeline")
    return homes


@pytest.fixture
def folder(saved: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the sd1 pipeline to spoil."""
    shutil.copytree(saved["sd1"], tmp_path / "copy")
    return tmp_path / "copy"


def test_the_embedded_pipeline_is_a_source_with_its_networks(tmp_path: Path) -> None:
    parts = [source.removeprefix("diffusers:tiny-scenes") for source in SOURCES]
    assert parts == ["", "/text_encoder", "/unet", "/vae_decoder"]
    assert prepare("diffusers:tiny-scenes", tmp_path / "all") == []
    signature = load("diffusers", tmp_path / "all").signature()
    values = {v.name: v for v in (*signature.inputs, *signature.outputs)}
    assert values["text_encoder.input_ids"].shape == ("batch", 32) and values["text_encoder.input_ids"].high == 854
    assert values["unet.sample"].shape == ("batch", 8, "height", "width")
    assert values["unet.timestep"].role == "timestep" and values["unet.timestep"].dtype == "int64"
    assert values["vae_decoder.image"].shape == ("batch", 3, "8*height", "8*width")
    assert all(size % 4 == 0 for side in ("height", "width") for size in signature.sizes[side])
    for part in ("text_encoder", "unet", "vae_decoder"):
        assert format_of(f"diffusers:tiny-scenes/{part}") == "diffusers-network"
        assert prepare(f"diffusers:tiny-scenes/{part}", tmp_path / part)
        names = {v.name for v in load("diffusers-network", tmp_path / part).signature().inputs}
        assert names == {name for name in values if name.startswith(f"{part}.")} - {v.name for v in signature.outputs}


@pytest.mark.parametrize(
    "name", ["diffusers:", "diffusers:other", "diffusers:tiny-scenes/../unet", "diffusers:tiny-scenes/scheduler"]
)
def test_other_names_are_refused_and_nothing_is_copied(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="tiny-scenes/unet"):
        prepare(name, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", list(PIPELINES))
def test_the_runner_gives_what_the_pipeline_itself_computes(name: str, saved: dict[str, Path]) -> None:
    import diffusers

    pipeline = diffusers.DiffusionPipeline.from_pretrained(
        saved[name] / "pipeline", local_files_only=True, dtype=torch.float32
    )
    runner = DiffusersRunner(saved[name])
    signature = runner.signature()
    for case in cases(signature, seeds=(0,))[:2]:
        found = runner.run(case.arrays)
        for value in signature.outputs:
            sizes = case.sizes | {f"4*{s}": 4 * case.sizes[s] for s in ("height", "width")}
            assert found[value.name].dtype == value.dtype
            assert found[value.name].shape == tuple(sizes[d] if isinstance(d, str) else d for d in value.shape)
        given = {k: torch.from_numpy(v) for k, v in case.arrays.items()}
        with torch.inference_mode():
            expected = {"vae_decoder.image": pipeline.vae.decode(given["vae_decoder.latents"]).sample}
            added = (
                {"added_cond_kwargs": {k: given[f"unet.{k}"] for k in ("text_embeds", "time_ids")}} if name == "sdxl" else {}
            )
            noise = pipeline.unet(given["unet.sample"], given["unet.timestep"], given["unet.encoder_hidden_states"], **added)
            expected["unet.noise"] = noise.sample
            text = pipeline.text_encoder(given["text_encoder.input_ids"], output_hidden_states=True)
            if name == "sdxl":
                second = pipeline.text_encoder_2(given["text_encoder_2.input_ids"], output_hidden_states=True)
                expected["text_encoder.penultimate_hidden_state"] = text.hidden_states[-2]
                expected["text_encoder_2.text_embeds"] = second.text_embeds
                expected["text_encoder_2.penultimate_hidden_state"] = second.hidden_states[-2]
            else:
                expected["text_encoder.last_hidden_state"] = text.last_hidden_state
        assert set(found) == set(expected)
        for key, value in expected.items():
            np.testing.assert_allclose(found[key], value.numpy(), rtol=0, atol=1e-5, err_msg=key)
    with pytest.raises(JobFailed, match="unet refused"):
        runner.run(case.arrays | {"unet.sample": case.arrays["unet.sample"][:, :1]})


def test_weights_as_older_releases_named_them_load(folder: Path, saved: dict[str, Path]) -> None:
    """Stable Diffusion 1.5 on the Hub still has these names."""
    pipeline = folder / "pipeline"
    path = pipeline / "vae" / "diffusion_pytorch_model.safetensors"
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = {}
    for key, tensor in load_file(path).items():
        for new, name in old.items():
            key = key.replace(f"attentions.0.{new}.", f"attentions.0.{name}.")
        tensors[key] = tensor
    assert any(".proj_attn." in key for key in tensors)
    save_file(tensors, path, metadata={"format": "pt"})
    path = pipeline / "text_encoder" / "model.safetensors"
    tensors = {f"text_model.{k.removeprefix('text_model.')}": v for k, v in load_file(path).items()}
    save_file(tensors | {"text_model.embeddings.position_ids": torch.arange(32)[None]}, path, metadata={"format": "pt"})
    old_runner, runner = DiffusersRunner(folder), DiffusersRunner(saved["sd1"])
    case = cases(runner.signature())[0]
    for key, value in runner.run(case.arrays).items():
        np.testing.assert_array_equal(old_runner.run(case.arrays)[key], value, err_msg=key)


def edit(name: str, **changes: Any) -> Callable[[Path], None]:
    def change(pipeline: Path) -> None:
        given = json.loads((pipeline / name).read_text())
        (pipeline / name).write_text(json.dumps({k: v for k, v in (given | changes).items() if v is not KeyError}))

    return change


def only_a_pickle(pipeline: Path) -> None:
    path = pipeline / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(path), path.with_suffix(".bin"))
    path.unlink()


def shards_elsewhere(pipeline: Path) -> None:
    outside = pipeline.parent / "outside.safetensors"
    shutil.copy(pipeline / "unet" / "diffusion_pytorch_model.safetensors", outside)
    (pipeline / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": {"conv_in.weight": "../../outside.safetensors"}})
    )


def one_tensor_less(pipeline: Path) -> None:
    path = pipeline / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors.pop("conv_in.weight")
    save_file(tensors, path, metadata={"format": "pt"})


def write(name: str, text: str) -> Callable[[Path], None]:
    return lambda pipeline: (pipeline / name).write_text(text) and None


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "another family": (edit("model_index.json", _class_name="FluxPipeline"), "FluxPipeline"),
    "a pipeline of its own": (edit("model_index.json", _class_name=["pipeline", "Mine"]), "supported"),
    "a class from elsewhere": (edit("model_index.json", unet=["os", "UNet2DConditionModel"]), "allowed there"),
    "another class": (edit("model_index.json", vae=["diffusers", "AutoencoderTiny"]), "AutoencoderTiny"),
    "an unknown component": (
        edit("model_index.json", extra=["diffusers", "UNet2DConditionModel"]),
        "allowed there: nothing",
    ),
    "a custom scheduler": (edit("model_index.json", scheduler=["mine", "MyScheduler"]), "DDIMScheduler"),
    "an index of nothing": (
        edit("model_index.json", unet=KeyError, vae=KeyError, text_encoder=KeyError),
        "nothing to convert",
    ),
    "an index that is no JSON": (write("model_index.json", "import os"), "not JSON"),
    "an index too deep": (write("model_index.json", '{"a":' * 100_000), "not JSON"),
    "a list for a config": (write("unet/config.json", "[]"), "not a JSON object"),
    "custom code": (edit("text_encoder/config.json", auto_map={"AutoModel": "evil.Model"}), "auto_map"),
    **{
        f"loading by {key}": (edit("text_encoder/config.json", **{key: value}), key)
        for key, value in {
            "attn_implementation": "owner/kernel",
            "_attn_implementation": "owner/kernel",
            "use_kernels": True,
            "transformers_weights": "other.safetensors",
            "experts_implementation": "owner/kernel",
        }.items()
    },
    "a kernel for a part": (edit("text_encoder/config.json", text_config={"use_kernels": True}), "use_kernels"),
    "a map of weights that is a list": (
        write("unet/diffusion_pytorch_model.safetensors.index.json", '{"weight_map": []}'),
        "no weight_map",
    ),
    "no map of weights": (write("unet/diffusion_pytorch_model.safetensors.index.json", "{}"), "no weight_map"),
    "a shard that is a list": (
        write("unet/diffusion_pytorch_model.safetensors.index.json", '{"weight_map": {"conv_in.weight": ["a"]}}'),
        "not in its folder",
    ),
    "several widths of text": (edit("unet/config.json", cross_attention_dim=[32, 32, 32]), "cross_attention_dim"),
    "no width of text": (edit("unet/config.json", cross_attention_dim=None), "cross_attention_dim"),
    "a quantizer": (edit("unet/config.json", quantization_config={"quant_method": "gguf"}), "quantization_config"),
    "an adapter": (write("text_encoder/adapter_config.json", '{"base_model_name_or_path": "/etc"}'), "adapter_config"),
    "class labels": (edit("unet/config.json", num_class_embeds=10), "num_class_embeds"),
    "guidance embeddings": (edit("unet/config.json", time_cond_proj_dim=256), "time_cond_proj_dim"),
    "only a pickle": (only_a_pickle, "no safetensors"),
    "shards elsewhere": (shards_elsewhere, "not in its folder"),
    "one tensor less": (one_tensor_less, "do not match the configuration: 1 tensors"),
    "another width": (edit("unet/config.json", block_out_channels=[16, 24, 40]), "unet"),
    "nonsense in a config": (edit("vae/config.json", block_out_channels="abc"), "vae"),
    "no config": (lambda pipeline: (pipeline / "vae" / "config.json").unlink(), "missing"),
    "no folder": (shutil.rmtree, "no network"),
    "broken weights": (write("vae/diffusion_pytorch_model.safetensors", "nothing"), "vae"),
}


@pytest.mark.parametrize("name", list(BAD))
def test_bad_folders_are_refused(name: str, folder: Path) -> None:
    spoil, says = BAD[name]
    spoil(folder / "pipeline")
    with pytest.raises(InvalidFile, match=says) as caught:
        DiffusersRunner(folder)
    assert str(folder.parent) not in caught.value.message and len(caught.value.message) < 600


def test_a_description_in_a_single_file_is_refused_alike(saved: dict[str, Path]) -> None:
    from lib.convert.formats.single_file.files import KEY, NETWORKS, describe

    pipeline = saved["sd1"] / "pipeline"
    names = ("text_encoder", "unet", "vae")
    assert set(names) < set(NETWORKS)
    files = {f"{name}/config.json": (pipeline / name / "config.json").read_text() for name in names}
    whole = {"index": json.loads((pipeline / "model_index.json").read_text()), "files": files}
    assert describe({KEY: json.dumps(whole)}, {}).networks() == list(names)
    files["text_encoder/config.json"] = json.dumps(json.loads(files["text_encoder/config.json"]) | {"use_kernels": True})
    with pytest.raises(InvalidFile, match="use_kernels"):
        describe({KEY: json.dumps(whole)}, {})
