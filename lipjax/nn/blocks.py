# SPDX-License-Identifier: Apache-2.0
"""Convolution, norm and activation in the orders that the networks use."""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lipjax.nn.convolution import Padding
from lipjax.nn.layers import Conv, ConvTranspose
from lipjax.nn.norm import make_norm


class ConvBlock(nn.Module):
    """Convolution (or transposed convolution), norm, (leaky) ReLU.

    Attributes:
        features: output channels.
        kernel_size: taps per spatial axis.
        strides: steps per spatial axis (factors if `transpose`); None is 1 everywhere.
        padding: as in `Conv`, or in `ConvTranspose` if `transpose`.
        transpose: use `ConvTranspose`.
        norm: "batch", "frame" or "none"; only before "batch" is there no bias, where it would
            have no effect.
        leading: axes that the norm "frame" keeps apart: 2 for (batch, time), 1 for pictures.
        negative_slope: slope of the activation below zero; 0 is ReLU, 1 is no activation.
        form: see `lipjax.nn.convolution`.
        dtype: type of the computation.
    """

    features: int
    kernel_size: Sequence[int]
    strides: Sequence[int] | None = None
    padding: Padding | None = None
    transpose: bool = False
    norm: str = "batch"
    leading: int = 2
    negative_slope: float = 0.0
    form: str = "rewritten"
    dtype: jax.typing.DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B *space I"] | Sequence[Float[Array, "B ..."]],
        *,
        train: bool,
    ) -> Float[Array, "B *out {self.features}"]:
        """Returns the block's output for x [B (T) H W I], or for several as in `Conv`."""
        strides = self.strides or (1,) * len(self.kernel_size)
        layer: Callable[..., Any] = ConvTranspose if self.transpose else Conv
        y = layer(
            self.features,
            self.kernel_size,
            strides,
            self.padding,
            use_bias=self.norm != "batch",
            form=self.form,
            dtype=self.dtype,
            name="conv",
        )(x)
        norm = make_norm(
            self.norm, train=train, leading=self.leading, name="norm", dtype=self.dtype
        )
        y = y if norm is None else norm(y)
        if self.negative_slope == 1.0:
            return y
        return nn.leaky_relu(y, self.negative_slope) if self.negative_slope else nn.relu(y)


class ResidualBlock(nn.Module):
    """x + norm(conv(relu(norm(conv(x))))), without an activation after the sum.

    Attributes:
        kernel_size: taps per spatial axis, odd; (1, 3, 3) works within each frame.
        norm, form, dtype: as in `ConvBlock`.
    """

    kernel_size: Sequence[int] = (1, 3, 3)
    norm: str = "batch"
    form: str = "rewritten"
    dtype: jax.typing.DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B T H W C"], *, train: bool) -> Float[Array, "B T H W C"]:
        """Returns x plus its change."""

        def block(name: str, negative_slope: float) -> ConvBlock:
            return ConvBlock(
                x.shape[-1],
                self.kernel_size,
                norm=self.norm,
                negative_slope=negative_slope,
                form=self.form,
                dtype=self.dtype,
                name=name,
            )

        y = block("first", 0.0)(x, train=train)
        return x + block("second", 1.0)(y, train=train)
