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
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
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


def t5(width: int = 32) -> T5EncoderModel:
    size = {"d_kv": 8, "d_ff": 64, "num_layers": 1, "num_heads": 4}
    return T5EncoderModel(T5Config(vocab_size=len(build_tokenizer()), d_model=width, **size))


def vae(**statistics: float) -> AutoencoderKL:
    return AutoencoderKL(
        **{"shift_factor": 0.0, **statistics},
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


def stable_diffusion_3(with_t5: bool = True) -> StableDiffusion3Pipeline:
    torch.manual_seed(0)
    return StableDiffusion3Pipeline(
        tokenizer=build_tokenizer(),
        text_encoder=CLIPTextModelWithProjection(text_config()),
        tokenizer_2=build_tokenizer(),
        text_encoder_2=CLIPTextModelWithProjection(text_config()),
        tokenizer_3=build_tokenizer() if with_t5 else None,
        text_encoder_3=t5(64) if with_t5 else None,
        vae=vae(scaling_factor=1.5305, shift_factor=0.0609),
        transformer=SD3Transformer2DModel(
            sample_size=16,
            in_channels=4,
            out_channels=4,
            num_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=64,
            caption_projection_dim=32,
            pooled_projection_dim=64,
            pos_embed_max_size=16,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


def flux(guidance: bool = True) -> FluxPipeline:
    """As "dev", which takes guidance and shifts its timesteps by the picture's size; or as "schnell"."""
    torch.manual_seed(0)
    return FluxPipeline(
        tokenizer=build_tokenizer(),
        text_encoder=CLIPTextModel(text_config()),
        tokenizer_2=build_tokenizer(),
        text_encoder_2=t5(),
        vae=vae(scaling_factor=0.3611, shift_factor=0.1159),
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
            guidance_embeds=guidance,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0 if guidance else 1.0, use_dynamic_shifting=guidance),
    )


def pixart() -> PixArtSigmaPipeline:
    """A family that the batch has no module for."""
    torch.manual_seed(0)
    return PixArtSigmaPipeline(
        tokenizer=build_tokenizer(),
        text_encoder=t5(),
        vae=vae(),
        transformer=PixArtTransformer2DModel(
            sample_size=32,
            num_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            cross_attention_dim=32,
            caption_channels=32,
        ),
        scheduler=DDIMScheduler(**BETAS, clip_sample=False),
    )


PIPELINES = {
    "sd": stable_diffusion,
    "sd2": lambda: stable_diffusion("v_prediction"),
    "sdxl": stable_diffusion_xl,
    "sd3": stable_diffusion_3,
    "flux": flux,
    "schnell": lambda: flux(guidance=False),
    "pixart": pixart,
}
