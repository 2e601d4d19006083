# SPDX-License-Identifier: Apache-2.0
"""Convolutions in exact forms that are fast on every backend.

XLA on CPU has a fast path for plain 2-D convolutions only: strided and transposed 3-D
convolutions and their gradients fall to loops that are 25 to 300 times slower. A 3-D convolution
is therefore written here as a sum over the taps in time of 2-D convolutions, and a transposed one
as a convolution to more channels whose pixels are then interleaved. What is left are 2-D
convolutions, and the wide ones of 3x3 taps are done with a quarter of the products on CPU. All of
it equals the plain `jax.lax` form, which `form="lax"` selects, in value and gradient (but for
rounding).
"""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from lipjax.errors import ConfigError
from lipjax.nn import narrow, small_maps, winograd
from lipjax.nn.choosing import by_platform, is_from_few, is_small_map, winograd_filter

Padding = Sequence[Sequence[int]]
FORMS = ("rewritten", "lax")


def conv(
    x: Float[Array, "B *space I"],
    kernel: Float[Array, "*taps I O"],
    *,
    strides: Sequence[int],
    padding: Padding,
    form: str = "rewritten",
) -> Float[Array, "B *out O"]:
    """Returns the 2-D or 3-D convolution (cross-correlation, zeros outside) of x with a kernel.

    Args:
        x: input, channels last; the first of three spatial axes is time.
        kernel: taps along each axis, input channels, output channels.
        strides: one step per spatial axis.
        padding: zeros (before, after) per spatial axis.
        form: "rewritten" (fast on CPU) or "lax" (the plain operator).

    Raises:
        ConfigError: the kernel does not fit into the padded input.
        ValueError: the form is unknown.
    """
    strides, padding = _settled(strides, padding)
    space = [size + sum(pad) for size, pad in zip(x.shape[1:-1], padding, strict=True)]
    if any(size < taps for size, taps in zip(space, kernel.shape[:-2], strict=True)):
        raise ConfigError(
            f"a kernel of {kernel.shape[:-2]} taps does not fit into {tuple(space)}, padding "
            "included; use fewer layers or smaller strides"
        )
    if _check(form) == "lax":
        return _lax_conv(x, kernel, strides, padding)
    return (_conv2d if x.ndim == 4 else _conv3d)(x, kernel, strides, padding)


def conv_transpose(
    x: Float[Array, "B *space I"],
    kernel: Float[Array, "*taps I O"],
    *,
    strides: Sequence[int],
    padding: Padding,
    form: str = "rewritten",
) -> Float[Array, "B *out O"]:
    """Returns the 2-D or 3-D transposed convolution: out[i * s + k - before] += x[i] kernel[k].

    An axis of length n becomes (n - 1) * s + taps - before - after long. PyTorch's
    ConvTranspose with padding p and output_padding q is padding (p, p - q) here.

    Args:
        x: input, channels last; the first of three spatial axes is time.
        kernel: taps along each axis, input channels, output channels.
        strides: steps of the output per spatial axis.
        padding: samples (before, after) cut from the full result per spatial axis.
        form: "rewritten" (fast on CPU; no forward-mode derivative) or "lax".

    Raises:
        ValueError: the form is unknown.
    """
    strides, padding = _settled(strides, padding)
    if _check(form) == "lax":
        taps = kernel.shape[:-2]
        flipped = jnp.flip(kernel, tuple(range(len(taps))))
        cut = [(k - 1 - p[0], k - 1 - p[1]) for k, p in zip(taps, padding, strict=True)]
        return lax.conv_general_dilated(
            x,
            flipped,
            (1,) * len(taps),
            cut,
            lhs_dilation=strides,
            dimension_numbers=_dimension_numbers(len(taps)),
        )
    if x.ndim == 5:
        how = winograd_filter(
            x.shape, kernel.shape, strides, padding, transpose=True, dtype=x.dtype
        )
        if how is not None:
            quick = functools.partial(_flipped_in_time, how=how)
            plain = functools.partial(_conv_transpose, strides=strides, padding=padding)
            return by_platform(x, kernel, quick, plain)
    return _conv_transpose(x, kernel, strides, padding)


