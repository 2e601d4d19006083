# SPDX-License-Identifier: Apache-2.0
"""Adversarial losses against values worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lipjax.losses import adversarial

# sigmoid(log 3) = 3/4
LOGITS = jnp.log(jnp.array([3.0, 1.0, 1.0 / 3.0]))


def test_losses_are_minus_the_log_of_the_probability():
    np.testing.assert_allclose(adversarial.real(LOGITS), -np.log([0.75, 0.5, 0.25]), rtol=1e-6)
    np.testing.assert_allclose(adversarial.fake(LOGITS), -np.log([0.25, 0.5, 0.75]), rtol=1e-6)
    np.testing.assert_allclose(adversarial.generator(LOGITS), -np.log([0.75, 0.5, 0.25]), rtol=1e-6)


@pytest.mark.parametrize(
    ("loss", "sure", "wrong"),
    [
        (adversarial.real, 1e4, -1e4),
        (adversarial.fake, -1e4, 1e4),
        (adversarial.generator, 1e4, -1e4),
    ],
)
def test_losses_and_gradients_stay_finite_for_extreme_logits(loss, sure, wrong):
    logits = jnp.array([sure, wrong], jnp.float32)
    np.testing.assert_allclose(loss(logits), [0.0, 1e4])
    slopes = np.abs(jax.grad(lambda x: loss(x).sum())(logits))
    np.testing.assert_allclose(slopes, [0.0, 1.0])


def test_the_generator_learns_most_where_it_is_found_out():
    # Non-saturating: the slope tends to 1 for sure fakes, where log(1 - D) would be flat.
    slope = jax.grad(lambda x: adversarial.generator(x).sum())(jnp.array([-8.0, 8.0]))
    assert slope[0] < -0.99
    assert slope[1] > -0.01


def test_losses_are_float32_for_bfloat16_logits():
    assert adversarial.fake(jnp.zeros((2,), jnp.bfloat16)).dtype == jnp.float32
