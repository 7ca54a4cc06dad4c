"""Files of every format give what diffusers' own loading of them gives; bad ones say why."""

from __future__ import annotations

import pickle
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lib.errors import InvalidValue, ModelUnavailable
from lib.text_to_image.loras.lora_file import Lora, read
from lib.text_to_image.loras.lora_rows import WeightedLoras, apply_loras
from tests import tiny
from tests.text_to_image.loras.make import FORMATS, write

SD_UNET = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"


@torch.inference_mode()
def encoded(p: Any) -> tuple[torch.Tensor, ...]:
    if hasattr(p, "text_encoder_2"):
        hidden, _, pooled, _ = p.encode_prompt("a red car", device=p.device, do_classifier_free_guidance=False)
        return hidden, pooled
    return p.encode_prompt("a red car", p.device, 1, False)[:1]


@torch.inference_mode()
def predicted(p: Any, conditions: tuple[torch.Tensor, ...], n: int = 1) -> torch.Tensor:
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)).repeat(n, 1, 1, 1)
    added = {"text_embeds": conditions[1].repeat(n, 1), "time_ids": torch.zeros(n, 6)} if len(conditions) > 1 else None
    hidden = conditions[0].repeat(n, 1, 1)
    return p.unet(noise, torch.full((n,), 500.0), encoder_hidden_states=hidden, added_cond_kwargs=added).sample


def with_loras(p: Any, row: WeightedLoras) -> ExitStack:
    stack = ExitStack()
    for component in ("unet", "text_encoder", "text_encoder_2"):
        if hasattr(p, component):
            stack.enter_context(apply_loras(getattr(p, component), component, [row]))
    return stack


@pytest.mark.parametrize("name", ["sd", "sdxl"])
@pytest.mark.parametrize(("kind", "alpha"), [*((kind, None) for kind in FORMATS), ("kohya", 2.0), ("peft", 3.0)])
def test_it_gives_what_diffusers_gives(tmp_path: Path, name: str, kind: str, alpha: float | None) -> None:
    p = tiny.PIPELINES[name]()
    files = [write(tmp_path / f"{k}.safetensors", p, kind, seed=k, rank=2 + 2 * k, alpha=alpha) for k in range(2)]
    plain = encoded(p)
    row = tuple((read(file.stem, file, p), weight) for file, weight in zip(files, (0.7, 1.3), strict=True))
    with with_loras(p, row):
        own_text, own = encoded(p), predicted(p, plain)
    assert torch.equal(predicted(p, plain), predicted(p, plain)) and not any(m._forward_hooks for m in p.unet.modules())
    before = predicted(p, plain)
    for file in files:
        p.load_lora_weights(str(tmp_path), weight_name=file.name, adapter_name=f"a{file.stem}")
    p.set_adapters(["a0", "a1"], [0.7, 1.3])
    assert torch.allclose(own, predicted(p, plain), atol=2e-5) and not torch.allclose(own, before, atol=0.1)
    for ours, theirs, was in zip(own_text, encoded(p), plain, strict=True):
        assert torch.allclose(ours, theirs, atol=2e-5) and not torch.allclose(ours, was, atol=0.1)


@pytest.fixture(scope="module")
def pipeline() -> Any:
    return tiny.stable_diffusion()


@pytest.fixture
def pair(pipeline: Any, tmp_path: Path) -> list[Lora]:
    files = [write(tmp_path / f"{k}.safetensors", pipeline, "kohya", seed=k, rank=3 + k) for k in range(2)]
    return [read(file.stem, file, pipeline) for file in files]


@pytest.mark.parametrize("separately", [False, True])
def test_every_row_has_its_own(pipeline: Any, pair: list[Lora], separately: bool) -> None:
    one, two = pair
    rows: list[WeightedLoras] = [(), ((one, 0.5),), ((one, 1.0), (two, 0.3)), ((two, 2.0),), ((one, 0.0),), ()]
    plain = encoded(pipeline)
    with apply_loras(pipeline.unet, "unet", rows, separately=separately):
        together = predicted(pipeline, plain, n=len(rows))
    for row, found in zip(rows, together, strict=True):
        with apply_loras(pipeline.unet, "unet", [row]):
            assert torch.allclose(found, predicted(pipeline, plain)[0], atol=2e-5)
    assert not torch.allclose(together[1], together[0], atol=0.1)
    assert not torch.allclose(together[2], together[1], atol=0.1)


def test_apart_a_row_is_exact_in_any_company(pipeline: Any, pair: list[Lora]) -> None:
    one, two = pair
    plain, own = encoded(pipeline), ((one, 0.5),)
    found = []
    for rows in ([own, (), (), ()], [own, ((one, 1.0), (two, 0.3)), ((two, 2.0),), ()]):
        with apply_loras(pipeline.unet, "unet", rows, separately=True):
            found.append(predicted(pipeline, plain, n=4)[0])
    assert torch.equal(*found)


