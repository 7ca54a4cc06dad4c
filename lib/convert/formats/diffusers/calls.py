"""Defines how a pipeline calls each of its networks: inputs, outputs and a wrapping ``torch.nn.Module``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lib.convert.formats.diffusers.component import Component
from lib.errors import InvalidFile
from lib.model_inputs.signature import Value

if TYPE_CHECKING:
    import torch

TIMESTEPS = 1000


def _called(network: torch.nn.Module, call: Callable[..., tuple[torch.Tensor, ...]]) -> torch.nn.Module:
    """Returns a module that wraps ``network``, with ``forward(*inputs)`` defined as ``call(network, *inputs)``."""
    import torch

    class Called(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return call(self.network, *inputs)

    return Called().eval()


def text_encoder(name: str, network: Any, xl: bool) -> Component:
    """Returns a text encoder: int64 token ids [batch, length] in, float32 hidden states out.

    Stable Diffusion 1 and 2 use the last hidden state; SDXL uses the penultimate one, and the projection of its second
    encoder.
    """
    config = network.config
    length, width = config.max_position_embeddings, config.hidden_size
    ids = Value("input_ids", "int64", ("batch", length), "tokens", config.vocab_size)
    last = Value("last_hidden_state", "float32", ("batch", length, width))
    before = Value("penultimate_hidden_state", "float32", ("batch", length, width))
    pooled = Value("text_embeds", "float32", ("batch", getattr(config, "projection_dim", width)))
    if name == "text_encoder_2":

        def call(net: Any, tokens: torch.Tensor) -> tuple[torch.Tensor, ...]:
            output = net(tokens, output_hidden_states=True)
            return output.text_embeds, output.hidden_states[-2]

        outputs: tuple[Value, ...] = (pooled, before)
    elif xl:

        def call(net: Any, tokens: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return (net(tokens, output_hidden_states=True).hidden_states[-2],)

        outputs = (before,)
    else:

        def call(net: Any, tokens: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return (net(tokens).last_hidden_state,)

        outputs = (last,)
    return Component(name, _called(network, call), (ids,), outputs)


def unet(name: str, network: Any, xl: bool) -> Component:
    """Returns the UNet. Its output ``noise`` is noise or velocity, depending on the scheduler's prediction_type.

    Raises InvalidFile for an SDXL configuration that leaves no room for the text embedding.
    """
    config = network.config
    inputs = [
        Value("sample", "float32", ("batch", config.in_channels, "height", "width")),
        Value("timestep", "int64", ("batch",), "timestep", TIMESTEPS),
        Value("encoder_hidden_states", "float32", ("batch", "tokens", config.cross_attention_dim)),
    ]
    with_added = config.addition_embed_type == "text_time"
    if with_added:
        pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        if pooled < 1:
            raise InvalidFile(
                f"The UNet's projection_class_embeddings_input_dim leaves {pooled} features for the text; at least 1 is "
                "needed."
            )
        inputs += [Value("text_embeds", "float32", ("batch", pooled)), Value("time_ids", "float32", ("batch", 6))]

    def call(net: Any, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        sample, timestep, states, *added = given
        extra = {"text_embeds": added[0], "time_ids": added[1]} if with_added else None
        return net(sample, timestep, states, added_cond_kwargs=extra, return_dict=False)

    noise = Value("noise", "float32", ("batch", config.out_channels, "height", "width"))
    levels = len(config.block_out_channels)
    size = config.sample_size if isinstance(config.sample_size, int) else 64
    return Component(name, _called(network, call), tuple(inputs), (noise,), 2 ** (levels - 1), size)


def vae_decoder(name: str, network: Any, xl: bool) -> Component:
    """Returns the VAE's decoder: ``latents``, already divided by scaling_factor, in; ``image`` in [-1, 1] out."""
    config = network.config
    factor = 2 ** (len(config.block_out_channels) - 1)
    latents = Value("latents", "float32", ("batch", config.latent_channels, "height", "width"))
    image = Value("image", "float32", ("batch", config.out_channels, f"{factor}*height", f"{factor}*width"))

    def call(net: Any, given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return net.decode(given, return_dict=False)

    size = config.sample_size if isinstance(config.sample_size, int) else 512
    return Component("vae_decoder", _called(network, call), (latents,), (image,), 1, max(size // factor, 1))


CALLS: dict[str, Callable[[str, Any, bool], Component]] = {
    "text_encoder": text_encoder,
    "text_encoder_2": text_encoder,
    "unet": unet,
    "vae": vae_decoder,
}
