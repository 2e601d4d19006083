# SPDX-License-Identifier: Apache-2.0
"""Which way a convolution is computed: by its shape, and by the platform it is compiled for."""

import functools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from lipjax.nn import winograd

# Where the form of few products starts to win on CPU (benchmarks/convolutions.py --full).
_WINOGRAD_CHANNELS = 64
_WINOGRAD_TILES = 16
_WINOGRAD_USED = 0.5
# Measured with 256 to 1024 channels: a few times to a hundred times as quick on 2x2 places, a
# quarter quicker on 4x4, and level with XLA's own convolutions on 8x8.
_SMALL_PLACES = 16
_SMALL_CHANNELS = 64
# 7x7 taps from 3 to 64 channels on 64x64 pictures: five times as quick.
# Layers of fewer taps were not measured, and keep XLA's own.
_FEW_CHANNELS = 4
_MANY_TAPS = 25


def winograd_filter(
    shape: Sequence[int],
    kernel_shape: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    *,
    transpose: bool = False,
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> winograd.Filter | None:
    """Returns how `lipjax.nn.winograd` computes a 3-D convolution if a CPU is quicker so.

    That is so in float32, where there are so many channels that the products cost more than the
    transforms, so many tiles that the kernel's transform pays, and tiles hardly reach over the
    borders; else it is None. Accelerators have kernels of their own and are not asked.

    Args:
        shape: of the input, B T H W C.
        kernel_shape: taps, input and output channels.
        strides, padding: as in `conv`, or in `conv_transpose` if `transpose`.
        transpose: whether it is a transposed convolution.
        dtype: of the computation.
    """
    times, space = padding[0], tuple(padding[1:])
    if tuple(kernel_shape[1:3]) != (winograd.TAPS,) * 2 or jnp.dtype(dtype) != jnp.float32:
        return None
    if transpose:
        last = kernel_shape[0] - 1
        times = last - times[0], last - times[1]
        if tuple(strides) != (1, 2, 2) or space != ((1, 0), (1, 0)):
            return None
    elif tuple(strides) != (1, 1, 1) or any(n > 2 for pad in space for n in pad):
        return None
    if any(n < 0 for pad in (times, *space) for n in pad):
        return None
    how = winograd.Filter(2 if transpose else 1, (times, *space))
    tiles = math.prod(how.tiles(axis, shape[1 + axis]) for axis in (1, 2))
    pixels = math.prod(how.size(axis, shape[1 + axis]) for axis in (1, 2))
    used = pixels / (tiles * (winograd.STEP * how.factor) ** 2)
    wins = (
        min(kernel_shape[3:]) >= _WINOGRAD_CHANNELS
        and math.prod(shape[:2]) * tiles >= _WINOGRAD_TILES
        and used >= _WINOGRAD_USED
    )
    return how if wins else None


def is_small_map(
    shape: Sequence[int],
    kernel_shape: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[Sequence[int]],
) -> bool:
    """Returns whether a CPU computes a 2-D convolution quicker by `lipjax.nn.small_maps`.

    Args:
        shape: of the input, N H W C.
        kernel_shape: taps, input and output channels.
        strides, padding: in height and width.
    """
    places = 1
    for length, taps, stride, pad in zip(
        shape[1:3], kernel_shape[:2], strides, padding, strict=True
    ):
        if any(n < 0 for n in pad):
            return False
        places *= (length + sum(pad) - taps) // stride + 1
    return places <= _SMALL_PLACES and max(kernel_shape[2:]) >= _SMALL_CHANNELS


def is_from_few(kernel_shape: Sequence[int], padding: Sequence[Sequence[int]]) -> bool:
    """Returns whether `lipjax.nn.narrow` gives a CPU a quicker gradient of a 2-D convolution.

    Args:
        kernel_shape: taps, input and output channels; strides are 1.
        padding: in height and width.
    """
    fits = all(0 <= n < taps for taps, pad in zip(kernel_shape, padding, strict=False) for n in pad)
    return fits and kernel_shape[2] <= _FEW_CHANNELS and math.prod(kernel_shape[:2]) >= _MANY_TAPS


# By the platform that is compiled for, which need not be one of this process: a TPU pod is planned
# on a CPU. With derivatives of its own, lest those of both ways be kept for the way back.
@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def by_platform(
    x: Float[Array, "..."],
    kernel: Float[Array, "..."],
    on_cpu: Callable[[Array, Array], Array],
    elsewhere: Callable[[Array, Array], Array],
) -> Float[Array, "..."]:
    """Computes the same in one of two ways.

    Args:
        x: input of both.
        kernel: likewise.
        on_cpu: (x, kernel) -> result, compiled for CPUs.
        elsewhere: the same, for all other platforms.
    """
    return lax.platform_dependent(x, kernel, cpu=on_cpu, default=elsewhere)


def _by_platform_forward(x, kernel, on_cpu, elsewhere):
    return by_platform(x, kernel, on_cpu, elsewhere), (x, kernel)


def _by_platform_backward(on_cpu, elsewhere, saved, cotangent):
    def pulled(function):
        return lambda x, kernel, cotangent: jax.vjp(function, x, kernel)[1](cotangent)

    ways = {"cpu": pulled(on_cpu), "default": pulled(elsewhere)}
    return lax.platform_dependent(*saved, cotangent, **ways)


by_platform.defvjp(_by_platform_forward, _by_platform_backward)
