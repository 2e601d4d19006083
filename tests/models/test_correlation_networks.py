# SPDX-License-Identifier: Apache-2.0
"""The encoders of the correlation loss: sizes, differences in time, what is left of space."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lipjax.models.correlation import (
    AudioDerivativeEncoder,
    FlowEncoder,
    SpeechDerivativeEncoder,
    derivative,
)
from lipjax.models.encoders import SpeechEncoder

SIX = (4, 8, 16, 16, 16, 16)


def random(*shape: int, seed: int = 0):
    return jax.random.normal(jax.random.key(seed), shape)


@pytest.mark.parametrize(
    ("module", "shape", "size", "steps"),
    [
        (AudioDerivativeEncoder(), (2, 16, 16, 256), 392_400, 15),
        (AudioDerivativeEncoder(derivative=False), (2, 16, 16, 256), 392_400, 16),
        (AudioDerivativeEncoder(), (2, 16, 24, 256), 392_400, 15),
        (FlowEncoder(), (2, 15, 16, 16, 2), 11_580, 15),
        (FlowEncoder(), (2, 15, 24, 24, 2), 11_580, 15),
        (FlowEncoder(widths=SIX), (2, 15, 64, 64, 2), 25_500, 15),
        (FlowEncoder(widths=SIX), (2, 16, 64, 64, 3), 25_608, 16),
        (SpeechDerivativeEncoder(), (2, 64, 128), None, 15),
        (SpeechDerivativeEncoder(derivative=False, strides=(2, 1)), (2, 32, 80), None, 16),
    ],
)
def test_sizes_and_shapes(module, shape, size, steps):
    vectors, variables = jax.eval_shape(
        lambda: module.init_with_output(jax.random.key(0), jnp.zeros(shape))
    )
    assert vectors.shape == (2, steps, 16) and vectors.dtype == jnp.float32
    if size:
        assert sum(x.size for x in jax.tree.leaves(variables["params"])) == size


def test_the_derivative_is_each_frame_less_the_next():
    feature = jnp.array([[[1.0, 5.0], [4.0, 4.0], [2.0, 9.0]]])
    np.testing.assert_array_equal(derivative(feature), [[[-3.0, 1.0], [2.0, -5.0]]])


@pytest.mark.parametrize("last_activation", [True, False])
def test_one_audio_layer_by_hand(last_activation):
    module = AudioDerivativeEncoder(widths=(3,), norm="none", last_activation=last_activation)
    audio = random(1, 5, 6, 4)
    vectors, variables = module.init_with_output(jax.random.key(1), audio)
    layer = variables["params"]["layer_1"]
    change = np.asarray(audio[0, :-1] - audio[0, 1:])
    padded = np.pad(change, ((1, 1), (1, 1), (0, 0)))
    expected = np.zeros((4, 3, 3))
    for step, place in np.ndindex(4, 3):
        seen = padded[step : step + 3, 2 * place : 2 * place + 3]
        expected[step, place] = np.einsum("tfi,tfio->o", seen, layer["kernel"]) + layer["bias"]
    if last_activation:
        expected = np.maximum(expected, 0)
    np.testing.assert_allclose(vectors[0], expected.mean(axis=1), atol=1e-5)


def test_one_flow_layer_by_hand():
    module = FlowEncoder(widths=(2,), norm="none")
    flow = random(1, 3, 4, 6, 2)
    vectors, variables = module.init_with_output(jax.random.key(1), flow)
    layer = variables["params"]["layer_1"]
    padded = np.pad(flow[0], ((1, 1), (1, 1), (1, 1), (0, 0)))
    expected = np.zeros((3, 2, 3, 2))
    for t, y, x in np.ndindex(3, 2, 3):
        seen = padded[t : t + 3, 2 * y : 2 * y + 3, 2 * x : 2 * x + 3]
        expected[t, y, x] = np.einsum("thwi,thwio->o", seen, layer["kernel"]) + layer["bias"]
    np.testing.assert_allclose(vectors[0], np.maximum(expected, 0).mean((1, 2)), atol=1e-5)


@pytest.mark.parametrize("norm", ["batch", "frame", "none"])
def test_a_sound_that_does_not_change_says_the_same_at_all_times(norm):
    module = AudioDerivativeEncoder(widths=(6, 4), norm=norm, last_activation=norm != "none")
    still = jnp.broadcast_to(random(2, 1, 4, 5), (2, 9, 4, 5))
    vectors, variables = module.init_with_output(jax.random.key(1), still)
    # Beyond the ends there are zeros, whose neighbours the taps in time see.
    np.testing.assert_allclose(vectors[:, 2:-2], vectors[:, 2:3].repeat(4, 1), atol=1e-6)
    # All stills are one: nothing changes in any of them.
    np.testing.assert_allclose(vectors, module.apply(variables, 3 * still), atol=1e-6)
    assert np.abs(vectors - module.apply(variables, random(2, 9, 4, 5))).max() > 1e-3


def test_own_ears_hear_change_alone():
    module = SpeechDerivativeEncoder(features=8, blocks=1)
    still = jnp.broadcast_to(random(1, 1, 12), (1, 64, 12))
    vectors, variables = module.init_with_output(jax.random.key(1), still)
    speech = {"params": variables["params"]["speech"]}
    assert set(variables) == {"params"}
    np.testing.assert_allclose(vectors[0, 4:-4], vectors[0, 4:5].repeat(7, 0), atol=1e-5)
    sound = random(1, 64, 12, seed=3)
    heard = SpeechEncoder(features=8, blocks=1).apply(speech, sound)
    linear = variables["params"]["linear"]
    expected = (heard[:, :-1] - heard[:, 1:]) @ linear["kernel"] + linear["bias"]
    np.testing.assert_allclose(module.apply(variables, sound, train=True), expected, atol=1e-5)


@pytest.mark.parametrize("module", [AudioDerivativeEncoder, FlowEncoder])
def test_the_last_layer_may_have_both_signs(module):
    x = random(3, 8, 8, 4) if module is AudioDerivativeEncoder else random(3, 8, 8, 8, 2)
    for last, sign in ((True, False), (False, True)):
        encoder = module(widths=(4, 6), last_activation=last)
        vectors, _ = encoder.init_with_output(jax.random.key(0), x)
        assert bool(vectors.min() < 0) is sign and vectors.max() > 0


def test_batch_statistics_are_learned_where_asked_for():
    encoder, x = FlowEncoder(widths=(4, 4)), random(3, 5, 8, 8, 2)
    variables = encoder.init(jax.random.key(0), x)
    trained, changed = encoder.apply(variables, x, train=True, mutable=["batch_stats"])
    assert set(changed["batch_stats"]) == {"norm_1", "norm_2"}
    assert np.abs(trained - encoder.apply(variables, x)).max() > 1e-3
    framed = FlowEncoder(widths=(4, 4), norm="frame").init(jax.random.key(0), x)
    assert set(framed) == {"params"}
