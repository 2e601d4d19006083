# SPDX-License-Identifier: Apache-2.0
"""Pictures against pictures: PSNR and SSIM, per picture, with any leading batch axes.

Both work in float32 (float64 under x64) whatever comes in. Scripts that subtract uint8 pictures
wrap modulo 256 and report about 28 dB for unrelated pictures; here the cast comes first.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

MAX_PSNR = 100.0
"""Decibels given to identical pictures, so that means and gradients stay finite."""

_WINDOW, _SIGMA, _K1, _K2 = 11, 1.5, 0.01, 0.03


def _floats(image: Shaped[Array | np.ndarray, "..."]) -> Float[Array, "..."]:
    image = jnp.asarray(image)
    wide = jnp.issubdtype(image.dtype, jnp.floating) and image.dtype.itemsize > 4
    return image if wide else image.astype(jnp.float32)


def psnr(
    prediction: Shaped[Array | np.ndarray, "*B H W C"],
    target: Shaped[Array | np.ndarray, "*B H W C"],
    *,
    data_range: float = 255.0,
) -> Float[Array, "*B"]:
    """Peak signal-to-noise ratio of each picture: 10 log10(data_range^2 / MSE) over H, W, C.

    Average it over frames (the convention here), not the squared errors over a video.

    Args:
        prediction: pictures, uint8 or float.
        target: pictures of the same shape and range.
        data_range: distance between black and white.

    Returns:
        Decibels, higher is better, at most `MAX_PSNR` (identical pictures).

    Example:
        >>> frames = np.full((4, 64, 64, 3), 100, np.uint8)
        >>> [round(float(value), 2) for value in lipjax.psnr(frames, frames + 5)]
        [34.15, 34.15, 34.15, 34.15]
    """
    difference = (_floats(prediction) - _floats(target)) / data_range
    error = jnp.mean(jnp.square(difference), axis=(-3, -2, -1))
    return -10.0 * jnp.log10(jnp.maximum(error, 10.0 ** (-MAX_PSNR / 10.0)))


def _smoother(size: int, dtype: jnp.dtype) -> Float[Array, "valid size"]:
    """The matrix that slides the Gaussian window along an axis, valid positions only."""
    offset = np.arange(_WINDOW) - _WINDOW // 2
    window = np.exp(-0.5 * np.square(offset / _SIGMA))
    window /= window.sum()
    rows = np.zeros((size - _WINDOW + 1, size))
    for row in range(len(rows)):
        rows[row, row : row + _WINDOW] = window
    return jnp.asarray(rows, dtype)


def ssim(
    prediction: Shaped[Array | np.ndarray, "*B H W C"],
    target: Shaped[Array | np.ndarray, "*B H W C"],
    *,
    data_range: float = 255.0,
) -> Float[Array, "*B"]:
    """Structural similarity of each picture, Wang, Bovik, Sheikh and Simoncelli 2004.

    11x11 Gaussian window of sigma 1.5, K1 0.01, K2 0.03, population covariance, valid region,
    each channel on its own, mean over pixels and channels: scikit-image's
    `structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)`,
    which is not its default.

    Args:
        prediction: pictures of at least 11x11 pixels, uint8 or float.
        target: pictures of the same shape and range.
        data_range: distance between black and white.

    Returns:
        Similarity, 1 for identical pictures.

    Raises:
        ValueError: the pictures are smaller than the window.

    Example:
        >>> frames = np.random.default_rng(0).integers(0, 255, (4, 64, 64, 3))
        >>> lipjax.ssim(frames.astype(np.uint8), frames.astype(np.uint8)).shape
        (4,)
    """
    height, width = prediction.shape[-3:-1]
    if min(height, width) < _WINDOW:
        raise ValueError(f"SSIM needs pictures of at least 11x11 pixels, got {height}x{width}")
    first, second = _floats(prediction) / data_range, _floats(target) / data_range
    # Moments about a point near the data lose fewer digits than moments about zero.
    centre = jax.lax.stop_gradient(jnp.mean((first + second) / 2, axis=(-3, -2), keepdims=True))
    vertical, horizontal = _smoother(height, first.dtype), _smoother(width, first.dtype)

    def mean(image: Float[Array, "*B H W C"]) -> Float[Array, "*B h w C"]:
        return jnp.einsum(
            "yh,xw,...hwc->...yxc", vertical, horizontal, image, precision=jax.lax.Precision.HIGHEST
        )

    first, second = first - centre, second - centre
    mean_1, mean_2 = mean(first), mean(second)
    variances = mean(first * first + second * second) - mean_1**2 - mean_2**2
    covariance = mean(first * second) - mean_1 * mean_2
    mean_1, mean_2 = mean_1 + centre, mean_2 + centre
    level = (2 * mean_1 * mean_2 + _K1**2) / (mean_1**2 + mean_2**2 + _K1**2)
    structure = (2 * covariance + _K2**2) / (variances + _K2**2)
    return jnp.mean(level * structure, axis=(-3, -2, -1))
