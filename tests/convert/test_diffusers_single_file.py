"""Single files: read by diffusers' own loader they are the same model, and the way back gives the same bits.

Over 300 lines: both ways share their files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lib.convert.edges import diffusers_to_single_file, single_file_to_diffusers
from lib.convert.formats import load
from lib.convert.formats.diffusers.sources import prepare
from lib.convert.formats.single_file import sd1_configs
from lib.convert.formats.single_file import tensor_names as ldm_names
from lib.convert.formats.single_file.files import KEY, blank_shapes, describe
from lib.convert.proof.cases import cases
from lib.errors import InvalidFile, InvalidValue, JobFailed
from tests.convert.tiny_pipelines import PIPELINES

STORED = {"dtype": "as stored"}


def quiet(stage: str, share: float | None = None) -> None:
    assert stage


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """``source``, ``single`` and ``back`` for the embedded pipeline and random ones of each family."""
    found = {}
    for name in ("tiny-scenes", *PIPELINES):
        found[name] = home = tmp_path_factory.mktemp(name)
        for folder in ("source", "single", "back"):
            (home / folder).mkdir()
        if name == "tiny-scenes":
            prepare("diffusers:tiny-scenes", home / "source")
        else:
            PIPELINES[name]().save_pretrained(home / "source" / "pipeline")
        assert diffusers_to_single_file.convert(quiet, home / "source", home / "single", STORED) == {"messages": []}
        assert single_file_to_diffusers.convert(quiet, home / "single", home / "back", {}) == {"messages": []}
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny-scenes", *PIPELINES])
def test_diffusers_own_loader_reads_the_same_model_from_the_file(name: str, homes: dict[str, Path]) -> None:
    chain = (("diffusers", "source"), ("sd-single-file", "single"), ("diffusers", "back"))
    source, single, back = (load(format, homes[name] / folder) for format, folder in chain)
    signature = source.signature()
    assert signature == single.signature() == back.signature()
    tried = cases(signature, seeds=(0, 1))
    assert {"ordinary", "resized"} <= {case.kind for case in tried}
    answers = []
    for case in tried[:4]:
        expected = source.run(case.arrays)
        answers.append(expected)
        for runner in (single, back):
            for output, value in runner.run(case.arrays).items():
                np.testing.assert_array_equal(value, expected[output], err_msg=output)
    for output in answers[0]:  # or the comparison would be vacuous
        assert np.abs(answers[0][output] - answers[1][output]).max() > 0.05 * np.abs(answers[0][output]).max()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny-scenes", *PIPELINES])
def test_the_way_back_gives_the_same_files(name: str, homes: dict[str, Path]) -> None:
    source, back = homes[name] / "source" / "pipeline", homes[name] / "back" / "pipeline"
    for path in sorted(p for p in source.rglob("*") if p.is_file()):
        other = back / path.relative_to(source)
        if path.suffix == ".safetensors":
            ours = {k.removeprefix("text_model."): v for k, v in load_file(other).items()}
            expected = {k.removeprefix("text_model."): v for k, v in load_file(path).items()}
            assert {k: (v.dtype, v.shape) for k, v in ours.items()} == {k: (v.dtype, v.shape) for k, v in expected.items()}
            assert all(torch.equal(ours[k], v) for k, v in expected.items())
        elif path.name == "model_index.json":
            assert json.loads(other.read_text()) == json.loads(path.read_text())
        else:
            assert other.read_bytes() == path.read_bytes(), path.name


def test_the_pipeline_that_came_back_draws_the_same_picture(homes: dict[str, Path]) -> None:
    from diffusers import StableDiffusionPipeline

    pictures = []
    for folder in ("source", "back"):
        path = homes["tiny-scenes"] / folder / "pipeline"
        pipeline = StableDiffusionPipeline.from_pretrained(path, local_files_only=True, dtype=torch.float32)
        pipeline.set_progress_bar_config(disable=True)
        drawn = pipeline("a red tree", num_inference_steps=3, generator=torch.Generator().manual_seed(0), output_type="np")
        pictures.append(drawn.images)
    np.testing.assert_array_equal(*pictures)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sd1", {
            "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": [16, 32],
            "model.diffusion_model.input_blocks.3.0.op.weight": [16, 16, 3, 3],
            "model.diffusion_model.output_blocks.2.1.conv.weight": [32, 32, 3, 3],
            "model.diffusion_model.output_blocks.5.2.conv.weight": [24, 24, 3, 3],
            "first_stage_model.encoder.mid.attn_1.q.weight": [16, 16, 1, 1],
            "first_stage_model.decoder.up.0.block.0.nin_shortcut.weight": [8, 12, 1, 1],
            "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": None,
        }),
        ("sd2", {
            "cond_stage_model.model.transformer.resblocks.2.attn.in_proj_weight": [96, 32],
            "cond_stage_model.model.positional_embedding": [32, 32],
            "cond_stage_model.model.ln_final.bias": [32],
        }),
        ("sdxl", {
            "conditioner.embedders.0.transformer.text_model.final_layer_norm.weight": [32],
            "conditioner.embedders.1.model.text_projection": [16, 16],
            "model.diffusion_model.label_emb.0.0.weight": [64, 64],
        }),
    ],
)  # fmt: skip
def test_names_and_shapes_are_those_of_the_original_files(
    name: str, expected: dict[str, list[int] | None], homes: dict[str, Path]
) -> None:
    found = {k: list(v.shape) for k, v in load_file(homes[name] / "single" / "model.safetensors").items()}
    for key, shape in expected.items():
        assert key in found
        assert shape is None or found[key] == shape, key


def test_a_swapped_tensor_in_the_file_shows(homes: dict[str, Path], tmp_path: Path) -> None:
    path = homes["sd1"] / "single" / "model.safetensors"
    tensors = load_file(path)
    first = "model.diffusion_model.middle_block.1.transformer_blocks.0.attn1.to_"
    tensors[f"{first}q.weight"], tensors[f"{first}v.weight"] = tensors[f"{first}v.weight"], tensors[f"{first}q.weight"]
    save_file(tensors, tmp_path / "model.safetensors", metadata=_metadata(path))
    good, bad = load("diffusers", homes["sd1"] / "source"), load("sd-single-file", tmp_path)
    case = cases(good.signature())[0]
    assert np.abs(good.run(case.arrays)["unet.noise"] - bad.run(case.arrays)["unet.noise"]).max() > 1e-6


TOKENS = "embeddings.token_embedding.weight"
PLANTED = [
    ("to a single file", "vae", "encoder.conv_in.weight", "first_stage_model.encoder.conv_in.weight"),
    ("to a single file", "vae", "quant_conv.bias", "first_stage_model.quant_conv.bias"),
    ("to a single file", "text_encoder", TOKENS, f"cond_stage_model.transformer.text_model.{TOKENS}"),
    ("to a single file", "text_encoder_2", TOKENS, "conditioner.embedders.1.model.token_embedding.weight"),
    ("as float16", "vae", "encoder.conv_in.weight", "first_stage_model.encoder.conv_in.weight"),
    ("to a folder", "vae", "quant_conv.bias", ""),
    ("to a folder", "text_encoder_2", TOKENS, ""),
]


@pytest.mark.parametrize(("way", "network", "name", "original"), PLANTED)
def test_noise_in_a_tensor_that_no_picture_needs_is_refused(
    way: str, network: str, name: str, original: str, homes: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One number of one tensor: of the encoder, or the row of a token that no case may have."""
    family = "sdxl" if network == "text_encoder_2" else "sd1"
    planted = []

    def spoilt(tensors: dict[str, torch.Tensor], path: Path, **given: Any) -> None:
        there = path.parent.name == network
        keys = [k for k in tensors if k == original or (there and k in (name, f"text_model.{name}"))]
        for key in keys:
            tensors[key] = tensors[key].clone()
            tensors[key].view(-1)[-1] += 1e-2
            planted.append(key)
        save_file(tensors, path, **given)

    monkeypatch.setattr("safetensors.torch.save_file", spoilt)
    with pytest.raises(JobFailed, match=f"'{network}.*{name}' differs in"):
        if way == "to a folder":
            single_file_to_diffusers.convert(quiet, homes[family] / "single", tmp_path, {})
        else:
            dtype = {"dtype": "float16" if way == "as float16" else "as stored"}
            diffusers_to_single_file.convert(quiet, homes[family] / "source", tmp_path, dtype)
    assert len(planted) == 1


