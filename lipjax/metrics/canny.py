# SPDX-License-Identifier: Apache-2.0
"""Canny edges as scikit-image finds them, and a quick way to know where there are some."""

import functools

import numpy as np
from jaxtyping import Bool, Float, Float64, Shaped

_LOW, _HIGH = 0.1, 0.2
_BAND = 4  # rows of a block that are looked at first
_HALO = 4, 1, 1  # rows that smoothing, differences and thinning see on either side


@functools.lru_cache(maxsize=8)
def _weight(height: int, width: int) -> Float64[np.ndarray, "H W"]:
    """What smoothing makes of ones: less than one near the border."""
    from scipy import ndimage

    ones = ndimage.gaussian_filter(np.ones((height, width)), 1.0, mode="constant")
    return ones + np.finfo(np.float64).eps


def canny(grey: Float64[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """Canny edges as `skimage.feature.canny(grey)`: sigma 1, thresholds 0.1 and 0.2."""
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(grey, 1.0, mode="constant") / _weight(*grey.shape)
    down, right = ndimage.sobel(smooth, axis=0), ndimage.sobel(smooth, axis=1)
    strength = np.sqrt(down * down + right * right)
    thin = _local_maxima(down, right, strength)
    weak = thin & (strength >= np.float32(_LOW))
    labels, _ = ndimage.label(weak, np.ones((3, 3), bool))
    kept = np.unique(labels[weak & (strength >= _HIGH)])
    return np.isin(labels, kept[kept > 0])


def blocks_with_edges(
    pictures: Shaped[np.ndarray, "N H W"], block: int, above: float
) -> Bool[np.ndarray, "N rows columns"]:
    """Tells which blocks of pictures hold more than `above` pixels of Canny edges.

    Strong edges of a few rows across the middle of each block usually are enough already; only
    pictures with a block where they are not get all their edges drawn.

    Args:
        pictures: grey values.
        block: side of a block in pixels, at least 32; blocks count from the top left corner.
        above: number of pixels.
    """
    rows, columns = pictures.shape[1] // block, pictures.shape[2] // block
    found = _strong(pictures, block)[:, :, : columns * block]
    found = found.reshape(len(pictures), rows, columns, block).sum(3) > above
    for number in np.flatnonzero(~found.all(axis=(1, 2))):
        edges = canny(pictures[number].astype(np.float64))[: rows * block, : columns * block]
        found[number] = edges.reshape(rows, block, columns, block).sum(axis=(1, 3)) > above
    return found


def _strong(
    pictures: Shaped[np.ndarray, "N H W"], block: int
) -> Shaped[np.ndarray, "N rows columns"]:
    """Counts strong edge pixels of a band of rows in every row of blocks, by columns.

    They are the very pixels that `canny` finds there, because the band is seen with its
    surroundings, and no strong edge depends on others.
    """
    from scipy import ndimage

    number, height, width = pictures.shape
    weight = _weight(height, width)
    width = min(width, width // block * block + sum(_HALO))
    first = (block - _BAND) // 2 - sum(_HALO)
    inside = np.arange(first, first + _BAND + 2 * sum(_HALO))
    seen = (block * np.arange(height // block)[:, None] + inside).ravel()
    bands = pictures[:, seen, :width].astype(np.float64).reshape(-1, len(inside), width)
    smooth = ndimage.gaussian_filter(bands, (0, 1.0, 1.0), mode="constant")
    weight = weight[seen, :width].reshape(-1, len(inside), width)
    smooth = smooth.reshape(number, -1, len(inside), width) / weight
    smooth = smooth.reshape(-1, len(inside), width)[:, _HALO[0] : -_HALO[0]]
    down, right = ndimage.sobel(smooth, axis=1), ndimage.sobel(smooth, axis=2)
    down, right = down[:, _HALO[1] : -_HALO[1]], right[:, _HALO[1] : -_HALO[1]]
    strength = np.sqrt(down * down + right * right)
    thin = _local_maxima(down, right, strength)[:, _HALO[2] : -_HALO[2]]
    strong = thin & (strength[:, _HALO[2] : -_HALO[2]] >= _HIGH)
    return strong.sum(axis=1).reshape(number, -1, width)


def _local_maxima(
    down: Float[np.ndarray, "*N H W"],
    right: Float[np.ndarray, "*N H W"],
    strength: Float[np.ndarray, "*N H W"],
) -> Bool[np.ndarray, "*N H W"]:
    """Pixels whose gradient is not weaker than its neighbours along the gradient."""
    inner = (..., slice(1, -1), slice(1, -1))

    def shifted(rows: int, columns: int) -> Float[np.ndarray, "*N h w"]:
        height, width = strength.shape[-2:]
        return strength[..., 1 + rows : height - 1 + rows, 1 + columns : width - 1 + columns]

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
