# SPDX-License-Identifier: Apache-2.0
"""The fast forms of convolutions against plain lax and against sums written out in NumPy."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from lipjax.nn import convolution

CONVOLUTIONS = [  # taps, strides, padding
    ((3, 3, 3), (1, 1, 1), ((1, 1), (1, 1), (1, 1))),
    ((4, 4, 4), (2, 2, 2), ((1, 1), (1, 1), (1, 1))),
    ((4, 3, 2), (1, 2, 2), ((2, 0), (1, 0), (0, 1))),
    ((1, 3, 3), (1, 1, 1), ((0, 0), (1, 1), (1, 1))),
    ((3, 1, 1), (2, 1, 1), ((1, 1), (0, 0), (0, 0))),
    ((1, 4, 4), (1, 1, 1), ((0, 0), (0, 0), (0, 0))),
    ((3, 3), (2, 1), ((1, 1), (1, 1))),
]
TRANSPOSED = [
    ((3, 3, 3), (1, 2, 2), ((1, 1), (1, 0), (1, 0))),
    ((4, 4, 4), (2, 2, 2), ((1, 1), (1, 1), (1, 1))),
    ((3, 5, 4), (1, 3, 2), ((1, 1), (1, 1), (1, 1))),
    ((1, 3, 3), (1, 3, 3), ((0, 0), (0, 0), (0, 0))),
    ((3, 3, 3), (1, 1, 1), ((1, 1), (1, 1), (1, 1))),
    ((4, 3), (2, 2), ((1, 1), (1, 0))),
]


def _problem(taps, features=5, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, 6, 5, 4)[: 1 + len(taps)] + (3,)).astype(np.float32)
    kernel = rng.normal(size=(*taps, 3, features)).astype(np.float32)
    return jnp.asarray(x), jnp.asarray(kernel)


def _value_and_gradients(function, x, kernel, strides, padding, form):
    # Quick to compile matters more here than quick to run.
    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def run(x, kernel):
        y, pull = jax.vjp(
            lambda x, kernel: function(x, kernel, strides=strides, padding=padding, form=form),
            x,
            kernel,
        )
        return y, *pull(jax.random.normal(jax.random.key(1), y.shape))

    return run(x, kernel)


# Few output channels take another way.
@pytest.mark.parametrize(
    ("taps", "strides", "padding", "features"),
    [*((*case, 5) for case in CONVOLUTIONS[:6]), (*CONVOLUTIONS[0], 2)],
)
def test_rewritten_convolution_equals_lax(taps, strides, padding, features):
    x, kernel = _problem(taps, features)
    arguments = (convolution.conv, x, kernel, strides, padding)
    for ours, plain in zip(
        _value_and_gradients(*arguments, "rewritten"),
        _value_and_gradients(*arguments, "lax"),
        strict=True,
    ):
        np.testing.assert_allclose(ours, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("taps", "strides", "padding"), TRANSPOSED)
def test_rewritten_transposed_convolution_equals_lax(taps, strides, padding):
    x, kernel = _problem(taps)
    arguments = (convolution.conv_transpose, x, kernel, strides, padding)
    for ours, plain in zip(
        _value_and_gradients(*arguments, "rewritten"),
        _value_and_gradients(*arguments, "lax"),
        strict=True,
    ):
        np.testing.assert_allclose(ours, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("taps", "strides", "padding"), [CONVOLUTIONS[0], CONVOLUTIONS[2], CONVOLUTIONS[6]]
)
def test_convolution_equals_its_definition(taps, strides, padding):
    x, kernel = _problem(taps)
    padded = np.pad(x, [(0, 0), *padding, (0, 0)]).astype(np.float64)
    out = [(n - k) // s + 1 for n, k, s in zip(padded.shape[1:-1], taps, strides, strict=True)]
    expected = np.zeros((x.shape[0], *out, kernel.shape[-1]))
    for place in itertools.product(*map(range, out)):
        corner = [i * s for i, s in zip(place, strides, strict=True)]
        window = tuple(slice(c, c + k) for c, k in zip(corner, taps, strict=True))
        axes = list(range(1, len(taps) + 2))
        expected[(slice(None), *place)] = np.tensordot(
            padded[(slice(None), *window)], np.asarray(kernel), (axes, list(range(len(taps) + 1)))
        )
    ours = convolution.conv(x, kernel, strides=strides, padding=padding)
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("taps", "strides", "padding"), [TRANSPOSED[0], TRANSPOSED[2]])
def test_transposed_convolution_equals_its_definition(taps, strides, padding):
    # PyTorch's convention: every input sample adds its kernel, then the borders are cut.
    x, kernel = _problem(taps)
    full = [(n - 1) * s + k for n, s, k in zip(x.shape[1:-1], strides, taps, strict=True)]
    expected = np.zeros((x.shape[0], *full, kernel.shape[-1]))
    for place in itertools.product(*map(range, x.shape[1:-1])):
        corner = [i * s for i, s in zip(place, strides, strict=True)]
        window = tuple(slice(c, c + k) for c, k in zip(corner, taps, strict=True))
        values = np.asarray(x, np.float64)[(slice(None), *place)]
        expected[(slice(None), *window)] += np.einsum("bi,...io->b...o", values, kernel)
    cut = tuple(slice(p[0], n - p[1]) for p, n in zip(padding, full, strict=True))
    ours = convolution.conv_transpose(x, kernel, strides=strides, padding=padding)
    np.testing.assert_allclose(ours, expected[(slice(None), *cut)], rtol=1e-4, atol=1e-4)


def test_transposed_convolution_has_right_second_derivatives():
    x, kernel = _problem((3, 3, 3))

    def run(x, kernel):
        padding = convolution.enlarging_padding((3, 3, 3), (1, 2, 2))
        y = convolution.conv_transpose(
            jnp.asarray(x), jnp.asarray(kernel), strides=(1, 2, 2), padding=padding
        )
        return jnp.sum(jnp.square(y)) * 1e-3

    check_grads(run, (x[:1, :2, :2, :2], kernel), order=2, modes=["rev"], rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize(("taps", "stride"), [(3, 1), (3, 2), (3, 3), (4, 2), (5, 2), (5, 4)])
def test_enlarging_padding_multiplies_the_length(taps, stride):
    ((before, after),) = convolution.enlarging_padding((taps,), (stride,))
    assert (7 - 1) * stride + taps - before - after == 7 * stride
    assert 0 <= before - after <= 1


def test_enlarging_padding_refuses_empty_pixels():
    with pytest.raises(ValueError, match="at least 4 taps"):
        convolution.enlarging_padding((3,), (4,))


def test_unknown_form_is_refused():
    x, kernel = _problem((3, 3))
    with pytest.raises(ValueError, match="'fast'.*rewritten"):
        convolution.conv(x, kernel, strides=(1, 1), padding=((0, 0), (0, 0)), form="fast")
