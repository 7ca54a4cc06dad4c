"""Small JAX functions to convert, with parameters from a fixed seed, scaled to preserve activation magnitudes.

No user code runs: an artifact only names one of these. jax is imported on the first call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any  # jax.Array or a tracer
HEADS = 2


@dataclass(frozen=True, slots=True)
class Example:
    """A JAX ``function`` from one float32 array of ``shape`` to one of ``out_shape``; a str is a dynamic dimension."""

    title: str
    function: Callable[[Array], Array]
    input: str
    shape: tuple[int | str, ...]
    output: str
    out_shape: tuple[int | str, ...]


def _parameters(seed: int, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Samples N(0, 1 / fan_in) parameters, float32; fan_in is the product of all axes but the last."""
    rng = np.random.default_rng(seed)
    return [(rng.standard_normal(s) / np.sqrt(np.prod(s[:-1]))).astype(np.float32) for s in shapes]


def mlp(x: Array) -> Array:
    """Maps [batch, 16] to logits [batch, 8]: two hidden layers, GELU and tanh."""
    import jax
    import jax.numpy as jnp

    w0, w1, w2, b0, b1 = _parameters(0, (16, 32), (32, 32), (32, 8), (1, 32), (1, 32))
    return jnp.tanh(jax.nn.gelu(x @ w0 + b0) @ w1 + b1) @ w2


def convnet(x: Array) -> Array:
    """Maps images [batch, 16, 16, 3] to logits [batch, 10]: two convolutions, a folded batch norm, max pooling."""
    import jax
    import jax.numpy as jnp
    from jax import lax

    k0, k1, head = _parameters(1, (3, 3, 3, 8), (3, 3, 8, 16), (256, 10))
    scale, shift = np.linspace(0.5, 1.5, 8, dtype=np.float32), np.linspace(-0.2, 0.2, 8, dtype=np.float32)
    layout = ("NHWC", "HWIO", "NHWC")
    h = lax.conv_general_dilated(x, k0, (1, 1), "SAME", dimension_numbers=layout)
    h = jax.nn.relu(h * scale + shift)
    # 2x2 max pooling without reduce_window, which jax2onnx pools over 4 axes
    h = jnp.max(jnp.reshape(h, (x.shape[0], 8, 2, 8, 2, 8)), axis=(2, 4))
    h = jax.nn.relu(lax.conv_general_dilated(h, k1, (2, 2), "SAME", dimension_numbers=layout))
    return jnp.reshape(h, (x.shape[0], 256)) @ head


def attention(x: Array) -> Array:
    """Maps [batch, 8, 32] to the same shape: layer norm, causal self-attention with two heads, residual."""
    import jax
    import jax.numpy as jnp

    wq, wk, wv, wo = _parameters(2, (32, 32), (32, 32), (32, 32), (32, 32))
    centred = x - jnp.mean(x, -1, keepdims=True)
    h = centred / jnp.sqrt(jnp.mean(centred * centred, -1, keepdims=True) + 1e-5)
    q, k, v = (jnp.transpose(jnp.reshape(h @ w, (x.shape[0], 8, HEADS, 16)), (0, 2, 1, 3)) for w in (wq, wk, wv))
    scores = q @ jnp.transpose(k, (0, 1, 3, 2)) / 4.0
    causal = np.tril(np.ones((8, 8), bool))
    mixed = jax.nn.softmax(jnp.where(causal, scores, -1e9), axis=-1) @ v
    return x + jnp.reshape(jnp.transpose(mixed, (0, 2, 1, 3)), (x.shape[0], 8, 32)) @ wo


EXAMPLES: dict[str, Example] = {
    "mlp": Example("Three dense layers", mlp, "x", ("batch", 16), "logits", ("batch", 8)),
    "convnet": Example("Small image classifier", convnet, "image", ("batch", 16, 16, 3), "logits", ("batch", 10)),
    "attention": Example("Causal attention block", attention, "x", ("batch", 8, 32), "y", ("batch", 8, 32)),
}
