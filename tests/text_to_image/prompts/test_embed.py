"""What text encoders give for chunks and weights."""

from __future__ import annotations

import pytest
import torch

from lib.text_to_image.models import Model
from lib.text_to_image.prompts.embed import apply_weights, embed

PLAIN = "a red car on a track"


def test_a_plain_prompt_is_to_the_bit_what_diffusers_makes(embedded: Model, loaded: dict[str, Model]) -> None:
    with torch.inference_mode():
        for model in (embedded, loaded["sd"], loaded["sd2"]):
            p = model.pipeline
            expected = p.encode_prompt(PLAIN, model.device, 1, False)[0][0]
            assert torch.equal(embed(p.tokenizer, p.text_encoder, PLAIN).hidden, expected)


def test_of_both_encoders_of_sdxl_too(loaded: dict[str, Model]) -> None:
    p = loaded["sdxl"].pipeline
    with torch.inference_mode():
        hidden, _, pooled, _ = p.encode_prompt(
            PLAIN, device=p.device, num_images_per_prompt=1, do_classifier_free_guidance=False
        )
        first = embed(p.tokenizer, p.text_encoder, PLAIN, penultimate=True)
        second = embed(p.tokenizer_2, p.text_encoder_2, PLAIN, penultimate=True)
    assert torch.equal(torch.cat([first.hidden, second.hidden], dim=-1), hidden[0])
    assert first.pooled is None and torch.equal(second.pooled, pooled[0])


@torch.inference_mode()
def test_a_chunk_is_the_same_whatever_follows(embedded: Model) -> None:
    p, long = embedded.pipeline, "car " * 30 + "a boat BREAK a (white:1.4) cat"
    whole = embed(p.tokenizer, p.text_encoder, long).hidden
    parts = [embed(p.tokenizer, p.text_encoder, text).hidden for text in ("car " * 30, "a boat", "a (white:1.4) cat")]
    assert whole.shape == (96, 128) and torch.equal(whole, torch.cat(parts))


@torch.inference_mode()
def test_emphasis_scales_the_word_and_keeps_the_mean(embedded: Model) -> None:
    p = embedded.pipeline
    plain, loud = (embed(p.tokenizer, p.text_encoder, text).hidden for text in ("a red car", "a (red:1.5) car"))
    assert loud.mean().item() == pytest.approx(plain.mean().item(), rel=1e-4)
    ratio = loud / plain
    assert (ratio[2] / ratio[1]).mean().item() == pytest.approx(1.5, rel=1e-3)
    assert torch.allclose(ratio[1], ratio[3], rtol=1e-3)


def test_the_formula_of_a1111() -> None:
    hidden = torch.randn(4, 8, generator=torch.Generator().manual_seed(0)) + 0.3
    weighed = hidden * torch.tensor([1.0, 1.3, 0.5, 1.0])[:, None]
    expected = weighed * (hidden.mean() / weighed.mean())
    assert torch.allclose(apply_weights(hidden, (1.0, 1.3, 0.5, 1.0), restore_mean=True), expected)
    assert torch.equal(apply_weights(hidden, (1.0, 1.3, 0.5, 1.0), restore_mean=False), weighed)
    assert apply_weights(hidden, (1.0,) * 4, restore_mean=True) is hidden


def test_a_mean_of_nothing_is_not_restored() -> None:
    hidden = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    hidden -= hidden.mean()
    weighed = apply_weights(hidden, (1.0, 1.3, 0.5, 1.0), restore_mean=True)
    assert torch.equal(weighed, hidden * torch.tensor([1.0, 1.3, 0.5, 1.0])[:, None])


def test_half_precision_is_kept() -> None:
    assert apply_weights(torch.ones(2, 4, dtype=torch.float16), (1.0, 1.3), restore_mean=True).dtype == torch.float16
