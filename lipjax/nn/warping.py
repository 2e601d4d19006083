# SPDX-License-Identifier: Apache-2.0
"""Warping by optical flow, and flow on other grids.

The centre of pixel (0, 0) is (0, 0), flow is (x, y) in pixels of its own grid. A grid that is
n times coarser has its cells' centres in the middle of n x n pixels.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lipjax.errors import ConfigError


def warp(images: Float[Array, "B H W C"], flow: Float[Array, "B H W 2"]) -> Float[Array, "B H W C"]:
    """Warps backward: the result at p is the image at p + flow(p), interpolated bilinearly.

    With the flow from a first to a second picture, warping the second gives back the first.
    Differentiable in both; where flow points outside, the border's value is taken and the
    derivative along that axis is zero.

    Args:
        images: pictures or maps of any range.
        flow: displacements (x, y) in pixels.

    Source: Jaderberg et al., "Spatial Transformer Networks", 2015, eq. 5, in pixels.
    """
    height, width = images.shape[1:3]
    # Coordinates stay float32: bfloat16 could not tell pixels beyond 256 apart.
    flow = flow.astype(jnp.float32)
    x = jnp.clip(flow[..., 0] + jnp.arange(width, dtype=jnp.float32), 0, width - 1)
    y = jnp.clip(flow[..., 1] + jnp.arange(height, dtype=jnp.float32)[:, None], 0, height - 1)
    left, right, along = _neighbours(x, width)
    top, bottom, down = _neighbours(y, height)

    def at(rows: Array, columns: Array) -> Array:
        return jax.vmap(lambda image, row, column: image[row, column])(images, rows, columns)

    above = at(top, left) * (1 - along) + at(top, right) * along
    below = at(bottom, left) * (1 - along) + at(bottom, right) * along
    return (above * (1 - down) + below * down).astype(images.dtype)


def _neighbours(place: Array, size: int) -> tuple[Array, Array, Array]:
    """Indices of the pixels before and after places, and how far between them they lie."""
    before = jnp.minimum(jnp.floor(place), max(size - 2, 0))
    index = before.astype(jnp.int32)
    return index, jnp.minimum(index + 1, size - 1), (place - before)[..., None]


def resize_flow(
    flow: Float[Array, "*B h w 2"], height: int, width: int
) -> Float[Array, "*B {height} {width} 2"]:
    """Resizes flow to another grid, bilinearly, with its values in pixels of the new grid.

    Args:
        flow: displacements (x, y) in pixels of the old grid.
        height: rows of the new grid.
        width: columns of the new grid.
    """
    old_height, old_width = flow.shape[-3:-1]
    shape = (*flow.shape[:-3], height, width, 2)
    resized = jax.image.resize(flow, shape, "linear") if shape != flow.shape else flow
    return resized * jnp.array([width / old_width, height / old_height], flow.dtype)


def average_pool(maps: Float[Array, "*B H W C"], factor: int) -> Float[Array, "*B _h _w C"]:
    """Averages cells of factor x factor pixels; values keep their unit.

    Raises:
        ConfigError: the factor does not divide height and width.
    """
    *leading, height, width, channels = maps.shape
    if height % factor or width % factor:
        raise ConfigError(
            f"maps of {height}x{width} cannot be averaged over cells of {factor}x{factor}; use "
            f"sizes that {factor} divides"
        )
    shape = (*leading, height // factor, factor, width // factor, factor, channels)
    return jnp.mean(maps.reshape(shape), axis=(-4, -2))
