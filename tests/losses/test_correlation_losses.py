# SPDX-License-Identifier: Apache-2.0
"""The correlation losses against NumPy and SciPy, and what they make of constants."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import spatial, stats

from lipjax.losses import correlation


def random(*shape: int, seed: int = 0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def test_cosine_is_of_the_channel_means():
    sound, motion = random(4, 15, 16), random(4, 15, 16, seed=1)
    expected = [
        spatial.distance.cosine(s.mean(-1), v.mean(-1)) for s, v in zip(sound, motion, strict=True)
    ]
    np.testing.assert_allclose(correlation.cosine(sound, motion), expected, atol=1e-5)
    np.testing.assert_allclose(correlation.cosine(sound, 3 * sound), 0.0, atol=1e-5)
    np.testing.assert_allclose(correlation.cosine(sound, -sound), 2.0, atol=1e-5)


def test_centred_is_pearsons_with_one_channel():
    sound, motion = random(5, 15, 1), 3 * random(5, 15, 1, seed=1) + 2
    expected = [
        stats.pearsonr(s[:, 0], v[:, 0]).statistic for s, v in zip(sound, motion, strict=True)
    ]
    np.testing.assert_allclose(correlation.centred(sound, motion), expected, atol=1e-4)


def test_centred_takes_each_channels_own_mean_off():
    sound, motion = random(2, 15, 4), random(2, 15, 4, seed=1)
    levels = np.array([0.0, 5.0, -3.0, 1.0], np.float32)
    s, v = (x - x.mean(1, keepdims=True) for x in (sound, motion))
    expected = (s * v).sum((1, 2)) / np.sqrt((s**2).sum((1, 2)) * (v**2).sum((1, 2)))
    np.testing.assert_allclose(correlation.centred(sound + levels, motion), expected, atol=1e-4)
    np.testing.assert_allclose(correlation.centred(sound, 2 * sound + levels), 1.0, atol=1e-4)
    np.testing.assert_allclose(correlation.centred(sound, -sound), -1.0, atol=1e-4)


def test_unrelated_outputs_of_relu_satisfy_the_cosine_and_not_the_centred_form():
    sound, motion = (jnp.maximum(random(200, 15, 16, seed=seed), 0) for seed in (0, 1))
    published = correlation.cosine(sound, motion)
    assert 0.05 < published.mean() < 0.15 and published.max() < 0.3
    r = correlation.centred(sound, motion)
    assert abs(r.mean()) < 0.02 and np.abs(r).max() < 0.3


def test_a_constant_satisfies_the_cosine_and_nothing_else():
    constant, motion = jnp.full((3, 15, 16), 0.1), jnp.maximum(random(3, 15, 16), 0)
    np.testing.assert_allclose(correlation.cosine(constant, 2 * constant), 0.0, atol=1e-6)
    for value in (0.0, 0.1, 1000.0):
        for pair in ((value * constant, motion), (motion, value * constant)):
            np.testing.assert_allclose(correlation.centred(*pair), 0.0, atol=1e-3)
    r = correlation.centred(constant, motion)
    np.testing.assert_allclose(correlation.contrast(r, r[::-1]), np.log(2), atol=0.01)


@pytest.mark.parametrize("loss", [correlation.cosine, correlation.centred])
@pytest.mark.parametrize("value", [0.0, 0.1])
def test_gradients_at_constants_are_finite(loss, value):
    constant, motion = jnp.full((2, 15, 16), value), jnp.asarray(random(2, 15, 16))
    for pair in ((constant, motion), (motion, constant), (constant, constant)):
        slopes = jax.grad(lambda *x: loss(*x).sum(), argnums=(0, 1))(*pair)
        assert all(np.all(np.isfinite(slope)) for slope in slopes)


def test_contrast_is_the_cross_entropy_of_picking_one_of_two():
    right, wrong = jnp.array([0.5, 0.0, -0.3]), jnp.array([0.1, 0.0, 0.4])
    logits = np.stack([right, wrong]) / 0.25
    expected = np.log(np.exp(logits).sum(0)) - logits[0]
    np.testing.assert_allclose(correlation.contrast(right, wrong, 0.25), expected, rtol=1e-5)
    assert expected[1] == pytest.approx(np.log(2))


def test_half_precision_is_summed_in_float32():
    sound = jnp.asarray(random(2, 15, 16), jnp.bfloat16)
    assert correlation.cosine(sound, sound).dtype == jnp.float32
    assert correlation.centred(sound, sound).dtype == jnp.float32
