# SPDX-License-Identifier: Apache-2.0
"""Losses between pixels, one value per example; the caller weights and reduces them."""

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float


def l1(prediction: Float[Array, "B *axes"], target: Float[Array, "B *axes"]) -> Float[Array, "B"]:
    """Returns the mean absolute difference of each example, in float32.

    Args:
        prediction: pictures or videos in [-1, 1], example first.
        target: the same shape.
    """
    difference = prediction.astype(jnp.float32) - target.astype(jnp.float32)
    return jnp.mean(jnp.abs(difference), axis=tuple(range(1, difference.ndim)))


def huber(
    prediction: Float[Array, "B *axes"], target: Float[Array, "B *axes"], *, delta: float = 0.2
) -> Float[Array, "B"]:
    """Returns the Huber loss per example, divided by `delta`: L1 for errors far beyond it.

    Under L1 every pixel pulls alike, and most of a mouth crop is skin, whose errors are noise;
    here a pixel pulls as strongly as it is wrong, up to `delta`, so the moving lips lead.

    Args:
        prediction: generated pixels, in [-1, 1].
        target: real pixels.
        delta: error from which on it grows linearly.

    Source: Huber, "Robust Estimation of a Location Parameter", 1964.
    """
    prediction, target = prediction.astype(jnp.float32), target.astype(jnp.float32)
    values = optax.losses.huber_loss(prediction, target, delta=delta) / delta
    return jnp.mean(values, axis=tuple(range(1, values.ndim)))
