"""Architectures of the model's four networks, untrained.

Latents are [8, 16, 16] for a 128 x 128 picture (a factor of 8). All four networks have about 7.9 M parameters, 16 MB
in fp16.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import load_file
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from models.tiny_scenes.tokenizer import MAX_TOKENS, build_tokenizer

LATENT_CHANNELS, LATENT_SIDE, WIDTH = 8, 16, 128


def build_vae() -> AutoencoderKL:
    # One group: with 8 groups, or fewer than 8 channels per group, group norm removes the colors
    # and pictures stay gray for an hour of training.
    return AutoencoderKL(
        sample_size=128,
        latent_channels=LATENT_CHANNELS,
        block_out_channels=(24, 32, 64, 96),
        layers_per_block=1,
        norm_num_groups=1,
        mid_block_add_attention=False,
        scaling_factor=1.0,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )


def build_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=LATENT_SIDE,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(80, 112, 112),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        # diffusers interprets this as the number of heads
        attention_head_dim=4,
        norm_num_groups=16,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    )


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            projection_dim=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_scheduler() -> DDIMScheduler:
    # 0.02 instead of Stable Diffusion's 0.012: with 16 x 16 latents the mean color would otherwise
    # still be visible at the last timestep, and pictures would drift to gray.
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.02,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        steps_offset=1,
        clip_sample=False,
        set_alpha_to_one=False,
        timestep_spacing="leading",
    )


class Denoiser(nn.Module):
    """Text encoder and UNet, trained together (v-prediction)."""

    def __init__(self) -> None:
        super().__init__()
        self.tokenizer = build_tokenizer()
        self.text_encoder = build_text_encoder(self.tokenizer)
        self.unet = build_unet()

    def forward(self, noisy: torch.Tensor, timesteps: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return self.unet(noisy, timesteps, self.text_encoder(ids)[0]).sample


def trained_vae(run: Path) -> AutoencoderKL:
    """Returns an autoencoder with the averaged weights of the decoder and, if trained, the encoder."""
    vae = build_vae()
    state = load_file(run / "decoder.safetensors")
    if (run / "encoder.safetensors").exists():
        encoder_state = load_file(run / "encoder.safetensors")
        state |= {k: v for k, v in encoder_state.items() if k.startswith(("encoder.", "quant_conv."))}
    vae.load_state_dict(state)
    return vae.eval()
