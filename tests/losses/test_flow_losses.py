# SPDX-License-Identifier: Apache-2.0
"""Losses of optical flow against values worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lipjax.errors import ConfigError
from lipjax.losses import optical_flow


def random(*shape: int, seed: int = 0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def test_endpoint_error_is_the_mean_distance():
    flow, target = random(2, 3, 4, 2), random(2, 3, 4, 2, seed=1)
    expected = [np.hypot(*(flow[i] - target[i]).reshape(-1, 2).T).mean() for i in range(2)]
    np.testing.assert_allclose(optical_flow.endpoint_error(flow, target), expected, rtol=1e-5)


def test_endpoint_error_of_the_truth_has_a_finite_gradient():
    target = jnp.asarray(random(1, 2, 2, 2))
    flow = target.at[0, 0, 0, 0].add(2.0)
    value, slope = jax.value_and_grad(lambda x: optical_flow.endpoint_error(x, target).sum())(flow)
    np.testing.assert_allclose(value, 2.0 / 4, rtol=1e-6)
    expected = np.zeros((1, 2, 2, 2))
    expected[0, 0, 0, 0] = 0.25
    np.testing.assert_allclose(slope, expected, atol=1e-6)


def test_multi_scale_measures_in_full_size_pixels():
    target = jnp.asarray(random(2, 8, 16, 2, seed=2))
    cells = np.asarray(target).reshape(2, 2, 4, 4, 4, 2).mean((2, 4))
    fine = np.asarray(target).reshape(2, 4, 2, 8, 2, 2).mean((2, 4))
    # Off by (3, 4) full-size pixels at the coarse scale, exact at the fine one.
    coarse = jnp.asarray((cells + np.array([3.0, 4.0])) / 4, jnp.float32)
    predictions = (jnp.asarray(fine / 2), coarse)
    loss = optical_flow.multi_scale(predictions, target, (0.5, 0.1))
    np.testing.assert_allclose(loss, [0.5, 0.5], rtol=1e-4)
    doubled = optical_flow.multi_scale((2 * predictions[0], coarse), target, (0.5, 0.1))
    lengths = np.linalg.norm(fine, axis=-1).mean((1, 2))
    np.testing.assert_allclose(doubled, 0.5 + 0.5 * lengths, rtol=1e-4)


def test_the_published_loss_is_a_twentieth():
    target = 20 * random(3, 64, 64, 2, seed=3)
    raw = [random(3, 64 // n, 64 // n, 2, seed=n) for n in (4, 8, 16, 32, 64)]
    published = np.zeros(3)
    weights = (0.005, 0.01, 0.02, 0.08, 0.32)
    for weight, flow in zip(weights, raw, strict=True):
        n, grid = 64 // flow.shape[1], flow.shape[1]
        pooled = (target / 20).reshape(3, grid, n, grid, n, 2).mean((2, 4))
        published += weight * np.linalg.norm(flow - pooled, axis=-1).mean((1, 2))
    own_grid = tuple(jnp.asarray(20 * flow * flow.shape[1] / 64) for flow in raw)
    ours = optical_flow.multi_scale(own_grid, jnp.asarray(target))
    np.testing.assert_allclose(ours, 20 * published, rtol=1e-4)


def test_multi_scale_names_what_does_not_fit():
    target = jnp.zeros((1, 8, 12, 2))
    with pytest.raises(ConfigError, match="5 scale weights for 1"):
        optical_flow.multi_scale((jnp.zeros((1, 4, 6, 2)),), target)
    with pytest.raises(ConfigError, match="3x4 does not divide the target of 8x12"):
        optical_flow.multi_scale((jnp.zeros((1, 3, 4, 2)),), target, (1.0,))
    with pytest.raises(ConfigError, match="4x4 does not divide"):
        optical_flow.multi_scale((jnp.zeros((1, 4, 4, 2)),), target, (1.0,))


def test_the_right_flow_explains_a_moved_picture():
    scene = jnp.asarray(random(2, 24, 24, 3))
    # frame_t(p) = frame_t+1(p + flow(p)): what was at p is now 4 to the right and 2 further up.
    first, second = scene[:, 2:18, 4:20], scene[:, 4:20, :16]
    flow = jnp.broadcast_to(jnp.array([4.0, -2.0]), (2, 16, 16, 2))
    inside = (slice(None), slice(2, None), slice(0, -4))
    error = optical_flow.warping_error(first, second, flow)
    assert optical_flow.warping_error(first, second, -flow).min() > 2 * error.max()
    quarter = optical_flow.warping_error(first, second, flow[:, ::4, ::4] / 4)
    np.testing.assert_allclose(quarter, error, rtol=1e-5)
    # All of what is left lies where the second frame ends.
    off = np.abs(first - np.roll(second, (2, -4), (1, 2)))
    assert off[inside].max() < 1e-6 and error.max() < 0.8

    still = optical_flow.warping_error(first, second, jnp.zeros_like(flow))
    np.testing.assert_allclose(still, np.abs(first - second).mean((1, 2, 3)), rtol=1e-5)