@pytest.mark.slow
def test_float32_and_float16(homes: dict[str, Path], tmp_path: Path) -> None:
    for name, dtype, lossy in (
        ("tiny-scenes", "float32", False),
        ("sd1", "float16", True),
        ("tiny-scenes", "float16", False),
    ):
        folder = tmp_path / f"{name}-{dtype}"
        folder.mkdir()
        said = diffusers_to_single_file.convert(quiet, homes[name] / "source", folder, {"dtype": dtype})
        assert said.get("precision") == ("fp16" if lossy else None)
        assert {str(t.dtype) for t in load_file(folder / "model.safetensors").values()} == {f"torch.{dtype}"}
    there = tmp_path / "back"
    there.mkdir()
    single_file_to_diffusers.convert(quiet, tmp_path / "tiny-scenes-float32", there, {})
    assert json.loads((there / "pipeline" / "text_encoder" / "config.json").read_text())["dtype"] == "float32"


def test_float16_refuses_weights_that_it_cannot_hold(homes: dict[str, Path], tmp_path: Path) -> None:
    import shutil

    shutil.copytree(homes["sd1"] / "source", tmp_path / "source")
    path = tmp_path / "source" / "pipeline" / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors["quant_conv.weight"][0] = 1e6
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(InvalidValue, match="vae has weights beyond"):
        diffusers_to_single_file.convert(quiet, tmp_path / "source", tmp_path, {"dtype": "float16"})


