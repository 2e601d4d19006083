# SPDX-License-Identifier: Apache-2.0
"""Pixel losses against values worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lipjax.losses import pixel


def test_l1_is_the_mean_of_each_example():
    prediction = np.zeros((2, 2, 1, 2, 3), np.float32)
    target = np.zeros_like(prediction)
    prediction[0, 0, 0, 0] = [0.5, -0.5, 1.0]
    target[1] = -1.0
    loss = pixel.l1(jnp.asarray(prediction), jnp.asarray(target))
    np.testing.assert_allclose(loss, [2.0 / 12, 1.0], rtol=1e-6)


def test_l1_sums_bfloat16_in_float32():
    prediction = jnp.full((1, 64, 64, 3), 0.125, jnp.bfloat16)
    loss = pixel.l1(prediction, jnp.zeros_like(prediction))
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, [0.125], rtol=1e-6)


def test_l1_refuses_shapes_that_would_broadcast():
    with pytest.raises(Exception, match="(?i)shape|type"):
        pixel.l1(jnp.zeros((2, 4, 3)), jnp.zeros((2, 1, 3)))


def test_l1_has_the_sign_as_gradient():
    gradient = jax.grad(lambda x: pixel.l1(x, jnp.zeros((1, 2))).sum())(jnp.array([[3.0, -2.0]]))
    np.testing.assert_allclose(gradient, [[0.5, -0.5]])


def test_huber_is_quadratic_inside_delta_and_l1_minus_half_of_it_beyond():
    errors = jnp.array([[0.0, 0.05, -0.1], [0.2, -0.5, 1.0]])[:, None]
    loss = pixel.huber(errors, jnp.zeros_like(errors), delta=0.2)
    inside = np.mean([0.0, 0.05**2 / 0.4, 0.1**2 / 0.4])
    beyond = np.mean([0.2**2 / 0.4, 0.5 - 0.1, 1.0 - 0.1])
    np.testing.assert_allclose(loss, [inside, beyond], rtol=1e-5)


def test_huber_lets_large_errors_pull_harder_than_noise():
    pull = jax.grad(lambda x: pixel.huber(x, jnp.zeros_like(x)).sum())(jnp.array([[0.02, 0.5]]))
    np.testing.assert_allclose(pull[0, 1] / pull[0, 0], 10.0, rtol=1e-5)


def test_motion_weights_go_by_how_much_a_place_moves_and_have_a_mean_of_one():
    video = jnp.zeros((2, 4, 3, 5, 3)).at[0, ::2, 1, 2].set(1.0)
    weights = pixel.motion_weights(video, 0.8)
    assert weights.shape == (2, 1, 3, 5, 1)
    # In the first clip one of 15 places moves: it gets 0.2 and nearly all of 15 x 0.8.
    np.testing.assert_allclose(weights[0, 0, 1, 2, 0], 0.2 + 0.8 * 15, rtol=0.05)
    np.testing.assert_allclose(weights[0].mean(), 1.0, rtol=1e-5)
    np.testing.assert_allclose(weights[1], 1.0, rtol=1e-5)  # nothing moves


def test_weights_multiply_the_error_of_their_places():
    target = jnp.zeros((1, 2, 2, 2, 3))
    prediction = target.at[0, :, 0, 0].set(1.0)
    weights = jnp.ones((1, 1, 2, 2, 1)).at[0, 0, 0, 0].set(3.0)
    np.testing.assert_allclose(pixel.l1(prediction, target, weights), [3 / 4])
    np.testing.assert_allclose(
        pixel.huber(prediction, target, weights, delta=0.5),
        3 * pixel.huber(prediction, target, delta=0.5),
        rtol=1e-6,
    )
