# SPDX-License-Identifier: Apache-2.0
"""Convolutions of small maps as matrix products, against plain lax."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lipjax.nn import choosing, convolution, small_maps

CASES = [  # height, width, taps, strides, padding
    ((1, 1), (3, 3), (1, 1), ((1, 1), (1, 1))),
    ((2, 3), (3, 3), (1, 1), ((1, 1), (1, 1))),
    ((4, 4), (3, 3), (2, 2), ((1, 1), (1, 1))),
    ((5, 4), (5, 3), (2, 1), ((2, 2), (0, 1))),
    ((3, 2), (2, 2), (1, 1), ((1, 1), (1, 1))),
    ((4, 4), (4, 4), (2, 2), ((1, 1), (1, 1))),
    ((2, 2), (1, 1), (1, 1), ((2, 0), (0, 2))),  # outputs that nothing reaches
]


@pytest.mark.parametrize(("size", "taps", "strides", "padding"), CASES)
def test_values_and_gradients_equal_lax(size, taps, strides, padding):
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (3, *size, 5))
    kernel = jax.random.normal(keys[1], (*taps, 5, 7))

    def run(function):
        y, pull = jax.vjp(function, x, kernel)
        return y, *pull(jax.random.normal(keys[2], y.shape))

    options = {"strides": strides, "padding": padding}
    found = run(lambda *a: small_maps.conv(*a, **options))
    expected = run(lambda *a: convolution.conv(*a, **options, form="lax"))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_taps_that_never_fall_inside_cost_nothing():
    x, kernel = jnp.zeros((2, 1, 1, 8)), jnp.zeros((3, 3, 8, 8))
    run = functools.partial(small_maps.conv, strides=(1, 1), padding=((1, 1), (1, 1)))
    assert str(jax.make_jaxpr(run)(x, kernel)).count("dot_general") == 1


def test_it_is_for_small_maps_of_wide_layers_on_cpu():
    same = ((1, 1), (1, 1))
    chosen = functools.partial(choosing.is_small_map, strides=(1, 1), padding=same)
    assert chosen((60, 4, 4, 64), (3, 3, 64, 64)) and chosen((60, 1, 1, 512), (3, 3, 512, 2))
    assert not chosen((60, 5, 4, 64), (3, 3, 64, 64)) and not chosen((9, 2, 2, 32), (3, 3, 32, 32))
    run = functools.partial(convolution.conv, strides=(1, 1), padding=same)
    traced = jax.jit(run).trace(jnp.zeros((2, 2, 2, 64)), jnp.zeros((3, 3, 64, 64)))
    programs = [traced.lower(lowering_platforms=(p,)).as_text() for p in ("cpu", "tpu")]
    assert ["stablehlo.convolution" in program for program in programs] == [False, True]


def test_the_gradient_in_the_kernel_is_not_a_sum_of_padded_kernels():
    """Sixteen of them, in each of an optimiser's fusions, cost a third of a training step."""
    x, kernel = jnp.zeros((2, 2, 2, 8)), jnp.zeros((4, 4, 8, 6))

    def total(kernel):
        return small_maps.conv(x, kernel, (2, 2), ((1, 1), (1, 1))).sum()

    made = jax.make_jaxpr(jax.grad(total))(kernel).jaxpr
    whole = [str(e.primitive) for e in made.eqns if e.outvars[0].aval.size == kernel.size]
    assert "concatenate" in whole
    assert not {"add_any", "pad", "scatter-add"} & set(whole), whole
