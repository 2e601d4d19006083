# SPDX-License-Identifier: Apache-2.0
"""Convolutions of maps that are constant along axes, against repeating them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lipjax.errors import ConfigError
from lipjax.nn.broadcasting import conv_of_broadcasts
from lipjax.nn.layers import Conv

# Quick to compile matters more here than quick to run.
fast_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def _case(shape, taps, features=3):
    """A map whole, one constant in time, one along the width, one everywhere; and a kernel."""
    t, h, w = shape
    sizes = [(t, h, w, 2), (1, h, w, 3), (t, h, 1, 2), (t, 1, 1, 4)]
    keys = jax.random.split(jax.random.key(sum(shape)), len(sizes) + 1)
    parts = [jax.random.normal(key, (2, *size)) for key, size in zip(keys, sizes, strict=False)]
    return parts, jax.random.normal(keys[-1], (*taps, 11, features))


@pytest.mark.parametrize(
    ("shape", "taps"),
    [
        ((5, 6, 4), (3, 3, 3)),
        ((2, 3, 2), (5, 3, 5)),
        ((1, 4, 3), (3, 1, 3)),
        ((4, 1, 2), (1, 5, 3)),
    ],
)
def test_equals_the_convolution_of_repeated_maps_in_value_and_gradient(shape, taps):
    parts, kernel = _case(shape, taps)
    weights = jax.random.normal(jax.random.key(9), (2, *shape, 3))

    def run(form):
        def loss(parts, kernel):
            y = conv_of_broadcasts(parts, kernel, form=form)
            return jnp.sum(y * weights), y

        return fast_jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))(parts, kernel)

    ours, plain = run("rewritten"), run("lax")
    assert ours[0][1].shape == (2, *shape, 3)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_by_hand():
    # One number over 1 x 2 x 3 places under a kernel of ones counts the taps inside the map.
    kernel = jnp.ones((3, 3, 3, 2, 1))
    video = jnp.zeros((1, 1, 2, 3, 1))
    y = conv_of_broadcasts([video, jnp.full((1, 1, 1, 1, 1), 2.0)], kernel)
    np.testing.assert_allclose(y[0, 0, :, :, 0], [[8, 12, 8], [8, 12, 8]])


def test_a_layer_takes_several_inputs_with_the_parameters_of_one():
    parts, _ = _case((3, 4, 4), (3, 3, 3))
    layer = Conv(5, (3, 3, 3))
    variables = layer.init(jax.random.key(0), parts)
    joined = [jnp.broadcast_to(x, (2, 3, 4, 4, x.shape[-1])) for x in parts]
    joined = jnp.concatenate(joined, axis=-1)
    alone = layer.init(jax.random.key(0), joined)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, alone)
    np.testing.assert_allclose(
        layer.apply(variables, parts), layer.apply(variables, joined), atol=1e-5
    )


def test_what_does_not_fit_is_refused():
    kernel = jnp.ones((3, 3, 3, 2, 1))
    with pytest.raises(ConfigError, match="do not broadcast"):
        conv_of_broadcasts([jnp.ones((1, 2, 3, 3, 1)), jnp.ones((1, 3, 3, 3, 1))], kernel)
    with pytest.raises(ConfigError, match="stride 1"):
        layer = Conv(1, (3, 3, 3), strides=(1, 2, 2))
        layer.init(jax.random.key(0), [jnp.ones((1, 2, 4, 4, 1)), jnp.ones((1, 1, 4, 4, 1))])