def test_the_hash_is_of_the_tensors(pipeline: Any, tmp_path: Path) -> None:
    first = write(tmp_path / "a.safetensors", pipeline, "peft", seed=1)
    save_file(load_file(first), tmp_path / "b.safetensors", {"comment": "another header"})
    other = write(tmp_path / "c.safetensors", pipeline, "peft", seed=2)
    hashes = [read("x", file, pipeline).hash for file in (first, tmp_path / "b.safetensors", other)]
    assert hashes[0] == hashes[1] != hashes[2] and len(hashes[0]) == 12


def test_of_another_kind_of_model(tmp_path: Path, pipeline: Any) -> None:
    for_sdxl = write(tmp_path / "xl.safetensors", tiny.stable_diffusion_xl(), "kohya", seed=1)
    with pytest.raises(InvalidValue, match="loras was 'ink'; allowed: one for this kind of model"):
        read("ink", for_sdxl, pipeline)
    no_text = write(tmp_path / "unet.safetensors", tiny.stable_diffusion_xl(), "kohya", seed=1, text=False)
    with pytest.raises(InvalidValue, match=r"attn2\.to_k' does not fit"):
        read("ink", no_text, pipeline)


def tensors(**named: torch.Tensor) -> dict[str, torch.Tensor]:
    """A LoRA of one layer, with changes."""
    return {f"{SD_UNET}.lora_A.weight": torch.ones(2, 64), f"{SD_UNET}.lora_B.weight": torch.ones(64, 2)} | named


KOHYA = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
BAD = {
    "not numbers": (tensors(**{f"{SD_UNET}.lora_B.weight": torch.full((64, 2), torch.nan)}), "not numbers"),
    "DoRA": (tensors(**{f"{SD_UNET}.lora_magnitude_vector": torch.ones(64)}), "another method than LoRA"),
    "LoHa": ({f"{KOHYA}.hada_w1_a": torch.ones(2, 2)}, "another method|could not be read as a LoRA"),
    "LoKr": ({f"{SD_UNET}.lokr_w1": torch.ones(2, 2)}, "another method than LoRA"),
    "Tucker": ({f"{KOHYA}.lora_down.weight": torch.ones(2, 64), f"{KOHYA}.lora_mid.weight": torch.ones(2)}, "LoRA"),
    "empty": ({}, "no LoRA weights"),
    "a model": ({"unet.conv_in.weight": torch.ones(2)}, "weights that do not belong to a LoRA"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_no_lora(pipeline: Any, tmp_path: Path, name: str) -> None:
    state, words = BAD[name]
    save_file(state, tmp_path / "x.safetensors")
    with pytest.raises(ModelUnavailable, match=words) as caught:
        read("ink", tmp_path / "x.safetensors", pipeline)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"hello", b"\xff" * 100, pickle.dumps({"a": 1}), b"\x02\0\0\0\0\0\0\0{}"])
def test_a_file_that_is_no_safetensors(pipeline: Any, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(data)
    with pytest.raises(ModelUnavailable) as caught:
        read("ink", tmp_path / "x.safetensors", pipeline)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    "changed",
    [
        {f"{SD_UNET}.lora_B.weight": torch.ones(64, 3)},
        {f"{SD_UNET}.lora_A.weight": torch.ones(2, 65)},
        {f"{SD_UNET}.lora_B.weight": torch.ones(63, 2)},
        {"unet.conv_in.lora_A.weight": torch.ones(2, 4, 1, 1), "unet.conv_in.lora_B.weight": torch.ones(32, 2, 1, 1)},
        {"unet.nothing.lora_A.weight": torch.ones(2, 4), "unet.nothing.lora_B.weight": torch.ones(4, 2)},
        {"unet.conv_norm_out.lora_A.weight": torch.ones(2, 4), "unet.conv_norm_out.lora_B.weight": torch.ones(4, 2)},
        {"prior.x.lora_A.weight": torch.ones(2, 4), "prior.x.lora_B.weight": torch.ones(4, 2)},
    ],
    ids=str,
)
def test_matrices_that_do_not_fit(pipeline: Any, tmp_path: Path, changed: dict[str, torch.Tensor]) -> None:
    save_file(tensors(**changed), tmp_path / "x.safetensors")
    with pytest.raises(InvalidValue, match="loras was 'ink'; allowed: one"):
        read("ink", tmp_path / "x.safetensors", pipeline)


def test_the_alpha_of_a_layer_is_its_own(pipeline: Any, tmp_path: Path) -> None:
    file = write(tmp_path / "x.safetensors", pipeline, "kohya", seed=1, rank=4)
    state = load_file(file)
    state |= {key: torch.tensor(1.0) for key in state if key.endswith("attn1_to_q.alpha") or key.endswith("conv1.alpha")}
    save_file(state, file)
    layers = read("x", file, pipeline).layers["unet"]
    for name, delta in layers.items():
        key = "lora_unet_" + name.replace(".", "_")
        scale = 0.25 if name.endswith(("attn1.to_q", "conv1")) else 1.0
        assert torch.allclose(delta.up, state[f"{key}.lora_up.weight"] * scale), name
    assert len(layers) * 3 == sum(key.startswith("lora_unet_") for key in state)
