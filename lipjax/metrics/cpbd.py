# SPDX-License-Identifier: Apache-2.0
"""Sharpness without a reference: CPBD, the cumulative probability of blur detection.

Narvekar and Karam 2011, in the convention of python-cpbd 1.0.7, vectorised. Other copies of
the metric differ by a factor of four on the same picture, so name the convention beside the
number. Only whole 64x64 blocks count, from the top left corner on.
"""

import numpy as np
from jaxtyping import Bool, Float, Float64, Shaped, UInt8

_BLOCK = 64
_EDGE_SHARE = 0.002
_BETA = 3.6
_REACH = 100
_CANNY_LOW, _CANNY_HIGH = 0.1, 0.2


def luma(image: UInt8[np.ndarray, "*B 3"]) -> UInt8[np.ndarray, "*B"]:
    """Grey values of RGB pixels as Pillow's mode L computes them (ITU-R 601, rounded)."""
    wide = image.astype(np.uint32) @ np.array([19595, 38470, 7471], np.uint32)
    return ((wide + 0x8000) >> 16).astype(np.uint8)


def cpbd(image: Shaped[np.ndarray, "H W"]) -> float:
    """Sharpness of a grey picture (python-cpbd convention).

    Args:
        image: grey values 0..255, uint8 or float.

    Returns:
        0 (blurred everywhere) to 1; 0 too where no block has edges or the picture is smaller
        than a block.
    """
    grey = image.astype(np.float64)
    rows, columns = grey.shape[0] // _BLOCK, grey.shape[1] // _BLOCK
    if not rows or not columns:
        return 0.0

    def blocks(array: Shaped[np.ndarray, "H W"]) -> Shaped[np.ndarray, "N 64 64"]:
        kept = array[: rows * _BLOCK, : columns * _BLOCK]
        split = kept.reshape(rows, _BLOCK, columns, _BLOCK).swapaxes(1, 2)
        return split.reshape(-1, _BLOCK, _BLOCK)

    chosen = blocks(canny(grey)).sum(axis=(1, 2)) > _EDGE_SHARE * _BLOCK**2
    widths, values = blocks(_edge_widths(grey)), blocks(grey)
    contrast = (values.max(axis=(1, 2)) - values.min(axis=(1, 2))).astype(int)
    just_noticeable = np.where(contrast <= 50, 5.0, 3.0)[:, None, None]
    counted = (widths > 0) & chosen[:, None, None]
    if not counted.any():
        return 0.0
    blur = 1 - np.exp(-((widths / just_noticeable) ** _BETA))
    return float(np.mean(np.rint(100 * blur[counted]) < 64))


def _edge_widths(grey: Float64[np.ndarray, "H W"]) -> Float64[np.ndarray, "H W"]:
    """Marziliano width of each upright Sobel edge: how far the slope runs to both sides."""
    gradient_y, gradient_x = np.gradient(grey)
    angles = np.where(gradient_x != 0, np.arctan2(gradient_y, gradient_x) * (180 / np.pi), 0.0)
    if not angles.any():
        return np.zeros_like(grey)
    quantised = np.abs(np.round(angles / 45))
    edges = _sobel_edges(grey)
    edges[[0, -1]] = edges[:, [0, -1]] = False
    step = np.diff(grey, axis=1)
    rising = np.where(edges & (quantised == 0), slope_width(step > 0, step > 0), 0)
    falling = slope_width(step < 0, step < 0)
    return np.where(edges & (quantised == 4), falling, rising).astype(np.float64)


def slope_width(
    left: Bool[np.ndarray, "H steps"], right: Bool[np.ndarray, "H steps"]
) -> Shaped[np.ndarray, "H steps+1"]:
    """At each pixel, 2 + the lengths of the runs of true steps beside it, each at most 100.

    Element k of a row is the step from pixel k to k + 1. The run of `left` ends with the step
    into pixel c - 1, that of `right` begins with the step out of pixel c + 1.
    """
    height, steps = left.shape
    index = np.arange(steps)
    last_break = np.maximum.accumulate(np.where(left, -1, index), axis=1)
    next_break = np.minimum.accumulate(np.where(right, steps, index)[:, ::-1], axis=1)[:, ::-1]
    widths = np.full((height, steps + 1), 2)
    widths[:, 2:] += np.minimum(index - last_break, _REACH)[:, : steps - 1]
    widths[:, : steps - 1] += np.minimum(next_break - index, _REACH)[:, 1:]
    return widths


def _sobel_edges(grey: Float64[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """Sobel edges of the horizontal gradient, thinned as Octave's `edge` does."""
    from scipy import ndimage

    kernel = np.array([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]]) / 8
    strength = np.square(ndimage.convolve(grey, kernel))
    strength[strength <= 2 * np.sqrt(np.mean(strength))] = 0
    padded = np.pad(strength, 1)
    across = (strength > padded[1:-1, :-2]) & (strength > padded[1:-1, 2:])
    down = (strength > padded[:-2, 1:-1]) & (strength > padded[2:, 1:-1])
    return across | down


def canny(grey: Float64[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """Canny edges as `skimage.feature.canny(grey)`: sigma 1, thresholds 0.1 and 0.2."""
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(grey, 1.0, mode="constant")
    smooth /= (
        ndimage.gaussian_filter(np.ones_like(grey), 1.0, mode="constant") + np.finfo(np.float64).eps
    )
    down, right = ndimage.sobel(smooth, axis=0), ndimage.sobel(smooth, axis=1)
    strength = np.sqrt(down * down + right * right)
    thin = _local_maxima(down, right, strength)
    weak = thin & (strength >= np.float32(_CANNY_LOW))
    labels, _ = ndimage.label(weak, np.ones((3, 3), bool))
    kept = np.unique(labels[weak & (strength >= _CANNY_HIGH)])
    return np.isin(labels, kept[kept > 0])


def _local_maxima(
    down: Float[np.ndarray, "H W"],
    right: Float[np.ndarray, "H W"],
    strength: Float[np.ndarray, "H W"],
) -> Bool[np.ndarray, "H W"]:
    """Pixels whose gradient is not weaker than its neighbours along the gradient."""
    inner = (slice(1, -1), slice(1, -1))

    def shifted(rows: int, columns: int) -> Float[np.ndarray, "h w"]:
        height, width = strength.shape
        return strength[1 + rows : height - 1 + rows, 1 + columns : width - 1 + columns]

    d, r, s = down[inner], right[inner], strength[inner]
    same_sign = (d > 0) == (r > 0)
    steep, flat = np.abs(d), np.abs(r)
    mostly_down = np.where(same_sign, steep > flat, steep >= flat)
    larger = np.maximum(steep, flat)
    weight = np.where(larger > 0, np.minimum(steep, flat) / np.where(larger > 0, larger, 1), 0)
    peak = np.ones_like(same_sign)
    for sign in (1, -1):
        # The diagonal neighbour lies along the gradient; the straight one on its larger axis.
        diagonal = np.where(same_sign, shifted(sign, sign), shifted(-sign, sign))
        upright = np.where(same_sign, shifted(sign, 0), shifted(-sign, 0))
        straight = np.where(mostly_down, upright, shifted(0, sign))
        peak &= diagonal * weight + straight * (1.0 - weight) <= s
    result = np.zeros(strength.shape, bool)
    result[inner] = peak
    return result
