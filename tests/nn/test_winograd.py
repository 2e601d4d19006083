# SPDX-License-Identifier: Apache-2.0
"""The forms for CPU with fewer or other products, against plain lax in twice the precision."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from lipjax.nn import choosing, convolution, narrow, winograd

ONE, DOUBLE = (1, 1, 1), (1, 2, 2)
SAME = ((1, 1), (1, 1), (1, 1))
CASES = [  # shape, taps in time, factor, padding of conv or conv_transpose; odd sizes
    ((2, 3, 9, 8), 1, 1, ((0, 0), (1, 1), (1, 1))),
    ((2, 4, 6, 11), 3, 1, ((1, 1), (0, 0), (1, 1))),
    ((1, 3, 7, 5), 3, 1, ((2, 0), (2, 0), (0, 2))),
    ((2, 3, 9, 8), 3, 2, ((1, 1), (1, 0), (1, 0))),
    ((1, 4, 3, 5), 3, 2, ((2, 0), (1, 0), (1, 0))),
]


def _value_and_gradients(function, *arguments):
    y, pull = jax.vjp(function, *arguments)
    weight = jax.random.normal(jax.random.key(1), y.shape)
    return y, *pull(weight.astype(y.dtype))


def _error(found, expected) -> float:
    found = np.asarray(found, np.float64)
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def _problem(shape, taps, inputs, features):
    x = jax.random.normal(jax.random.key(0), (*shape, inputs))
    return x, jax.random.normal(jax.random.key(2), (*taps, inputs, features))


def _plain(x, kernel, factor, padding):
    function = convolution.conv if factor == 1 else convolution.conv_transpose
    strides = ONE if factor == 1 else DOUBLE
    return function(x, kernel, strides=strides, padding=padding, form="lax")


def _ours(x, kernel, factor, padding):
    strides = ONE if factor == 1 else DOUBLE
    # As if there were enough channels and tiles.
    (before, after), *space = padding
    if factor == 2:
        assert strides == DOUBLE
        kernel = jnp.flip(kernel, 0)
        before, after = (kernel.shape[0] - 1 - n for n in (before, after))
    return winograd.apply(x, kernel, winograd.Filter(factor, ((before, after), *space)))


@pytest.mark.parametrize(("shape", "taps", "factor", "padding"), CASES)
def test_few_products_equal_lax_in_double_precision(shape, taps, factor, padding):
    x, kernel = _problem(shape, (taps, 3, 3), 7, 5)
    found = _value_and_gradients(lambda *a: _ours(*a, factor, padding), x, kernel)
    with jax.enable_x64(True):
        wide = (np.asarray(x, np.float64), np.asarray(kernel, np.float64))
        y, pull = jax.vjp(lambda *a: _plain(*a, factor, padding), *map(jnp.asarray, wide))
        weight = np.asarray(jax.random.normal(jax.random.key(1), y.shape, jnp.float32), np.float64)
        expected = [np.asarray(part) for part in (y, *pull(jnp.asarray(weight)))]
    for ours, plain in zip(found, expected, strict=True):
        assert ours.shape == plain.shape
        assert _error(ours, plain) < 3e-6


@pytest.mark.parametrize(("factor", "padding"), [(1, SAME), (2, ((1, 1), (1, 0), (1, 0)))])
def test_rounding_of_a_wide_layer_stays_small(factor, padding):
    x, kernel = _problem((1, 1, 8, 8), (1, 3, 3), 256, 16)
    padding = ((0, 0), *padding[1:])
    found = _ours(x, kernel, factor, padding)
    with jax.enable_x64(True):
        wide = jnp.asarray(np.asarray(x, np.float64)), jnp.asarray(np.asarray(kernel, np.float64))
        expected = np.asarray(_plain(*wide, factor, padding))
    assert _error(found, expected) < 3e-6


@pytest.mark.parametrize("factor", [1, 2])
def test_second_derivatives_are_right(factor):
    x, kernel = _problem((1, 2, 3, 3), (3, 3, 3), 2, 2)

    def run(x, kernel):
        how = winograd.Filter(factor, SAME)
        y = winograd.apply(jnp.asarray(x), jnp.asarray(kernel), how)
        return jnp.sum(jnp.square(y)) * 1e-3

    check_grads(jax.jit(run), (x, kernel), order=2, modes=["rev"], rtol=3e-2, atol=3e-2)


def test_mapped_over_an_axis_it_is_the_same():
    x, kernel = _problem((2, 2, 4, 4), (1, 3, 3), 3, 4)
    how = winograd.Filter(1, ((0, 0), (1, 1), (1, 1)))
    run = functools.partial(winograd.apply, kernel=kernel, how=how)
    mapped = jax.vmap(lambda clip: winograd.apply(clip[None], kernel, how)[0])(x)
    np.testing.assert_allclose(mapped, run(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "taps", "padding"),
    [
        ((2, 4, 9, 8), (3, 5, 7), ((1, 1), (2, 2), (3, 3))),
        ((1, 4, 6, 7), (3, 3, 3), ((2, 0), (0, 1), (2, 1))),
        ((1, 5, 6, 7), (7, 1, 3), ((3, 3), (0, 0), (0, 0))),
    ],
)
def test_few_output_channels_equal_lax(shape, taps, padding):
    x, kernel = _problem(shape, taps, 6, 3)
    found = _value_and_gradients(lambda *a: narrow.conv(*a, padding), x, kernel)
    plain = _value_and_gradients(lambda *a: _plain(*a, 1, padding), x, kernel)
    for ours, expected in zip(found, plain, strict=True):
        assert _error(ours, np.asarray(expected)) < 2e-6


def test_few_output_channels_have_right_second_derivatives():
    x, kernel = _problem((1, 3, 3, 3), (3, 3, 3), 2, 2)

    def run(x, kernel):
        y = narrow.conv(jnp.asarray(x), jnp.asarray(kernel), SAME)
        return jnp.sum(jnp.square(y)) * 1e-3

    check_grads(jax.jit(run), (x, kernel), order=2, modes=["rev"], rtol=3e-2, atol=3e-2)


@pytest.mark.parametrize(
    ("taps", "padding"),
    [((5, 7), ((2, 2), (3, 3))), ((5, 5), ((0, 0), (0, 0))), ((7, 4), ((6, 1), (0, 2)))],
)
def test_few_input_channels_equal_lax(taps, padding):
    x, kernel = _problem((2, 1, 9, 8), (1, *taps), 3, 6)
    sides = ((0, 0), *padding)
    assert choosing.is_from_few(kernel.shape[1:], padding)
    found = _value_and_gradients(
        lambda x, kernel: narrow.conv_from_few(x[:, 0], kernel[0], padding)[:, None], x, kernel
    )
    plain = _value_and_gradients(lambda *a: _plain(*a, 1, sides), x, kernel)
    for ours, expected in zip(found, plain, strict=True):
        assert _error(ours, np.asarray(expected)) < 2e-6


def test_few_input_channels_are_chosen_for_the_first_look_at_a_picture():
    valid = ((0, 0), (0, 0))
    assert choosing.is_from_few((7, 7, 3, 64), valid)
    assert not choosing.is_from_few((3, 3, 3, 64), valid)
    assert not choosing.is_from_few((7, 7, 6, 64), valid)
    assert not choosing.is_from_few((7, 7, 3, 64), ((7, 0), (0, 0)))
    shapes = (
        jax.ShapeDtypeStruct((1, 12, 12, 3), np.float32),
        jax.ShapeDtypeStruct((7, 7, 3, 8), np.float32),
    )
    lowered = jax.jit(
        jax.grad(lambda x, k: convolution.conv(x, k, strides=(1, 1), padding=valid).sum())
    ).lower(*shapes)
    assert "x21xf32" in lowered.as_text()  # 7 taps times 3 colours


def _chosen(shape, kernel_shape, strides=ONE, padding=SAME, **options):
    return choosing.winograd_filter(shape, kernel_shape, strides, padding, **options)


def test_the_form_is_chosen_by_shape_and_type():
    shape, kernel = (1, 16, 16, 16, 256), (3, 3, 3, 256, 128)
    assert _chosen(shape, kernel) == winograd.Filter(1, SAME)
    doubled = _chosen(shape, kernel, DOUBLE, ((1, 1), (1, 0), (1, 0)), transpose=True)
    assert doubled is not None
    assert doubled.factor == 2
    assert _chosen(shape, kernel, dtype=jnp.bfloat16) is None
    assert _chosen(shape, kernel, DOUBLE) is None
    assert _chosen(shape, (3, 3, 3, 256, 32)) is None
    assert _chosen(shape, (3, 5, 5, 256, 128), padding=((1, 1), (2, 2), (2, 2))) is None
    assert _chosen((1, 1, 4, 4, 256), kernel) is None  # one tile
    assert _chosen((16, 16, 1, 1, 256), kernel) is None  # fifteen pixels of sixteen for nothing


LAYERS = {  # taps, strides, padding, transpose, channels
    "residual": ((1, 3, 3), ONE, ((0, 0), (1, 1), (1, 1)), False, 64),
    "transposed": ((3, 3, 3), DOUBLE, ((1, 1), (1, 0), (1, 0)), True, 64),
    "colours": ((3, 3, 3), ONE, SAME, False, 3),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_computed_as_suits_the_platform_it_is_compiled_for(name):
    taps, strides, padding, transpose, features = LAYERS[name]
    x, kernel = _problem((1, 4, 8, 8), taps, 64, features)
    convolve = convolution.conv_transpose if transpose else convolution.conv
    run = functools.partial(convolve, strides=strides, padding=padding)

    def loss(x, kernel):
        return jnp.sum(jnp.square(run(x, kernel)))

    traced = jax.jit(jax.value_and_grad(loss, (0, 1))).trace(x, kernel)
    for platform, quick in (("cpu", True), ("tpu", False), ("cuda", False)):
        program = traced.lower(lowering_platforms=(platform,)).as_text()
        assert ("stablehlo.dot_general" in program) == quick
        # Of colours, the convolution along the width is left.
        assert ("stablehlo.convolution" in program) == (not quick or name == "colours")
    plain = jax.value_and_grad(
        lambda *a: jnp.sum(jnp.square(convolve(*a, strides=strides, padding=padding, form="lax"))),
        (0, 1),
    )
    found, expected = jax.jit(jax.value_and_grad(loss, (0, 1)))(x, kernel), plain(x, kernel)
    for ours, theirs in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4 * np.abs(theirs).max())
