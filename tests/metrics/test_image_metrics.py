# SPDX-License-Identifier: Apache-2.0
"""PSNR and SSIM against scikit-image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from lipjax.metrics import image as metrics


def pair(kind):
    rng = np.random.default_rng(3)
    picture = skimage.data.astronaut()[60:156, 170:290]
    if kind == "noise":
        other = picture + rng.normal(0, 15, picture.shape)
    elif kind == "dark":
        other = picture * 0.4
    else:
        other = np.roll(picture, 2, axis=1)
    return picture, np.clip(np.rint(other), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", ["noise", "dark", "shift"])
def test_equals_scikit_image_on_uint8(kind):
    first, second = pair(kind)
    truth = structural_similarity(
        first,
        second,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        channel_axis=-1,
    )
    assert abs(float(metrics.ssim(first, second)) - truth) < 1e-5
    decibels = peak_signal_noise_ratio(first, second, data_range=255)
    assert abs(float(metrics.psnr(first, second)) - decibels) < 1e-4


def test_ssim_in_float64_is_exact_on_another_range():
    rng = np.random.default_rng(0)
    first = rng.uniform(-1, 1, (40, 33, 1))
    second = np.clip(first + rng.normal(0, 0.3, first.shape), -1, 1)
    truth = structural_similarity(
        first[..., 0],
        second[..., 0],
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=2.0,
    )
    with jax.enable_x64(True):
        assert abs(float(metrics.ssim(first, second, data_range=2.0)) - truth) < 1e-12


def test_uint8_does_not_wrap():
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 256, (2, 64, 64, 3), np.uint8)
    assert float(metrics.psnr(first, second)) < 8.5  # wrapping arithmetic gives 27.9 dB
    flat = np.zeros((16, 16, 3), np.uint8)
    assert float(metrics.psnr(flat, flat + 16)) == pytest.approx(20 * np.log10(255 / 16), abs=1e-3)


def test_leading_axes_are_batch_axes():
    first, second = pair("noise")
    stack = np.stack([first, second, first[::-1], second[:, ::-1]]).reshape(2, 2, *first.shape)
    for metric in (metrics.psnr, metrics.ssim):
        values = metric(stack, stack[::-1])
        assert values.shape == (2, 2)
        single = metric(stack[0, 1], stack[1, 1])
        assert float(abs(values[0, 1] - single)) < 1e-4


def test_identical_pictures():
    picture, _ = pair("noise")
    assert float(metrics.ssim(picture, picture)) == pytest.approx(1.0, abs=1e-6)
    assert float(metrics.psnr(picture, picture)) == metrics.MAX_PSNR


@pytest.mark.parametrize("metric", [metrics.psnr, metrics.ssim])
def test_gradients_are_finite_on_flat_pictures(metric):
    flat = jnp.full((2, 16, 16, 3), 0.5)
    for other in (flat, flat + 0.1, jnp.zeros_like(flat)):
        gradient = jax.grad(lambda x, other=other: metric(x, other, data_range=1.0).sum())(flat)
        assert bool(jnp.isfinite(gradient).all())


def test_gradient_of_ssim_is_the_slope():
    rng = np.random.default_rng(2)
    first, second, direction = rng.uniform(0, 1, (3, 20, 20, 3))
    with jax.enable_x64(True):
        f = lambda t: metrics.ssim(first + t * direction, second, data_range=1.0)  # noqa: E731
        slope = (f(1e-5) - f(-1e-5)) / 2e-5
        assert abs(jax.grad(f)(0.0) - slope) < 1e-6


def test_ssim_of_a_tiny_picture_is_an_error():
    with pytest.raises(ValueError, match="11x11"):
        metrics.ssim(np.zeros((8, 8, 3)), np.zeros((8, 8, 3)))
