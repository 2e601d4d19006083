# SPDX-License-Identifier: Apache-2.0
"""Convolution layers whose parameters do not depend on how the convolution is computed."""

import math
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lipjax.errors import ConfigError
from lipjax.nn import broadcasting, convolution

Dtype = jax.typing.DTypeLike
Initializer = Callable[..., Array]

before_relu: Initializer = nn.initializers.he_normal()
# Makes a network start near a constant picture, where tanh has its full slope.
nearly_zero: Initializer = nn.initializers.variance_scaling(0.01, "fan_in", "truncated_normal")


class Conv(nn.Module):
    """A 2-D or 3-D convolution with zeros outside.

    Attributes:
        features: output channels.
        kernel_size: taps per spatial axis; its length says whether this is 2-D or 3-D.
        strides: steps per spatial axis; None is 1 everywhere.
        padding: zeros (before, after) per spatial axis; None keeps the length at stride 1 (and
            divides it by the stride for odd kernels).
        use_bias: adds one number per output channel.
        kernel_init: initialiser of the kernel.
        form: how it is computed, see `lipjax.nn.convolution`.
        dtype: type of the computation; the parameters are float32.
    """

    features: int
    kernel_size: Sequence[int]
    strides: Sequence[int] | None = None
    padding: convolution.Padding | None = None
    use_bias: bool = True
    kernel_init: Initializer = before_relu
    form: str = "rewritten"
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "B *space I"] | Sequence[Float[Array, "B ..."]]
    ) -> Float[Array, "B *out {self.features}"]:
        """Returns the convolution in `dtype`.

        Args:
            x: [B (T) H W I]; or several of [B T H W i] with axes of length 1 where they are
                constant, which are broadcast to one shape and joined as channels.

        Raises:
            ConfigError: several inputs, and a stride or padding that changes the length of an axis.
        """
        parts = list(x) if isinstance(x, Sequence) else [x]
        inputs = sum(part.shape[-1] for part in parts)
        shape = (*self.kernel_size, inputs, self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32).astype(self.dtype)
        parts = [part.astype(self.dtype) for part in parts]
        strides = self.strides or (1,) * len(self.kernel_size)
        padding = convolution.same_padding(self.kernel_size)
        if not isinstance(x, Sequence):
            y = convolution.conv(
                parts[0],
                kernel,
                strides=strides,
                padding=padding if self.padding is None else self.padding,
                form=self.form,
            )
        elif self.padding is not None or math.prod(strides) != 1:
            raise ConfigError("several inputs to a convolution need stride 1 and its own padding")
        else:
            y = broadcasting.conv_of_broadcasts(parts, kernel, form=self.form)
        return _with_bias(self, y, math.prod(shape[:-1]))


class ConvTranspose(nn.Module):
    """A 2-D or 3-D transposed convolution.

    Attributes:
        features: output channels.
        kernel_size: taps per spatial axis, each at least the stride. The kernel's axes are taps,
            input, output, and tap k of input sample i lands on output sample i * stride + k.
        strides: factors per spatial axis.
        padding: samples (before, after) cut from the full result per spatial axis; None cuts so
            that every axis is enlarged by exactly its stride.
        use_bias: adds one number per output channel.
        kernel_init: initialiser of the kernel.
        form: how it is computed, see `lipjax.nn.convolution`.
        dtype: type of the computation; the parameters are float32.
    """

    features: int
    kernel_size: Sequence[int]
    strides: Sequence[int]
    padding: convolution.Padding | None = None
    use_bias: bool = True
    kernel_init: Initializer = before_relu
    form: str = "rewritten"
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B *space I"]) -> Float[Array, "B *out {self.features}"]:
        """Returns the transposed convolution of x [B (T) H W I] in `dtype`."""
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        padding = self.padding
        if padding is None:
            padding = convolution.enlarging_padding(self.kernel_size, self.strides)
        y = convolution.conv_transpose(
            x.astype(self.dtype),
            kernel.astype(self.dtype),
            strides=self.strides,
            padding=padding,
            form=self.form,
        )
        return _with_bias(self, y, math.prod(shape[:-1]))


def _with_bias(layer: Conv | ConvTranspose, y: Array, fan_in: int) -> Array:
    if not layer.use_bias:
        return y
    limit = 1.0 / math.sqrt(fan_in)

    def spread(key, shape, dtype):
        # Not zeros: before a norm without batch statistics the biases carry the input's level.
        return jax.random.uniform(key, shape, dtype, -limit, limit)

    bias = layer.param("bias", spread, (layer.features,), jnp.float32)
    return y + bias.astype(y.dtype)
