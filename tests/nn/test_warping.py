# SPDX-License-Identifier: Apache-2.0
"""Warping by flow: by hand, and against SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from lipjax.errors import ConfigError
from lipjax.nn.warping import average_pool, resize_flow, warp


def constant_flow(x: float, y: float, *shape: int):
    return jnp.broadcast_to(jnp.array([x, y], jnp.float32), (*shape, 2))


def test_whole_pixels_move_exactly():
    image = jnp.arange(2 * 4 * 5 * 3, dtype=jnp.float32).reshape(2, 4, 5, 3)
    moved = warp(image, constant_flow(2.0, -1.0, 2, 4, 5))
    np.testing.assert_array_equal(moved[:, 1:, :3], image[:, :3, 2:])
    # Outside there is the border again.
    np.testing.assert_array_equal(moved[:, 1:, 3:], np.repeat(image[:, :3, 4:], 2, axis=2))
    np.testing.assert_array_equal(moved[:, 0], moved[:, 1])
    np.testing.assert_array_equal(warp(image, jnp.zeros((2, 4, 5, 2))), image)


def test_half_a_pixel_is_the_mean_of_two():
    image = jnp.arange(24, dtype=jnp.float32).reshape(1, 4, 6, 1) ** 2
    moved = warp(image, constant_flow(0.5, 0.0, 1, 4, 6))
    np.testing.assert_array_equal(moved[:, :, :-1], (image[:, :, :-1] + image[:, :, 1:]) / 2)
    moved = warp(image, constant_flow(0.0, 0.5, 1, 4, 6))
    np.testing.assert_array_equal(moved[:, :-1], (image[:, :-1] + image[:, 1:]) / 2)


@pytest.mark.parametrize("shape", [(9, 7), (1, 5), (6, 1)])
def test_warping_is_scipys_interpolation(shape):
    generator = np.random.default_rng(0)
    image = generator.normal(size=(2, *shape, 3)).astype(np.float32)
    flow = generator.normal(scale=3.0, size=(2, *shape, 2)).astype(np.float32)
    rows, columns = np.indices(shape)
    expected = np.empty_like(image)
    for example, channel in np.ndindex(2, 3):
        places = [rows + flow[example, ..., 1], columns + flow[example, ..., 0]]
        plane = image[example, ..., channel]
        expected[example, ..., channel] = ndimage.map_coordinates(
            plane, places, order=1, mode="nearest"
        )
    warped = jax.jit(warp)(jnp.asarray(image), jnp.asarray(flow))
    np.testing.assert_allclose(warped, expected, atol=1e-5)


def test_gradients_are_those_of_interpolation():
    ramp = jnp.broadcast_to(jnp.arange(6.0)[:, None] * 3 + jnp.arange(8.0) * 2, (1, 6, 8))[
        ..., None
    ]
    slope = jax.grad(lambda flow: warp(ramp, flow).sum())(constant_flow(0.3, -0.4, 1, 6, 8))
    np.testing.assert_allclose(slope[0, 1:, :-1, 0], 2.0, rtol=1e-5)
    np.testing.assert_allclose(slope[0, 1:, :-1, 1], 3.0, rtol=1e-5)
    assert not np.any(slope[0, :, -1, 0]) and not np.any(slope[0, 0, :, 1])  # beyond the border
    spread = jax.grad(lambda image: warp(image, constant_flow(0.5, 0.0, 1, 6, 8))[0, 2, 3, 0])
    np.testing.assert_allclose(np.asarray(spread(ramp))[0, 2, :, 0], np.eye(8)[3:5].sum(0) / 2)


def test_half_precision_keeps_its_type_and_its_places():
    image = jnp.broadcast_to(jnp.arange(600) % 7, (1, 2, 600)).astype(jnp.bfloat16)[..., None]
    moved = warp(image, constant_flow(1.0, 0.0, 1, 2, 600))
    assert moved.dtype == jnp.bfloat16
    np.testing.assert_array_equal(moved[:, :, :-1], image[:, :, 1:])


def test_resized_flow_is_in_pixels_of_the_new_grid():
    flow = constant_flow(1.0, -2.0, 3, 2, 4, 4)
    resized = resize_flow(flow, 8, 16)
    assert resized.shape == (3, 2, 8, 16, 2)
    np.testing.assert_allclose(resized, constant_flow(4.0, -4.0, 3, 2, 8, 16), rtol=1e-6)


def test_cells_lie_in_the_middle_of_their_pixels():
    # Flow that grows by one per full-size pixel, known at the middles of cells of four.
    fine = jnp.broadcast_to(jnp.arange(16.0)[:, None], (1, 8, 16, 2))
    coarse = average_pool(fine, 4)
    np.testing.assert_allclose(coarse[0, 0, :, 0], [1.5, 5.5, 9.5, 13.5])
    back = resize_flow(coarse / 4, 8, 16)
    np.testing.assert_allclose(back[:, :, 2:14], fine[:, :, 2:14], rtol=1e-5)


def test_average_pool_is_the_mean_of_cells():
    maps = np.random.default_rng(0).normal(size=(2, 3, 4, 6, 2)).astype(np.float32)
    pooled = average_pool(jnp.asarray(maps), 2)
    assert pooled.shape == (2, 3, 2, 3, 2)
    np.testing.assert_allclose(pooled[1, 2, 1, 0], maps[1, 2, 2:, :2].mean((0, 1)), rtol=1e-5)
    with pytest.raises(ConfigError, match="4x6.*4x4"):
        average_pool(jnp.asarray(maps), 4)
