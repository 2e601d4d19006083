# SPDX-License-Identifier: Apache-2.0
"""Layers: the transposed convolution cuts what it is told to cut."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lipjax.nn.blocks import ConvBlock
from lipjax.nn.layers import ConvTranspose


@pytest.mark.parametrize("form", ["rewritten", "lax"])
@pytest.mark.parametrize(
    ("taps", "strides", "padding"),
    [
        ((7, 6), (2, 2), ((1, 1), (1, 1))),
        ((4, 4), (2, 2), ((1, 1), (0, 2))),
        ((5, 4), (1, 1), None),
    ],
)
def test_transposed_convolution_with_its_own_cut(form, taps, strides, padding):
    layer = ConvTranspose(2, taps, strides, padding, use_bias=False, form=form)
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(1, 3, 2, 2)), jnp.float32)
    kernel = rng.normal(size=(*taps, 2, 2)).astype(np.float32)
    found = layer.apply({"params": {"kernel": jnp.asarray(kernel)}}, x)
    full = np.zeros((2 * strides[0] + taps[0], strides[1] + taps[1], 2))
    for i in range(3):
        for j in range(2):
            top, left = i * strides[0], j * strides[1]
            stamp = np.einsum("c,hwcd->hwd", x[0, i, j], kernel)
            full[top : top + taps[0], left : left + taps[1]] += stamp
    cut = padding or ((2, 2), (2, 1))  # without one the size stays, here at stride 1
    (top, bottom), (left, right) = cut
    expected = full[top : full.shape[0] - bottom, left : full.shape[1] - right]
    assert padding or found.shape[1:3] == (3, 2)
    np.testing.assert_allclose(found[0], expected, atol=1e-5)


def test_a_block_hands_the_cut_on():
    block = ConvBlock(1, (7, 7), (2, 2), ((1, 1), (1, 1)), transpose=True, leading=1)
    key = jax.random.key(0)
    y, _ = block.init_with_output(key, jnp.ones((1, 1, 1, 3)), train=False)
    assert y.shape == (1, 5, 5, 1)