def sd1_shapes(channels: int = 4) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a Stable Diffusion 1.x file, without its four gigabytes."""
    found = {}
    configs = {"text_encoder": sd1_configs.TEXT_ENCODER, "unet": sd1_configs.unet(channels), "vae": sd1_configs.VAE}
    for name, config in configs.items():
        blank = blank_shapes(name, config)
        for move in ldm_names.plan(name, config, blank, False):
            found[move.original] = (*blank[move.name], 1, 1) if move.how == ldm_names.CONV else blank[move.name]
    return found


def test_stable_diffusion_1_is_known_by_its_shapes() -> None:
    shapes = sd1_shapes()
    count = {
        home: sum(int(np.prod(s)) for k, s in shapes.items() if k.startswith(home)) for home in ("model.", "first", "cond")
    }
    assert count == {"model.": 859_520_964, "first": 83_653_863, "cond": 123_060_480}  # as published
    assert shapes["model.diffusion_model.output_blocks.11.1.proj_out.weight"] == (320, 320, 1, 1)
    assert shapes["first_stage_model.decoder.mid.attn_1.proj_out.weight"] == (512, 512, 1, 1)
    contents = describe({}, shapes | {"model_ema.decay": ()})
    assert contents.index["_class_name"] == "StableDiffusionPipeline" and "tokenizer" in contents.notes[0]
    assert describe({}, sd1_shapes(9)).index["_class_name"] == "StableDiffusionInpaintPipeline"
    with pytest.raises(InvalidFile, match=r"not Stable Diffusion 1\.x.*from_single_file"):
        describe({}, shapes | {"cond_stage_model.transformer.text_model.final_layer_norm.bias": (1024,)})


def test_a_file_that_says_nothing_and_is_no_sd1_is_refused_with_the_way_out(homes: dict[str, Path], tmp_path: Path) -> None:
    save_file(load_file(homes["sd2"] / "single" / "model.safetensors"), tmp_path / "model.safetensors")
    with pytest.raises(InvalidFile, match="upload that folder as a zip"):
        load("sd-single-file", tmp_path)
    save_file({"w": torch.ones(1)}, tmp_path / "model.safetensors")
    with pytest.raises(InvalidFile, match="not a Stable Diffusion single file"):
        single_file_to_diffusers.convert(quiet, tmp_path, tmp_path, {})


def test_missing_misshapen_and_extra_tensors(homes: dict[str, Path], tmp_path: Path) -> None:
    path = homes["sd2"] / "single" / "model.safetensors"
    tensors, metadata = load_file(path), _metadata(path)
    key = "first_stage_model.quant_conv.bias"
    for change, says in (({key: None}, "missing"), ({key: torch.zeros(3)}, "the configuration requires")):
        changed = {k: v for k, v in (tensors | change).items() if v is not None}
        save_file(changed, tmp_path / "model.safetensors", metadata=metadata)
        with pytest.raises(InvalidFile, match=says):
            single_file_to_diffusers.convert(quiet, tmp_path, tmp_path / "out", {})
        with pytest.raises(InvalidFile):
            load("sd-single-file", tmp_path)
    extra = {"model_ema.decay": torch.ones(1), "betas": torch.ones(1)}
    save_file(tensors | extra, tmp_path / "model.safetensors", metadata=metadata)
    (said,) = single_file_to_diffusers.convert(quiet, tmp_path, tmp_path / "out", {})["messages"]
    assert said.startswith("2 tensors") and "model_ema" in said


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("[", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("{}", "lacks its index"),
        (lambda given: given["files"].update({"../../evil": "x"}), "evil"),
        (lambda given: given["files"].update({"unet/model.py": "x"}), "model.py"),
        (lambda given: given["files"].update({"unet/config.json": 3}), "does not belong"),
        (lambda given: given["files"].pop("unet/config.json"), "not JSON"),
        (lambda given: given["index"].update({"_class_name": "FluxPipeline"}), "FluxPipeline"),
        (lambda given: given["index"].update({"unet": ["os", "system"]}), "allowed there: UNet2DConditionModel"),
        (lambda given: given["index"].pop("vae"), "lacks vae"),
        (lambda given: given["files"].update({"vae/config.json": '{"auto_map": {"a": "b"}}'}), "auto_map"),
        (lambda given: given["files"].update({"vae/config.json": '{"block_out_channels": "x"}'}), "vae"),
    ],
)
def test_hostile_descriptions_are_refused(change: Any, says: str, homes: dict[str, Path], tmp_path: Path) -> None:
    path = homes["sd1"] / "single" / "model.safetensors"
    text = change
    if callable(change):
        given = json.loads(_metadata(path)[KEY])
        change(given)
        text = json.dumps(given)
    save_file(load_file(path), tmp_path / "model.safetensors", metadata={KEY: text})
    with pytest.raises(InvalidFile, match=says):
        single_file_to_diffusers.convert(quiet, tmp_path, tmp_path / "out", {})
    with pytest.raises(InvalidFile):
        load("sd-single-file", tmp_path)
    assert not (tmp_path.parent / "evil").exists()


def test_pipelines_that_have_no_single_file_are_refused(homes: dict[str, Path], tmp_path: Path) -> None:
    prepare("diffusers:tiny-scenes/unet", tmp_path)
    with pytest.raises(InvalidFile, match="'text_encoder' is missing"):
        diffusers_to_single_file.convert(quiet, tmp_path, tmp_path, STORED)
    names = ["down_blocks.0.resnets.0.conv1.weight"]
    with pytest.raises(InvalidFile, match="DownBlock2D"):
        ldm_names.plan("unet", {"down_block_types": ["KDownBlock2D"]}, names, False)
    with pytest.raises(InvalidFile, match="relu"):
        ldm_names.plan("text_encoder", {"hidden_act": "relu"}, names, False)
    with pytest.raises(InvalidFile, match="cannot hold"):
        ldm_names.plan("vae", sd1_configs.VAE, ["encoder.surprise.weight"], False)


def _metadata(path: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return dict(file.metadata())
