"""Small models of Keras and PyTorch with the symptoms of public reports. Builders as in ``report_graphs.py``."""

from __future__ import annotations

from pathlib import Path

from tests.convert.report_graphs import normal


def masked_lstm(folder: Path) -> Path:
    """Embedding with ``mask_zero`` before an LSTM: ids of 0 are skipped wherever they stand."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    ids = keras.Input((7,), dtype="int32", name="ids")
    h = layers.LSTM(6, name="lstm")(layers.Embedding(12, 5, mask_zero=True)(ids))
    keras.Model(ids, layers.Dense(3, name="scores")(h)).save(folder / "model.keras")
    return folder / "model.keras"


def resized_picture(folder: Path) -> Path:
    """Conv, twice the size by bilinear interpolation, Conv."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    x = keras.Input((8, 8, 3), name="picture")
    h = layers.UpSampling2D(2, interpolation="bilinear")(layers.Conv2D(4, 3, padding="same")(x))
    keras.Model(x, layers.Conv2D(2, 3, padding="same", name="out")(h)).save(folder / "model.keras")
    return folder / "model.keras"


def dilated_causal(folder: Path) -> Path:
    """A causal Conv1D with dilation, twice, as networks for sound have it."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    x = keras.Input((24, 4), name="sound")
    h = layers.Conv1D(6, 3, dilation_rate=2, padding="causal", activation="relu")(x)
    h = layers.Conv1D(6, 3, dilation_rate=4, padding="causal", activation="relu")(h)
    keras.Model(x, layers.Dense(2, name="out")(layers.Flatten()(h))).save(folder / "model.keras")
    return folder / "model.keras"


def floor_of_negatives(folder: Path) -> Path:
    """Whole numbers divided with ``//`` and ``%``: -7 // 2 is -4."""
    import torch

    class Division(torch.nn.Module):
        def forward(self, n: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            return n // 2, n % 3, torch.div(n, -5, rounding_mode="trunc")

    program = torch.export.export(Division(), (torch.tensor([[-7, 7, 5, -4], [1, -1, 0, 9]]),))
    torch.export.save(program, folder / "model.pt2")
    return folder / "model.pt2"


def long_convolution(folder: Path) -> Path:
    """A convolution by FFT: padded to twice the length, multiplied, cut back."""
    import torch

    class Long(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("kernel", torch.from_numpy(normal(3, 8)))

        def forward(self, u: torch.Tensor) -> torch.Tensor:
            spectrum = torch.fft.rfft(u, n=16) * torch.fft.rfft(self.kernel, n=16)
            return torch.fft.irfft(spectrum, n=16)[..., :8] + u

    torch.export.save(torch.export.export(Long(), (torch.from_numpy(normal(2, 3, 8)),)), folder / "model.pt2")
    return folder / "model.pt2"


def attention_without_heads(folder: Path) -> Path:
    """Scaled dot product attention of [batch, sequence, features], with a free batch, causal and with a mask."""
    import torch

    class Attention(torch.nn.Module):
        def forward(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            attend = torch.nn.functional.scaled_dot_product_attention
            return attend(x, x, x, is_causal=True), attend(x, x, x, attn_mask=mask)

    free = {0: torch.export.Dim("batch", min=1, max=64)}
    given = torch.from_numpy(normal(3, 5, 8)), torch.from_numpy(normal(5, 5))
    torch.export.save(torch.export.export(Attention(), given, dynamic_shapes=(free, {})), folder / "model.pt2")
    return folder / "model.pt2"


def shared_and_turned(folder: Path) -> Path:
    """A checkpoint with two names for one tensor, a part of another, and a transposed view: safetensors has no views."""
    import torch

    table, big = torch.from_numpy(normal(6, 4)), torch.from_numpy(normal(8, 8, seed=1))
    held = {"embed.weight": table, "head.weight": table, "first": big[:3], "turned": big.T, "all": big}
    torch.save(held, folder / "model.pt")
    return folder / "model.pt"
