# SPDX-License-Identifier: Apache-2.0
"""The perceptual network: an autoencoder of single frames, whose feature measures likeness.

Source: the authors' code of Chen et al., "Lip Movements Generation at a Glance", ECCV 2018.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lipjax.errors import ConfigError
from lipjax.models.encoders import IdentityEncoder
from lipjax.nn.blocks import ConvBlock
from lipjax.nn.layers import Conv, nearly_zero


class PerceptualEncoder(nn.Module, kw_only=True):
    """Frames to the feature phi, a quarter of their height and width.

    Attributes:
        widths: channels of the 7x7 convolution and of the 3x3 ones of stride 2 after it.
        residual_blocks: number of blocks at the last width.
        norm: "batch" or "frame". As a fixed measure, "batch" is applied with `train=False`: the
            running statistics, so that a frame's feature does not depend on other frames.
        form, dtype: see `lipjax.nn.blocks`.

    Example:
        >>> make = lipjax.PerceptualEncoder().init_with_output
        >>> feature, variables = jax.eval_shape(make, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
        >>> feature.shape
        (1, 16, 16, 256)
    """

    widths: Sequence[int] = (64, 128, 256)
    residual_blocks: int = 6
    norm: str = "batch"
    form: str = "rewritten"
    dtype: jax.typing.DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, frames: Float[Array, "N H W 3"], *, train: bool = False
    ) -> Float[Array, "N h w D"]:
        """Returns the features of frames in [-1, 1]."""
        common: dict[str, Any] = {"norm": self.norm, "form": self.form, "dtype": self.dtype}
        strides = (1, *(2 for _ in self.widths[1:]))
        x = IdentityEncoder(self.widths, strides, **common, name="down")(frames, train=train)
        for number in range(self.residual_blocks):
            x = _ReflectedBlock(**common, name=f"residual_{number + 1}")(x, train=train)
        return x


class PerceptualAutoencoder(nn.Module, kw_only=True):
    """Frames to their reconstruction; trained to pass them on, its encoder is the measure.

    The encoder's variables are `params["encoder"]` and `batch_stats["encoder"]`.

    Attributes:
        widths, residual_blocks, norm, form, dtype: as in `PerceptualEncoder`.

    Example:
        >>> make = lipjax.PerceptualAutoencoder().init_with_output
        >>> again, variables = jax.eval_shape(make, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
        >>> again.shape
        (1, 64, 64, 3)
    """

    widths: Sequence[int] = (64, 128, 256)
    residual_blocks: int = 6
    norm: str = "batch"
    form: str = "rewritten"
    dtype: jax.typing.DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, frames: Float[Array, "N H W 3"], *, train: bool = False
    ) -> Float[Array, "N H W 3"]:
        """Returns the reconstructions of frames in [-1, 1], float32 in (-1, 1).

        Raises:
            ConfigError: the encoder's strides do not divide the frames' size.
        """
        factor = 2 ** (len(self.widths) - 1)
        if frames.shape[1] % factor or frames.shape[2] % factor:
            raise ConfigError(
                f"frames of {frames.shape[1]}x{frames.shape[2]}: the perceptual network needs "
                f"sides that {factor} divides"
            )
        x = self.encoder()(frames, train=train)
        for number, width in enumerate(reversed(self.widths[:-1])):
            x = ConvBlock(
                width,
                (3, 3),
                (2, 2),
                transpose=True,
                norm=self.norm,
                leading=1,
                form=self.form,
                dtype=self.dtype,
                name=f"deconv_{number + 1}",
            )(x, train=train)
        x = Conv(
            3,
            (7, 7),
            padding=((0, 0), (0, 0)),
            kernel_init=nearly_zero,
            form=self.form,
            dtype=self.dtype,
            name="colours",
        )(_reflected(x, 3))
        return jnp.tanh(x.astype(jnp.float32))

    def encoder(self) -> PerceptualEncoder:
        """Returns the encoder with the same fields, named as among this network's parameters."""
        return PerceptualEncoder(
            widths=self.widths,
            residual_blocks=self.residual_blocks,
            norm=self.norm,
            form=self.form,
            dtype=self.dtype,
            name="encoder",
        )


class _ReflectedBlock(nn.Module):
    """x + norm(conv(relu(norm(conv(x))))) on pictures that are reflected at their borders."""

    norm: str
    form: str
    dtype: jax.typing.DTypeLike

    @nn.compact
    def __call__(self, x: Float[Array, "N h w D"], *, train: bool) -> Float[Array, "N h w D"]:
        y = x
        for name, slope in (("first", 0.0), ("second", 1.0)):
            y = ConvBlock(
                x.shape[-1],
                (3, 3),
                padding=((0, 0), (0, 0)),
                norm=self.norm,
                leading=1,
                negative_slope=slope,
                form=self.form,
                dtype=self.dtype,
                name=name,
            )(_reflected(y, 1), train=train)
        return x + y


def _reflected(x: Float[Array, "N h w D"], size: int) -> Float[Array, "N _h _w D"]:
    return jnp.pad(x, ((0, 0), (size, size), (size, size), (0, 0)), mode="reflect")
