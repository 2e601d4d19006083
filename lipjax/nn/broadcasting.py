# SPDX-License-Identifier: Apache-2.0
"""A 3-D convolution of maps that are constant along some of their axes, without the repetition.

A picture laid over all frames, or one vector over all places, is the same input again and again.
The convolution of such a map needs each distinct input once: the taps along the constant axes
become output channels of a smaller convolution, and what is left is to add up the taps that
fall inside the map, which is all of them but at its borders.
"""

import functools
import operator
from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from lipjax.errors import ConfigError
from lipjax.nn.convolution import conv, same_padding


def conv_of_broadcasts(
    parts: Sequence[Float[Array, "B _t _h _w _c"]],
    kernel: Float[Array, "kt kh kw I O"],
    *,
    form: str = "rewritten",
) -> Float[Array, "B T H W O"]:
    """Returns the convolution of parts that are broadcast to one shape and joined as channels.

    Args:
        parts: maps whose axes t, h, w have the full length, or 1 where they are constant.
        kernel: odd numbers of taps, the parts' channels in their order, output channels.
        form: see `lipjax.nn.convolution`; "lax" repeats the parts and convolves them all.

    Raises:
        ConfigError: the parts do not fit each other.
    """
    taps = kernel.shape[:3]
    try:
        shape = jnp.broadcast_shapes(*(x.shape[:4] for x in parts))[1:]
    except ValueError:
        raise ConfigError(f"maps of {[x.shape for x in parts]} do not broadcast") from None
    if form == "lax":
        whole = [jnp.broadcast_to(x, (x.shape[0], *shape, x.shape[-1])) for x in parts]
        joined = jnp.concatenate(whole, axis=-1)
        return conv(joined, kernel, strides=(1, 1, 1), padding=same_padding(taps), form=form)
    outputs, first = [], 0
    for x in parts:
        own = kernel[..., first : first + x.shape[-1], :]
        first += x.shape[-1]
        outputs.append(_conv_of_broadcast(x, own, shape, form))
    return functools.reduce(operator.add, outputs)


def _conv_of_broadcast(x, kernel, shape, form):
    taps, (inputs, features) = kernel.shape[:3], kernel.shape[3:]
    constant = [axis for axis in range(3) if x.shape[1 + axis] == 1 and shape[axis] > 1]
    kept = [1 if axis in constant else k for axis, k in enumerate(taps)]
    # The taps along constant axes move behind the others and become channels.
    split = [n for axis, k in enumerate(taps) for n in ((1, k) if axis in constant else (k, 1))]
    kernel = kernel.reshape(*split, inputs, features).transpose(0, 2, 4, 6, 1, 3, 5, 7)
    kernel = kernel.reshape(*kept, inputs, -1)
    padding = same_padding(kept)
    y = conv(x, kernel, strides=(1, 1, 1), padding=padding, form=form)
    y = y.reshape(*y.shape[:4], *(taps[axis] for axis in constant), features)
    for axis in reversed(constant):
        y = _along(y, 1 + axis, shape[axis])
    return y


def _along(y, axis: int, length: int):
    """Adds the last axis but one, of taps, up to the values along a constant axis."""
    taps = y.shape[-2]
    half = taps // 2

    def value(place: int):
        inside = [k for k in range(taps) if 0 <= place + k - half < length]
        return jnp.sum(y[..., inside[0] : inside[-1] + 1, :], axis=-2)

    low = min(half, length)
    high = max(low, length - half)
    pieces = [value(place) for place in range(low)]
    if high > low:
        middle = value(low)
        wide = [*middle.shape[:axis], high - low, *middle.shape[axis + 1 :]]
        pieces.append(jnp.broadcast_to(middle, wide))
    pieces += [value(place) for place in range(high, length)]
    return jnp.concatenate(pieces, axis=axis)
