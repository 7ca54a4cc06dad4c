"""Random models small enough for a test, in diffusers' own classes; seeded, so always the same."""

from __future__ import annotations

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, T5Config, T5EncoderModel

from models.tiny_scenes.tokenizer import build_tokenizer

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def text_config() -> CLIPTextConfig:
    tokens = build_tokenizer()
    return CLIPTextConfig(
        vocab_size=len(tokens),
        hidden_size=32,
        intermediate_size=64,
        projection_dim=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=32,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )


def vae() -> AutoencoderKL:
    return AutoencoderKL(
        shift_factor=0.0,
        block_out_channels=(8, 8, 8, 8),
        norm_num_groups=4,
        latent_channels=4,
        layers_per_block=1,
        mid_block_add_attention=False,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )


def unet(width: int = 32, **extra: object) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64),
        layers_per_block=1,
        cross_attention_dim=width,
        attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        **extra,
    )


def stable_diffusion(prediction: str = "epsilon") -> StableDiffusionPipeline:
    torch.manual_seed(0)
    return StableDiffusionPipeline(
        vae=vae(),
        text_encoder=CLIPTextModel(text_config()),
        tokenizer=build_tokenizer(),
        unet=unet(),
        scheduler=DDIMScheduler(
            **BETAS, prediction_type=prediction, clip_sample=False, steps_offset=1, set_alpha_to_one=False
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def stable_diffusion_xl() -> StableDiffusionXLPipeline:
    torch.manual_seed(0)
    return StableDiffusionXLPipeline(
        vae=vae(),
        text_encoder=CLIPTextModel(text_config()),
        text_encoder_2=CLIPTextModelWithProjection(text_config()),
        tokenizer=build_tokenizer(),
        tokenizer_2=build_tokenizer(),
        unet=unet(
            64, addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=6 * 8 + 32
        ),
        scheduler=EulerDiscreteScheduler(**BETAS, steps_offset=1),
    )


def flux() -> FluxPipeline:
    """A transformer with a T5 text encoder: a family that the batch has no row for."""
    torch.manual_seed(0)
    t5 = T5Config(vocab_size=len(build_tokenizer()), d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4)
    return FluxPipeline(
        tokenizer=build_tokenizer(),
        text_encoder=CLIPTextModel(text_config()),
        tokenizer_2=build_tokenizer(),
        text_encoder_2=T5EncoderModel(t5),
        vae=vae(),
        transformer=FluxTransformer2DModel(
            patch_size=1,
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=32,
            axes_dims_rope=(4, 4, 8),
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


PIPELINES = {
    "sd": stable_diffusion,
    "sd2": lambda: stable_diffusion("v_prediction"),
    "sdxl": stable_diffusion_xl,
    "flux": flux,
}