def same_padding(taps: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Returns the padding that keeps an axis' length at stride 1 (the longer side first)."""
    return tuple((k // 2, (k - 1) // 2) for k in taps)


def enlarging_padding(taps: Sequence[int], strides: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Returns the padding with which a transposed convolution gives exactly stride times the axis.

    Raises:
        ValueError: a kernel is smaller than its stride, so that pixels would stay empty.
    """
    for k, s in zip(taps, strides, strict=True):
        if k < s:
            raise ValueError(
                f"a transposed convolution with {k} taps and stride {s} leaves pixels empty; "
                f"use at least {s} taps"
            )
    return tuple(((k - s + 1) // 2, (k - s) // 2) for k, s in zip(taps, strides, strict=True))


def _flipped_in_time(x, kernel, how):
    return winograd.apply(x, jnp.flip(kernel, 0), how)


def _check(form: str) -> str:
    if form not in FORMS:
        raise ValueError(f"convolution form {form!r}: use one of {', '.join(FORMS)}")
    return form


def _settled(strides, padding) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...]]:
    """Hashable strides and padding, as a function with its own derivative needs them."""
    return tuple(strides), tuple((int(low), int(high)) for low, high in padding)


def _dimension_numbers(spatial: int) -> tuple[str, str, str]:
    axes = "DHW"[3 - spatial :]
    return f"N{axes}C", f"{axes}IO", f"N{axes}C"


def _lax_conv(x, kernel, strides, padding):
    numbers = _dimension_numbers(x.ndim - 2)
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=numbers)


def _conv2d(x, kernel, strides, padding):
    as_clip = x[:, None], kernel[None], (1, *strides), ((0, 0), *padding)
    how = winograd_filter(as_clip[0].shape, as_clip[1].shape, *as_clip[2:], dtype=x.dtype)
    plain = functools.partial(_lax_conv, strides=strides, padding=padding)
    if how is not None:

        def quick(x, kernel):
            return winograd.apply(x[:, None], kernel[None], how)[:, 0]

        return by_platform(x, kernel, quick, plain)
    if is_small_map(x.shape, kernel.shape, strides, padding):
        quick = functools.partial(small_maps.conv, strides=strides, padding=padding)
        return by_platform(x, kernel, quick, plain)
    if strides == (1, 1) and is_from_few(kernel.shape, padding):
        quick = functools.partial(narrow.conv_from_few, padding=padding)
        return by_platform(x, kernel, quick, plain)
    return plain(x, kernel)


def _conv3d(x, kernel, strides, padding):
    plain = functools.partial(_conv3d_by_frames, strides=strides, padding=padding)
    how = winograd_filter(x.shape, kernel.shape, strides, padding, dtype=x.dtype)
    if how is not None:
        return by_platform(x, kernel, functools.partial(winograd.apply, how=how), plain)
    fits = all(0 <= n < k for k, pad in zip(kernel.shape, padding, strict=False) for n in pad)
    if _few(kernel.shape, strides) and strides == (1, 1, 1) and fits:
        return by_platform(x, kernel, functools.partial(narrow.conv, padding=padding), plain)
    return plain(x, kernel)


def _few(kernel_shape, strides) -> bool:
    """Whether there are so few output channels that taps in time are better joined to them."""
    return kernel_shape[0] > 1 and strides[0] == 1 and kernel_shape[-1] <= 4


def _conv3d_by_frames(x, kernel, strides, padding):
    """3-D convolution as 2-D convolutions, one per tap in time; plain autodiff of it is fast."""
    taps, (batch, _, height, width, _) = kernel.shape[0], x.shape
    if kernel.shape[1:3] == (1, 1) and strides[1:] == (1, 1) and not any(map(any, padding[1:])):
        flat = x.reshape(batch, x.shape[1], height * width, -1)
        y = _lax_conv(flat, kernel[:, 0], (strides[0], 1), (padding[0], (0, 0)))
        return y.reshape(batch, y.shape[1], height, width, -1)
    features = kernel.shape[-1]
    if any(padding[0]):
        x = jnp.pad(x, ((0, 0), padding[0], (0, 0), (0, 0), (0, 0)))
    frames = (x.shape[1] - taps) // strides[0] + 1

    def in_space(frames_in, kernel2d):
        flat = frames_in.reshape(-1, *frames_in.shape[2:])
        y = _lax_conv(flat, kernel2d, strides[1:], padding[1:])
        return y.reshape(batch, frames_in.shape[1], *y.shape[1:])

    def at_tap(array, tap):
        last = tap + (frames - 1) * strides[0] + 1
        return lax.slice_in_dim(array, tap, last, strides[0], axis=1)

    if _few(kernel.shape, strides):
        # It is quicker to look at every frame once for all taps and to add the shifted results.
        together = jnp.moveaxis(kernel, 0, 3).reshape(*kernel.shape[1:4], taps * features)
        y = in_space(x, together)
        parts = [at_tap(y[..., i * features : (i + 1) * features], i) for i in range(taps)]
    else:
        parts = [in_space(at_tap(x, i), kernel[i]) for i in range(taps)]
    return functools.reduce(jnp.add, parts)


def _interleaved(x, kernel, strides, padding):
    """Transposed convolution: one convolution gives all pixels of an output cell as channels."""
    taps, (inputs, features) = kernel.shape[:-2], kernel.shape[-2:]
    axes = range(len(taps))
    cells = [-(-k // s) for k, s in zip(taps, strides, strict=True)]
    fill = [(0, n * s - k) for n, s, k in zip(cells, strides, taps, strict=True)]
    kernel = jnp.pad(kernel, [*fill, (0, 0), (0, 0)])
    split = [size for n, s in zip(cells, strides, strict=True) for size in (n, s)]
    kernel = kernel.reshape(*split, inputs, features)
    order = [*(2 * i for i in axes), 2 * len(taps), *(2 * i + 1 for i in axes), 2 * len(taps) + 1]
    kernel = kernel.transpose(order).reshape(*cells, inputs, math.prod(strides) * features)
    kernel = jnp.flip(kernel, tuple(axes))

    one = (1,) * len(taps)
    y = conv(x, kernel, strides=one, padding=[(n - 1, n - 1) for n in cells])
    space = y.shape[1:-1]
    y = y.reshape(x.shape[0], *space, *strides, features)
    order = [0, *(axis for i in axes for axis in (1 + i, 1 + len(taps) + i)), 2 * len(taps) + 1]
    full = [n * s for n, s in zip(space, strides, strict=True)]
    y = y.transpose(order).reshape(x.shape[0], *full, features)
    starts = [p[0] for p in padding]
    ends = [
        (n - 1) * s + k - p[1]
        for n, s, k, p in zip(x.shape[1:-1], strides, taps, padding, strict=True)
    ]
    return lax.slice(y, [0, *starts, 0], [x.shape[0], *ends, features])


# The derivative of the interleaved form is slow on CPU, so it is given: the transpose of a
# transposed convolution is the strided convolution.
@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _conv_transpose(x, kernel, strides, padding):
    return _interleaved(x, kernel, strides, padding)


def _conv_transpose_forward(x, kernel, strides, padding):
    return _interleaved(x, kernel, strides, padding), (x, kernel)


def _conv_transpose_backward(strides, padding, saved, cotangent):
    x, kernel = saved
    across = kernel.swapaxes(-1, -2)
    dx, pull = jax.vjp(lambda taps: conv(cotangent, taps, strides=strides, padding=padding), across)
    (dkernel,) = pull(x)
    return dx, dkernel.swapaxes(-1, -2)


_conv_transpose.defvjp(_conv_transpose_forward, _conv_transpose_backward)
