# SPDX-License-Identifier: Apache-2.0
"""2-D convolutions of maps with few places and many channels, as matrix products.

On maps of one or four places most taps of a 3x3 kernel fall outside, and XLA's CPU convolutions
fall to a few hundredths of the matrix rate. Here each tap is a product [pictures x places, I] by
[I, O] over the places at which it falls inside; taps that never do cost nothing.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def conv(
    x: Float[Array, "N H W I"],
    kernel: Float[Array, "kh kw I O"],
    strides: Sequence[int],
    padding: Sequence[Sequence[int]],
) -> Float[Array, "N h w O"]:
    """Returns the convolution (cross-correlation, zeros outside).

    Args:
        x: pictures.
        kernel: taps, input channels, output channels.
        strides: in height and width.
        padding: zeros (before, after) in height and width.
    """
    sizes = [
        (n + sum(pad) - length) // stride + 1
        for n, pad, length, stride in zip(
            x.shape[1:3], padding, kernel.shape[:2], strides, strict=True
        )
    ]
    # Split, not indexed: the gradient is then laid side by side. That of an index is padded to the
    # whole kernel, and a sum of as many whole kernels as there are taps costs more than all else.
    count = kernel.shape[0] * kernel.shape[1]
    taps = lax.split(kernel.reshape(count, *kernel.shape[2:]), (1,) * count)
    total = None
    for row in range(kernel.shape[0]):
        down = _inside(row, x.shape[1], sizes[0], strides[0], padding[0][0])
        for column in range(kernel.shape[1]):
            across = _inside(column, x.shape[2], sizes[1], strides[1], padding[1][0])
            if not (down and across):
                continue
            seen = x[:, _seen(row, down, strides[0], padding[0][0])]
            seen = seen[:, :, _seen(column, across, strides[1], padding[1][0])]
            tap = taps[row * kernel.shape[1] + column][0]
            y = lax.dot_general(seen, tap, (((3,), (0,)), ((), ())))
            around = [
                (places[0], size - 1 - places[-1])
                for places, size in zip((down, across), sizes, strict=True)
            ]
            y = jnp.pad(y, ((0, 0), *around, (0, 0)))
            total = y if total is None else total + y
    if total is None:
        return jnp.zeros((len(x), *sizes, kernel.shape[-1]), x.dtype)
    return total


def _inside(tap: int, length: int, outputs: int, stride: int, before: int) -> range:
    """Returns the outputs at which a tap falls inside the input; they lie side by side."""
    places = [o for o in range(outputs) if 0 <= o * stride + tap - before < length]
    return range(places[0], places[-1] + 1) if places else range(0)


def _seen(tap: int, outputs: range, stride: int, before: int) -> slice:
    first = outputs[0] * stride + tap - before
    return slice(first, first + (len(outputs) - 1) * stride + 1, stride)
