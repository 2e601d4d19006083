# SPDX-License-Identifier: Apache-2.0
"""Losses of optical flow, one value per example; the caller weights and reduces them."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from lipjax.errors import ConfigError
from lipjax.nn.warping import average_pool, resize_flow, warp

SCALE_WEIGHTS = (0.005, 0.01, 0.02, 0.08, 0.32)
"""Weights of the predictions as published, finest first."""


def endpoint_error(
    flow: Float[Array, "B *space 2"], target: Float[Array, "B *space 2"]
) -> Float[Array, "B"]:
    """Returns the mean length of the difference between two flows, in their unit.

    Where they are equal the gradient is zero, not NaN.

    Args:
        flow: displacements (x, y).
        target: the same shape and unit.

    Source: Baker et al., "A Database and Evaluation Methodology for Optical Flow", 2011.
    """
    difference = flow.astype(jnp.float32) - target.astype(jnp.float32)
    squared = jnp.sum(jnp.square(difference), axis=-1)
    # The root's derivative at zero is infinite, so it must not even be computed there.
    moved = squared > 0
    length = jnp.where(moved, jnp.sqrt(jnp.where(moved, squared, 1.0)), 0.0)
    return jnp.mean(length.reshape(length.shape[0], -1), axis=1)


def multi_scale(
    predictions: Sequence[Float[Array, "B _h _w 2"]],
    target: Float[Array, "B H W 2"],
    weights: Sequence[float] = SCALE_WEIGHTS,
) -> Float[Array, "B"]:
    """Returns the weighted sum over scales of the end-point error, in full-size pixels.

    Each prediction is compared with the target averaged over its cells. The published loss
    measures in pixels / 20, so at equal weights this value is 20 times larger.

    Args:
        predictions: flows of any grids that divide the full size evenly, each in pixels of its
            own grid, finest first.
        target: flow in full-size pixels.
        weights: one per prediction.

    Raises:
        ConfigError: weights and predictions differ in number, or a grid does not divide the
            target's.

    Source: Dosovitskiy et al., "FlowNet", ICCV 2015, and the authors' code of "Lip Movements
    Generation at a Glance" (weights).
    """
    if len(weights) != len(predictions):
        raise ConfigError(
            f"{len(weights)} scale weights for {len(predictions)} flow predictions: give one each"
        )
    total = jnp.zeros(target.shape[0], jnp.float32)
    for weight, flow in zip(weights, predictions, strict=True):
        factor = target.shape[1] // flow.shape[1]
        if (flow.shape[1] * factor, flow.shape[2] * factor) != target.shape[1:3]:
            raise ConfigError(
                f"a flow prediction of {flow.shape[1]}x{flow.shape[2]} does not divide the target "
                f"of {target.shape[1]}x{target.shape[2]} evenly; use pictures whose sides the "
                "flow network's coarsest stride divides"
            )
        total += weight * endpoint_error(flow * factor, average_pool(target, factor))
    return total


def warping_error(
    first: Float[Array, "B H W C"],
    second: Float[Array, "B H W C"],
    flow: Float[Array, "B _h _w 2"],
) -> Float[Array, "B"]:
    """Returns the mean absolute difference between a picture and the next, warped back to it.

    It needs no true flow; but it cannot be judged alone, since noise and what comes into view
    keep it above zero: compare it with the error of no motion.

    Args:
        first: pictures.
        second: the pictures after them.
        flow: from first to second, in pixels of its own grid; resized to the pictures'.
    """
    full = resize_flow(flow, *first.shape[1:3])
    difference = first.astype(jnp.float32) - warp(second.astype(jnp.float32), full)
    return jnp.mean(jnp.abs(difference), axis=(1, 2, 3))
