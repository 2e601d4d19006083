# SPDX-License-Identifier: Apache-2.0
"""Losses between pixels, one value per example; the caller weights and reduces them."""

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float


def l1(
    prediction: Float[Array, "B *axes"],
    target: Float[Array, "B *axes"],
    weights: Float[Array, "B ..."] | float = 1.0,
) -> Float[Array, "B"]:
    """Returns the mean absolute difference of each example, in float32.

    Args:
        prediction: pictures or videos in [-1, 1], example first.
        target: the same shape.
        weights: of the pixels, with a mean of 1; see `motion_weights`.
    """
    difference = prediction.astype(jnp.float32) - target.astype(jnp.float32)
    return jnp.mean(weights * jnp.abs(difference), axis=tuple(range(1, difference.ndim)))


def huber(
    prediction: Float[Array, "B *axes"],
    target: Float[Array, "B *axes"],
    weights: Float[Array, "B ..."] | float = 1.0,
    *,
    delta: float = 0.2,
) -> Float[Array, "B"]:
    """Returns the Huber loss per example, divided by `delta`: L1 for errors far beyond it.

    Under L1 every pixel pulls alike, and most of a mouth crop is skin, whose errors are noise;
    here a pixel pulls as strongly as it is wrong, up to `delta`, so the moving lips lead.

    Args:
        prediction: generated pixels, in [-1, 1].
        target: real pixels.
        weights: of the pixels, with a mean of 1; see `motion_weights`.
        delta: error from which on it grows linearly.

    Source: Huber, "Robust Estimation of a Location Parameter", 1964.
    """
    prediction, target = prediction.astype(jnp.float32), target.astype(jnp.float32)
    values = optax.losses.huber_loss(prediction, target, delta=delta) / delta
    return jnp.mean(weights * values, axis=tuple(range(1, values.ndim)))


def motion_weights(video: Float[Array, "B T H W C"], share: float) -> Float[Array, "B 1 H W 1"]:
    """Returns weights of a clip's places by how much they move, with a mean of 1.

    A place's weight is the same in all frames. By each frame's own change it would pull towards
    the extremes; this way the best guess stays what it is, and is found sooner where lips move.

    Args:
        video: the real clip.
        share: part of the weight that goes by motion; the rest is spread evenly.
    """
    motion = jnp.std(video, axis=1, keepdims=True).mean(axis=-1, keepdims=True)
    mean = jnp.mean(motion, axis=(1, 2, 3, 4), keepdims=True)
    return 1.0 - share + share * (motion + 1e-4) / (mean + 1e-4)
