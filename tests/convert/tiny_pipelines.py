"""Random pipelines with everything that a single file's names must tell apart; seeded, so always the same."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from models.tiny_scenes.tokenizer import build_tokenizer

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def text_config(width: int, act: str) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(build_tokenizer()),
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=width,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=32,
        hidden_act=act,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )


def vae() -> AutoencoderKL:
    """Three levels of their own widths, and attention in the middle: matrices that originals hold as convolutions."""
    return AutoencoderKL(
        block_out_channels=(8, 12, 16),
        norm_num_groups=4,
        latent_channels=4,
        layers_per_block=2,
        sample_size=64,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
    )


def unet(width: int, **extra: object) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(16, 24, 32),
        norm_num_groups=8,
        layers_per_block=2,
        cross_attention_dim=width,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        **({"attention_head_dim": 4} | extra),
    )


def _scheduler(prediction: str) -> DDIMScheduler:
    return DDIMScheduler(**BETAS, prediction_type=prediction, clip_sample=False, steps_offset=1, set_alpha_to_one=False)


def _stable_diffusion(act: str, prediction: str, **extra: object) -> StableDiffusionPipeline:
    torch.manual_seed(0)
    return StableDiffusionPipeline(
        vae=vae(),
        text_encoder=CLIPTextModel(text_config(32, act)),
        tokenizer=build_tokenizer(),
        unet=unet(32, **extra),
        scheduler=_scheduler(prediction),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sd1() -> StableDiffusionPipeline:
    return _stable_diffusion("quick_gelu", "epsilon")


def sd2() -> StableDiffusionPipeline:
    """OpenCLIP's names, linear projections and a head count for each level."""
    return _stable_diffusion("gelu", "v_prediction", use_linear_projection=True, attention_head_dim=(2, 3, 4))


def sdxl() -> StableDiffusionXLPipeline:
    torch.manual_seed(0)
    return StableDiffusionXLPipeline(
        vae=vae(),
        text_encoder=CLIPTextModel(text_config(32, "quick_gelu")),
        text_encoder_2=CLIPTextModelWithProjection(text_config(16, "gelu")),
        tokenizer=build_tokenizer(),
        tokenizer_2=build_tokenizer(),
        unet=unet(
            48,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + 16,
        ),
        scheduler=_scheduler("epsilon"),
    )


PIPELINES = {"sd1": sd1, "sd2": sd2, "sdxl": sdxl}
