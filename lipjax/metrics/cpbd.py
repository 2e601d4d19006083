# SPDX-License-Identifier: Apache-2.0
"""Sharpness without a reference: CPBD, the cumulative probability of blur detection.

Narvekar and Karam 2011, in the convention of python-cpbd 1.0.7, vectorised. Other copies of
the metric differ by a factor of four on the same picture, so name the convention beside the
number. Only whole 64x64 blocks count, from the top left corner on.

What is dear is done where it decides something: widths at edges alone, Canny edges in a band of
each block unless the band leaves it open whether the block has enough of them.
"""

import functools

import numpy as np
from jaxtyping import Bool, Float64, Int64, Shaped, UInt8

from lipjax.metrics.canny import blocks_with_edges, canny

__all__ = ["canny", "cpbd", "cpbd_of_frames", "luma", "slope_width"]

_BLOCK = 64
_EDGE_SHARE = 0.002
_BETA = 3.6
_REACH = 100
_PIXELS = 90_000  # worked on at once: what the caches of a core hold
_NEARLY_LEVEL = np.tan(np.pi / 8)  # half of the 45 degrees to which directions are rounded


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

    Example:
        >>> grey = np.full((128, 128), 90, np.uint8)
        >>> lipjax.cpbd(grey)  # no edges: blurred everywhere
        0.0
    """
    return float(cpbd_of_frames(image[None])[0])


def cpbd_of_frames(images: Shaped[np.ndarray, "N H W"]) -> Float64[np.ndarray, "N"]:
    """Sharpness of each of several grey pictures; `cpbd` of all in less time.

    Args:
        images: grey values 0..255, uint8 or float.
    """
    count, height, width = images.shape
    if not count or min(height, width) < _BLOCK:
        return np.zeros(count)
    at_once = max(1, _PIXELS // (height * width))
    return np.concatenate([_cpbd(images[i : i + at_once]) for i in range(0, count, at_once)])


def _cpbd(images: Shaped[np.ndarray, "N H W"]) -> Float64[np.ndarray, "N"]:
    count, rows, columns = len(images), images.shape[1] // _BLOCK, images.shape[2] // _BLOCK
    chosen = blocks_with_edges(images, _BLOCK, _EDGE_SHARE * _BLOCK**2)
    blocks = images[:, : rows * _BLOCK, : columns * _BLOCK]
    blocks = blocks.reshape(count, rows, _BLOCK, columns, _BLOCK)
    contrast = (blocks.max(axis=2).max(axis=3) * 1.0 - blocks.min(axis=2).min(axis=3)).astype(int)
    edges, widths = _edge_widths(images, (rows * _BLOCK, columns * _BLOCK))
    picture, row, column = np.unravel_index(edges, images.shape)
    block = (picture * rows + row // _BLOCK) * columns + column // _BLOCK
    counted = chosen.ravel()[block]
    sharp = _sharp()[(contrast.ravel() <= 50).astype(int)[block], widths] & counted
    edges_of = np.bincount(picture, counted, minlength=count)
    return np.bincount(picture, sharp, minlength=count) / np.maximum(edges_of, 1)


@functools.cache
def _sharp() -> Bool[np.ndarray, "contrasts widths"]:
    """Whether an edge counts as sharp, by contrast of its block (high, low) and by its width."""
    just_noticeable = np.array([[3.0], [5.0]])
    blur = 1 - np.exp(-((np.arange(2 * _REACH + 3) / just_noticeable) ** _BETA))
    return np.rint(100 * blur) < 64


def _edge_widths(
    images: Shaped[np.ndarray, "N H W"], counted: tuple[int, int]
) -> tuple[Int64[np.ndarray, "edges"], Int64[np.ndarray, "edges"]]:
    """Upright Sobel edges and their Marziliano widths, which are the slopes on both sides.

    Args:
        images: grey values.
        counted: rows and columns in which edges are wanted.

    Returns:
        Flat indices of the edges, and their widths.
    """
    count, height, width = images.shape
    grey = images.astype(np.int16) if images.dtype == np.uint8 else images.astype(np.float64)
    framed = np.empty((count, height + 2, width + 2), grey.dtype)
    framed[:, 1:-1, 1:-1] = grey
    framed[:, 0, 1:-1], framed[:, -1, 1:-1] = grey[:, 0], grey[:, -1]
    framed[:, :, 0], framed[:, :, -1] = framed[:, :, 1], framed[:, :, -2]
    edges = _sobel_edges(framed, counted)
    picture, row, column = np.unravel_index(edges, images.shape)
    place = (picture * (height + 2) + row + 1) * (width + 2) + column + 1
    flat = framed.ravel()
    across = flat[place + 1] - flat[place - 1]
    down = np.abs(flat[place + width + 2] - flat[place - width - 2])
    level = down <= _NEARLY_LEVEL * np.abs(across)
    # The reference leaves the direction of a gradient without horizontal part at 0.
    falling, rising = (across < 0) & level, ((across > 0) & level) | (across == 0)
    slanted = np.bincount(picture, (across < 0) | ((across > 0) & (down > 0)), minlength=count)
    for number in np.flatnonzero(slanted == 0):
        if not _has_directions(images[number]):  # no width at all, says the reference
            falling[picture == number] = rising[picture == number] = False
    kept = falling | rising
    return edges[kept], _slopes(flat, place[kept], np.where(falling[kept], -1, 1))


def _has_directions(image: Shaped[np.ndarray, "H W"]) -> bool:
    """Whether any gradient of a picture points elsewhere than to the right."""
    gradient_y, gradient_x = np.gradient(image.astype(np.float64))
    return bool(((gradient_x < 0) | ((gradient_x > 0) & (gradient_y != 0))).any())


def _slopes(
    flat: Shaped[np.ndarray, "pixels"],
    place: Int64[np.ndarray, "edges"],
    sign: Int64[np.ndarray, "edges"],
) -> Int64[np.ndarray, "edges"]:
    """Widths of edges: 2 + the lengths of the slopes beside each, at most 100.

    Args:
        flat: rows of pixels, each with its ends repeated, so that no slope leaves its row.
        place: of the edges in it.
        sign: 1 where the slopes rise to the right, -1 where they fall.
    """
    ahead, behind = flat[1:], flat[:-1]
    step = (ahead > behind).view(np.int8) - (ahead < behind).view(np.int8)
    change = np.empty(len(step), bool)
    change[0], change[1:] = True, step[1:] != step[:-1]
    bounds = np.append(np.flatnonzero(change), len(step))
    run = np.cumsum(change, dtype=np.int32) - 1
    left, right = place - 2, place + 1  # the steps that end and begin a pixel away
    before = np.where(step[left] == sign, left + 1 - bounds[run[left]], 0)
    after = np.where(step[right] == sign, bounds[run[right] + 1] - right, 0)
    return 2 + np.minimum(before, _REACH) + np.minimum(after, _REACH)


def _sobel_edges(
    framed: Shaped[np.ndarray, "N h w"], counted: tuple[int, int]
) -> Int64[np.ndarray, "edges"]:
    """Sobel edges of the horizontal gradient, thinned as Octave's `edge` does, off the border.

    Args:
        framed: pictures with their borders repeated once. Integers are worked with as they are:
            exact, and eight times the gradient.
        counted: rows and columns in which edges are wanted.

    Returns:
        Flat indices into the pictures without frame.
    """
    count, height, width = (size - 2 * bool(n) for n, size in enumerate(framed.shape))
    if framed.dtype == np.int16:
        step = framed[:, :, 2:] - framed[:, :, :-2]
        sums = step[:, :-2] + step[:, 2:] + 2 * step[:, 1:-1]
        strength, unit = np.multiply(sums, sums, dtype=np.int32), 64.0
        total = strength.sum(axis=(1, 2), dtype=np.int64) / unit
    else:
        from scipy import ndimage

        kernel = np.array([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]]) / 8
        pictures = framed[:, 1:-1, 1:-1]
        strength = np.square(np.stack([ndimage.convolve(p, kernel) for p in pictures]))
        total, unit = np.array([picture.sum() for picture in strength]), 1.0
    least = 2 * unit * np.sqrt(total / (height * width))
    above = strength > least[:, None, None]
    above[:, [0, -1]] = above[:, :, [0, -1]] = False
    above[:, counted[0] :] = above[:, :, counted[1] :] = False
    edges, flat = np.flatnonzero(above), strength.ravel()
    own = flat[edges]
    across = (own > flat[edges - 1]) & (own > flat[edges + 1])
    down = (own > flat[edges - width]) & (own > flat[edges + width])
    return edges[across | down]


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
