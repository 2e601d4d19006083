# SPDX-License-Identifier: Apache-2.0
"""The encoder of speech over time: shapes, a layer by hand, and how far it hears."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lipjax.models.encoders import SpeechEncoder


@pytest.mark.parametrize(("strides", "blocks"), [((2, 2), 2), ((2, 3), 1), ((4,), 0), ((1,), 1)])
def test_reach_is_what_a_frame_hears(strides, blocks):
    module = SpeechEncoder(features=6, strides=strides, blocks=blocks)
    columns, frames = int(np.prod(strides)), 24
    sound = jax.random.normal(jax.random.key(0), (1, frames * columns, 8))
    vectors, variables = module.init_with_output(jax.random.key(1), sound)
    assert vectors.shape == (1, frames, 6)
    middle = 12
    touched = sound.at[:, middle * columns : (middle + 1) * columns].add(1.0)
    change = np.abs(module.apply(variables, touched) - vectors).max(axis=(0, 2))
    heard = np.flatnonzero(change) - middle
    assert max(-heard.min(), heard.max()) == module.reach


def test_one_layer_by_hand():
    module = SpeechEncoder(features=3, strides=(4,), blocks=0)
    sound = jax.random.normal(jax.random.key(0), (2, 8, 5))
    vectors, variables = module.init_with_output(jax.random.key(1), sound)
    layer = variables["params"]["layer_1"]
    padded = np.pad(np.asarray(sound), ((0, 0), (2, 2), (0, 0)))
    for frame in range(2):
        seen = padded[:, 4 * frame : 4 * frame + 5]
        value = np.einsum("bkf,kfd->bd", seen, layer["kernel"]) + layer["bias"]
        np.testing.assert_allclose(vectors[:, frame], jax.nn.gelu(jnp.asarray(value)), atol=1e-5)


def test_a_block_adds_to_what_went_in():
    plain = SpeechEncoder(features=4, strides=(4,), blocks=0)
    module = SpeechEncoder(features=4, strides=(4,), blocks=1)
    sound = jax.random.normal(jax.random.key(0), (1, 40, 5))
    params = module.init(jax.random.key(1), sound)["params"]
    params["block_1_mix"] = jax.tree.map(jnp.zeros_like, params["block_1_mix"])
    alone = {"layer_1": params["layer_1"]}
    np.testing.assert_allclose(
        module.apply({"params": params}, sound), plain.apply({"params": alone}, sound), atol=1e-6
    )
