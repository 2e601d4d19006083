# SPDX-License-Identifier: Apache-2.0
"""Convolutions of wide layers with a fraction of the products (Winograd's minimal filtering).

A tile of 4x4 outputs of a 3x3 convolution needs 6x6 inputs and 144 products per pair of channels;
taken to 36 points where convolution is a product, it needs 36. A tile of 8x8 outputs of a
transposed convolution with 3x3 taps and factor 2 needs 81 instead of 144. The way there and back is
linear, small, and the same for all channels, so all of it is matrix products, which every backend
does at its full rate:

    windows -> (points x window) -> at each point [tiles, I] by [I, O] -> (pixels x points) -> tiles

The result is linear in the input x, in the kernel and in a weight of the output, and each
derivative leaves out one of them. So three functions give all derivatives of any order, at the
same speed. Rounding grows about fivefold against a direct float32 convolution, to 2e-6 of the
result's norm.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016; points around 1
instead of at 1 and 2 halve the error (Barabasz et al., "Error Analysis and Improving the Accuracy
of Winograd Convolution for Deep Neural Networks", 2020).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

TAPS = 3
STEP = 4  # input pixels from tile to tile, of every method here


class Filter(NamedTuple):
    """What is computed; hashable, as a function with its own derivatives needs it.

    Attributes:
        factor: 1 is the convolution, 2 the transposed convolution that doubles height and width.
        padding: zeros (before, after) in time, height and width of the convolution; with factor 2
            only those in time count.
    """

    factor: int
    padding: tuple[tuple[int, int], ...]

    def size(self, axis: int, length: int) -> int:
        """Returns the output's length along height (1) or width (2)."""
        if self.factor == 2:
            return 2 * length
        return length + sum(self.padding[axis]) - TAPS + 1

    def before(self, axis: int) -> int:
        """Returns the zeros before the first input pixel along height (1) or width (2)."""
        return 0 if self.factor == 2 else self.padding[axis][0]

    def tiles(self, axis: int, length: int) -> int:
        """Returns the number of tiles along height (1) or width (2) of the input's length."""
        return -(-self.size(axis, length) // (STEP * self.factor))


@functools.cache
def transforms(factor: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the transforms along one axis, float64.

    Args:
        factor: see `Filter`.

    Returns:
        For inputs [points, window], kernel [points, 3] and outputs [points, pixels]: pixels y of a
        tile with inputs d and taps g are y = outputs^T (kernel g * inputs d).
    """
    if factor == 1:
        return _by_points((0.0, 2 / 3, -2 / 3, 3 / 2, -3 / 2), TAPS, STEP)
    # Even pixels see tap 1 alone, odd ones tap 2 on their own and tap 0 on the next input.
    inputs, pair, odd = _by_points((0.4, -0.4, 1.2, -1.2), 2, STEP)
    kernel, outputs = np.zeros((2 * STEP + 1, 3)), np.zeros((2 * STEP + 1, 2 * STEP))
    kernel[:STEP, 1] = 1.0
    outputs[:STEP, ::2] = np.eye(STEP)
    kernel[STEP:, (2, 0)] = pair
    outputs[STEP:, 1::2] = odd
    return np.concatenate([np.eye(STEP, STEP + 1), inputs]), kernel, outputs


def _by_points(points: tuple[float, ...], taps: int, pixels: int):
    """Multiplying polynomials by their values at points and at infinity, transposed."""

    def powers(count: int) -> np.ndarray:
        rows = [[point**power for power in range(count)] for point in points]
        return np.array([*rows, [0.0] * (count - 1) + [1.0]])

    parts = np.linalg.inv(powers(taps + pixels - 1)).T, powers(taps), powers(pixels)
    # Rows may be scaled against each other; equal norms keep the rounding low.
    norms = np.stack([np.linalg.norm(part, axis=1) for part in parts])
    scales = np.prod(norms, axis=0) ** (1 / 3) / norms
    return tuple(part * scale[:, None] for part, scale in zip(parts, scales, strict=True))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def apply(
    x: Float[Array, "B T H W I"], kernel: Float[Array, "kt 3 3 I O"], how: Filter
) -> Float[Array, "B t h w O"]:
    """Returns the convolution (cross-correlation), or out[t, 2i + k - 1] += x[., i] kernel[., k].

    Args:
        x: clips.
        kernel: taps, input channels, output channels; time is convolved in both kinds.
        how: the kind and the zeros outside.
    """
    points = _product(_inputs(x, how), _kernel(kernel, how.factor), (2, 1))
    points = _in_time(points, x.shape, kernel.shape, how)
    _, _, outputs = _matrices(how.factor, x.dtype)
    tiles = jnp.tensordot(outputs.T, points, 1)
    down, across = (how.tiles(axis, x.shape[1 + axis]) for axis in (1, 2))
    side = STEP * how.factor
    tiles = tiles.reshape(side, side, -1, down, across, kernel.shape[-1])
    y = tiles.transpose(2, 3, 0, 4, 1, 5).reshape(
        x.shape[0], -1, down * side, across * side, kernel.shape[-1]
    )
    return y[:, :, : how.size(1, x.shape[2]), : how.size(2, x.shape[3])]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def input_gradient(
    weight: Float[Array, "B t h w O"],
    kernel: Float[Array, "kt 3 3 I O"],
    how: Filter,
    shape: tuple[int, ...],
) -> Float[Array, "B T H W I"]:
    """Returns the derivative of the sum of weight * apply(x, kernel) with respect to x.

    Args:
        weight: of every output.
        kernel: as in `apply`.
        how: as in `apply`.
        shape: of x.
    """
    points = _outputs(weight, shape, kernel.shape, how)
    points = _product(points, _kernel(kernel, how.factor), (2, 2))
    inputs, _, _ = _matrices(how.factor, weight.dtype)
    windows = jnp.tensordot(inputs.T, points, 1)
    return _overlapped(windows, shape, how)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def kernel_gradient(
    x: Float[Array, "B T H W I"], weight: Float[Array, "B t h w O"], how: Filter, taps: int
) -> Float[Array, "kt 3 3 I O"]:
    """Returns the derivative of the sum of weight * apply(x, kernel) with respect to the kernel.

    Args:
        x: as in `apply`.
        weight: of every output.
        how: as in `apply`.
        taps: the kernel's, in time.
    """
    shape = (taps, TAPS, TAPS, x.shape[-1], weight.shape[-1])
    points = _product(_inputs(x, how), _outputs(weight, x.shape, shape, how), (1, 1))
    _, matrix, _ = _matrices(how.factor, x.dtype)
    kernel = jnp.tensordot(matrix.T, points, 1).reshape(TAPS, TAPS, shape[3], taps, shape[4])
    return jnp.moveaxis(kernel, 3, 0)


def _matrices(factor: int, dtype) -> list[Array]:
    """Transforms of both axes at once."""
    return [jnp.asarray(np.kron(matrix, matrix), dtype) for matrix in transforms(factor)]


def _product(left, right, contract):
    """One matrix product per point."""
    return lax.dot_general(left, right, (((contract[0],), (contract[1],)), ((0,), (0,))))


def _kernel(kernel, factor):
    """Kernel at the points [points, I, kt * O]: taps in time become output channels."""
    _, matrix, _ = _matrices(factor, kernel.dtype)
    kernel = jnp.moveaxis(kernel, 0, 3).reshape(TAPS * TAPS, kernel.shape[3], -1)
    return jnp.tensordot(matrix, kernel, 1)


def _inputs(x, how: Filter):
    """Windows of the input at the points [points, B * T * tiles, I]."""
    matrix, _, _ = _matrices(how.factor, x.dtype)
    window = transforms(how.factor)[0].shape[1]
    tiles = [how.tiles(axis, x.shape[1 + axis]) for axis in (1, 2)]
    befores = [how.before(axis) for axis in (1, 2)]
    return jnp.tensordot(matrix, _windows(x, window, STEP, befores, tiles), 1)


def _outputs(weight, shape, kernel_shape, how: Filter):
    """Weights of the output at the points [points, B * T * tiles, kt * O]."""
    _, _, matrix = _matrices(how.factor, weight.dtype)
    tiles = [how.tiles(axis, shape[1 + axis]) for axis in (1, 2)]
    side = STEP * how.factor
    points = jnp.tensordot(matrix, _windows(weight, side, side, (0, 0), tiles), 1)
    taps, features = kernel_shape[0], kernel_shape[-1]
    if taps == 1:
        return points
    before = how.padding[0][0]
    points = points.reshape(len(points), *weight.shape[:2], -1, features)
    # Frame t of the input is seen through tap k by frame t - k + before of the output.
    sides = (max(0, taps - 1 - before), max(0, shape[1] - weight.shape[1] + before))
    points = jnp.pad(points, ((0, 0), (0, 0), sides, (0, 0), (0, 0)))
    starts = [sides[0] + before - k for k in range(taps)]
    parts = [lax.slice_in_dim(points, s, s + shape[1], axis=2) for s in starts]
    return jnp.stack(parts, axis=4).reshape(len(points), -1, taps * features)


def _in_time(points, shape, kernel_shape, how: Filter):
    """Adds up the taps in time, which are channels of different frames."""
    taps, features = kernel_shape[0], kernel_shape[-1]
    if taps == 1:
        return points
    points = points.reshape(len(points), *shape[:2], -1, taps, features)
    points = jnp.pad(points, ((0, 0), (0, 0), how.padding[0], (0, 0), (0, 0), (0, 0)))
    frames = points.shape[2] - taps + 1
    parts = [lax.slice_in_dim(points[..., k, :], k, k + frames, axis=2) for k in range(taps)]
    return functools.reduce(jnp.add, parts).reshape(len(points), -1, features)


def _windows(x, window: int, step: int, befores, tiles):
    """Windows of window x window pixels, pixel by pixel [window^2, B * T * tiles, C]."""
    ends = [(count - 1) * step + window for count in tiles]
    sides = [(b, end - b - n) for b, end, n in zip(befores, ends, x.shape[2:4], strict=True)]
    x = x.reshape(-1, *x.shape[2:])
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *((*s, 0) for s in sides), (0, 0, 0)])
    for count in reversed(tiles):
        # The axis behind those already stacked and the frames' is the next to be cut.
        axis = 2
        last = (count - 1) * step + 1
        parts = [lax.slice_in_dim(x, k, k + last, step, axis) for k in range(window)]
        x = jnp.stack(parts)
    return x.reshape(window * window, -1, x.shape[-1])


def _overlapped(windows, shape, how: Filter):
    """Adds overlapping windows [window^2, B * T * tiles, C] up to pictures."""
    down, across = (how.tiles(axis, shape[1 + axis]) for axis in (1, 2))
    window = transforms(how.factor)[0].shape[1]
    y = windows.reshape(window, window, -1, down, across, shape[-1])
    for axis in (0, 1):
        own = lax.slice_in_dim(y, 0, STEP, axis=axis)
        over = lax.slice_in_dim(y, STEP, window, axis=axis)
        # What reaches over the tile belongs to the first pixels of the next one.
        own_sides, over_sides = [(0, 0)] * 6, [(0, 0)] * 6
        own_sides[3 + axis], over_sides[3 + axis] = (0, 1), (1, 0)
        over_sides[axis] = (0, 2 * STEP - window)
        y = jnp.pad(own, own_sides) + jnp.pad(over, over_sides)
    y = y.transpose(2, 3, 0, 4, 1, 5)
    y = y.reshape(*shape[:2], (down + 1) * STEP, (across + 1) * STEP, shape[-1])
    top, left = how.before(1), how.before(2)
    return y[:, :, top : top + shape[2], left : left + shape[3]]


apply.defvjp(
    lambda x, kernel, how: (apply(x, kernel, how), (x, kernel)),
    lambda how, saved, weight: (
        input_gradient(weight, saved[1], how, saved[0].shape),
        kernel_gradient(saved[0], weight, how, saved[1].shape[0]),
    ),
)
input_gradient.defvjp(
    lambda weight, kernel, how, shape: (
        input_gradient(weight, kernel, how, shape),
        (weight, kernel),
    ),
    lambda how, shape, saved, x: (
        apply(x, saved[1], how),
        kernel_gradient(x, saved[0], how, saved[1].shape[0]),
    ),
)
kernel_gradient.defvjp(
    lambda x, weight, how, taps: (kernel_gradient(x, weight, how, taps), (x, weight)),
    lambda how, taps, saved, kernel: (
        input_gradient(saved[1], kernel, how, saved[0].shape),
        apply(saved[0], kernel, how),
    ),
)
