# SPDX-License-Identifier: Apache-2.0
"""Losses between pixels, one value per example; the caller weights and reduces them."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def l1(prediction: Float[Array, "B *axes"], target: Float[Array, "B *axes"]) -> Float[Array, "B"]:
    """Returns the mean absolute difference of each example, in float32.

    Args:
        prediction: pictures or videos in [-1, 1], example first.
        target: the same shape.
    """
    difference = prediction.astype(jnp.float32) - target.astype(jnp.float32)
    return jnp.mean(jnp.abs(difference), axis=tuple(range(1, difference.ndim)))
