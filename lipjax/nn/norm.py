# SPDX-License-Identifier: Apache-2.0
"""Normalisation of features: with batch statistics, or within each frame."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lipjax.errors import ConfigError, nearest

NORMS = ("batch", "frame", "none")


class FrameNorm(nn.Module):
    """Group normalisation whose statistics never leave a frame.

    A frame's values depend on no other frame and on no other example, so that a clip made in
    chunks equals the clip made at once and training equals inference.

    Attributes:
        leading: axes kept apart: 2 for (batch, time), 1 for pictures (batch).
        group_size: channels that share a mean and a variance; all channels if it does not divide.
        epsilon: added to the variance.
        dtype: type of the result; the statistics are float32.

    Source: Wu and He, "Group Normalization", 2018.
    """

    leading: int = 2
    group_size: int = 16
    epsilon: float = 1e-5
    dtype: jax.typing.DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "*axes C"]) -> Float[Array, "*axes C"]:
        """Returns x [B (T) ... C], normalised over the axes after `leading` and within groups."""
        channels = x.shape[-1]
        size = self.group_size if channels % self.group_size == 0 else channels
        space = tuple(range(self.leading, x.ndim - 1))
        values = x.astype(jnp.float32)

        def group_mean(array):
            # Space first, channel groups second: the big reduction then keeps channels last.
            means = jnp.mean(array, axis=space, keepdims=True)
            groups = means.reshape(*means.shape[:-1], channels // size, size)
            return jnp.repeat(jnp.mean(groups, axis=-1), size, axis=-1)

        centred = values - group_mean(values)
        variance = group_mean(jnp.square(centred))
        scale = self.param("scale", nn.initializers.ones, (channels,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (channels,), jnp.float32)
        y = centred * (jax.lax.rsqrt(variance + self.epsilon) * scale) + bias
        return y.astype(self.dtype)


def make_norm(
    kind: str, *, train: bool, leading: int, name: str, dtype: jax.typing.DTypeLike
) -> nn.Module | None:
    """Returns the norm layer of a kind, to be called inside a compact module.

    Args:
        kind: "batch" (statistics of the batch, running means at inference), "frame" or "none".
        train: whether batch statistics are taken from the batch.
        leading: axes that "frame" keeps apart: 2 for (batch, time), 1 for pictures.
        name: the layer's name among the parameters.
        dtype: type of the result; the statistics are float32.

    Raises:
        ConfigError: there is no such norm.
    """
    if kind == "batch":
        # Flax's momentum is one minus PyTorch's.
        return nn.BatchNorm(
            use_running_average=not train, momentum=0.9, epsilon=1e-5, dtype=dtype, name=name
        )
    if kind == "frame":
        return FrameNorm(leading=leading, dtype=dtype, name=name)
    if kind == "none":
        return None
    raise ConfigError(f"norm {kind!r} does not exist{nearest(kind, NORMS)}")
