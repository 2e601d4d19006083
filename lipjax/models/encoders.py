# SPDX-License-Identifier: Apache-2.0
"""Encoders of sound and picture to features.

Source: Chen et al., "Lip Movements Generation at a Glance", ECCV 2018, and the authors' code; the
`SpeechEncoder` is ours.
"""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lipjax.nn.blocks import ConvBlock


class AudioEncoder(nn.Module):
    """Log-mel columns to one row of features per video frame.

    Attributes:
        widths: channels of the 3x3 convolutions.
        time_strides, frequency_strides: steps of each convolution, and of the pooling if any.
        pool: "conv", or "max" for a max pooling by the last pair of strides instead of a last
            convolution.
        norm, form, dtype: see `lipjax.nn.blocks`.
    """

    widths: Sequence[int] = (32, 64, 128, 256, 256)
    time_strides: Sequence[int] = (1, 2, 1, 2, 1)
    frequency_strides: Sequence[int] = (1, 2, 1, 2, 2)
    pool: str = "conv"
    norm: str = "batch"
    form: str = "rewritten"
    dtype: jax.typing.DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, log_mel: Float[Array, "B C F"], *, train: bool) -> Float[Array, "B T f D"]:
        """Returns the audio feature f_s, T = C / columns per frame."""
        strides = list(zip(self.time_strides, self.frequency_strides, strict=True))
        x = log_mel[..., None]
        for number, width in enumerate(self.widths):
            x = ConvBlock(
                width,
                (3, 3),
                strides[number],
                norm=self.norm,
                form=self.form,
                dtype=self.dtype,
                name=f"layer_{number + 1}",
            )(x, train=train)
        if self.pool == "max":
            x = nn.max_pool(x, strides[-1], strides[-1])
        return x


class SpeechEncoder(nn.Module):
    """Log-mel columns to one vector per video frame, by convolutions over time alone.

    Every layer sees all bands at once. An encoder that keeps frequency as a place must pass a
    phone's band pattern on from place to place; to this one it is a pattern of channels, so it
    tells phones apart after a few hundred steps.

    Attributes:
        features: length of the vector and of everything before it.
        strides: steps in time of the first convolutions of 5 taps, as in `AudioEncoder`.
        blocks: residual blocks of 5 frames each.
        dtype: type of the computation.
    """

    features: int = 128
    strides: Sequence[int] = (2, 2)
    blocks: int = 2
    dtype: jax.typing.DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, log_mel: Float[Array, "B C F"]) -> Float[Array, "B T {self.features}"]:
        """Returns the vectors, T = C / columns per frame."""

        def conv(taps: int, stride: int, name: str) -> nn.Conv:
            padding = [(taps // 2, taps // 2)]
            return nn.Conv(self.features, (taps,), (stride,), padding, dtype=self.dtype, name=name)

        x = log_mel
        for number, stride in enumerate(self.strides):
            x = nn.gelu(conv(5, stride, f"layer_{number + 1}")(x))
        for number in range(self.blocks):
            name = f"block_{number + 1}"
            change = nn.gelu(conv(5, 1, f"{name}_time")(nn.gelu(x)))
            x = x + conv(1, 1, f"{name}_mix")(change)
        return x

    @property
    def reach(self) -> int:
        """Frames of sound beyond its own that a vector sees at most."""
        first = last = 0
        for stride in reversed(self.strides):
            first, last = first * stride - 2, last * stride + 2
        columns = math.prod(self.strides)
        return 2 * self.blocks + max(-(first // columns), last // columns)


class IdentityEncoder(nn.Module):
    """A picture of a mouth to a map of features.

    Attributes:
        widths: channels; the first convolution is 7x7 with reflected borders, the others 3x3.
        strides: step of each convolution.
        norm, form, dtype: see `lipjax.nn.blocks`.
    """

    widths: Sequence[int] = (64, 128, 256)
    strides: Sequence[int] = (1, 2, 2)
    norm: str = "batch"
    form: str = "rewritten"
    dtype: jax.typing.DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, picture: Float[Array, "B H W 3"], *, train: bool) -> Float[Array, "B h w D"]:
        """Returns the identity feature f_p."""
        x = jnp.pad(picture, ((0, 0), (3, 3), (3, 3), (0, 0)), mode="reflect")
        for number, (width, stride) in enumerate(zip(self.widths, self.strides, strict=True)):
            x = ConvBlock(
                width,
                (3, 3) if number else (7, 7),
                (stride, stride),
                None if number else ((0, 0), (0, 0)),
                norm=self.norm,
                leading=1,
                form=self.form,
                dtype=self.dtype,
                name=f"layer_{number + 1}",
            )(x, train=train)
        return x
