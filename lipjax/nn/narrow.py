# SPDX-License-Identifier: Apache-2.0
"""Convolutions to very few channels, such as a video's colours, at stride 1, and from them.

Three output channels fill a fifth of a vector register, and the weight gradient of such a layer is
the slowest convolution of all on XLA's CPU backend. With the taps in time and height as channels
(49 times 3 for 7x7x7) a convolution along the width alone is left; its results, shifted by their
taps, are added up. The weight gradient is then one matrix product per tap along the width.

The gradient in the pictures that a network looks at is such a convolution too.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Sides = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv(
    x: Float[Array, "B T H W I"], kernel: Float[Array, "kt kh kw I O"], padding: Sides
) -> Float[Array, "B t h w O"]:
    """Returns the convolution (cross-correlation, zeros outside) at stride 1.

    Args:
        x: clips.
        kernel: taps, input channels, few output channels.
        padding: zeros (before, after) in time, height and width, at least 0.
    """
    times, rows, columns, inputs, features = kernel.shape
    along = kernel.transpose(2, 3, 1, 0, 4).reshape(columns, inputs, rows * times * features)
    y = _along_width(x, along, padding[2])
    y = y.reshape(*y.shape[:4], rows, times * features)
    y = _shifted_sum(jnp.pad(y, _sides(6, 2, padding[1])), rows, 2)
    y = y.reshape(*y.shape[:4], times, features)
    return _shifted_sum(jnp.pad(y, _sides(6, 1, padding[0])), times, 1)


def _sides(rank: int, axis: int, pair: tuple[int, int]) -> list[tuple[int, int]]:
    return [pair if number == axis else (0, 0) for number in range(rank)]


def _shifted_sum(y, taps: int, axis: int):
    """Adds y[..., k, :] shifted by k along an axis."""
    length = y.shape[axis] - taps + 1
    parts = [lax.slice_in_dim(y[..., k, :], k, k + length, axis=axis) for k in range(taps)]
    return functools.reduce(jnp.add, parts)


def _along_width(x, kernel, sides):
    flat = x.reshape(-1, *x.shape[2:])
    y = _plain(flat, kernel[None], ((0, 0), sides))
    return y.reshape(*x.shape[:2], *y.shape[1:])


def _backward(padding, saved, cotangent):
    x, kernel = saved
    times, rows, columns, inputs, features = kernel.shape

    def seen_through_taps(array, taps: int, axis: int, before: int, length: int):
        # Input i is seen through tap k by output i - k + before.
        after = length - array.shape[axis] + before
        array = jnp.pad(array, _sides(5, axis, (taps - 1 - before, after)))
        starts = [taps - 1 - k for k in range(taps)]
        parts = [lax.slice_in_dim(array, s, s + length, axis=axis) for s in starts]
        return jnp.concatenate(parts, axis=-1)

    spread = seen_through_taps(cotangent, times, 1, padding[0][0], x.shape[1])
    spread = seen_through_taps(spread, rows, 2, padding[1][0], x.shape[2])
    along = jnp.flip(kernel, 2).transpose(2, 1, 0, 4, 3).reshape(columns, -1, inputs)
    low, high = padding[2]
    dx = _along_width(spread, along, (columns - 1 - low, columns - 1 - high))

    padded = jnp.pad(x, _sides(5, 3, padding[2]))
    width = cotangent.shape[3]
    flat = spread.reshape(-1, spread.shape[-1])
    windows = [lax.slice_in_dim(padded, k, k + width, axis=3) for k in range(columns)]
    taps = [jnp.matmul(part.reshape(-1, inputs).T, flat) for part in windows]
    dkernel = jnp.stack(taps).reshape(columns, inputs, rows, times, features)
    return dx, dkernel.transpose(3, 2, 0, 1, 4)


conv.defvjp(lambda x, kernel, padding: (conv(x, kernel, padding), (x, kernel)), _backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv_from_few(
    x: Float[Array, "N H W I"],
    kernel: Float[Array, "kh kw I O"],
    padding: tuple[tuple[int, int], tuple[int, int]],
) -> Float[Array, "N h w O"]:
    """Returns the convolution of pictures with few channels at stride 1; its gradient is quick.

    Args:
        x: pictures of few channels.
        kernel: taps, input channels, output channels.
        padding: zeros (before, after) in height and width, fewer than taps.
    """
    return _plain(x, kernel, padding)


def _plain(x, kernel, padding):
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=numbers)


def _from_few_backward(padding, saved, cotangent):
    x, kernel = saved
    back = [
        (taps - 1 - low, taps - 1 - high)
        for taps, (low, high) in zip(kernel.shape, padding, strict=False)
    ]
    turned = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    dx = conv(cotangent[:, None], turned[None], ((0, 0), *back))[:, 0]
    _, pull = jax.vjp(lambda taps: _plain(x, taps, padding), kernel)
    return dx, *pull(cotangent)


conv_from_few.defvjp(
    lambda x, kernel, padding: (conv_from_few(x, kernel, padding), (x, kernel)),
    _from_few_backward,
)
