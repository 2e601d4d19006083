# SPDX-License-Identifier: Apache-2.0
"""The real generator, tiny: its chunks join without a trace."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lipjax.errors import ConfigError
from lipjax.media.audio import LogMel
from lipjax.models.at_a_glance import Generator
from lipjax.models.map_sizes import strides_for
from lipjax.speakers.at_a_glance import AtAGlanceSpeaker
from lipjax.speakers.chunks import speak
from lipjax.speakers.contract import Speaker

SOUND = LogMel(bands=32)
KEY = jax.random.key(0)


@functools.cache
def tiny(norm: str, context: int):
    generator = Generator(
        bands=32,
        audio_widths=(4, 4, 4, 4, 4),
        identity_widths=(4, 4, 4),
        fusion_width=4,
        residual_blocks=2,
        decoder_widths=(4, 4),
        final_kernel=(3, 3, 3),
        norm=norm,
        audio_context=context,
        **strides_for(64, 32),
    )
    picture, sound = jnp.zeros((1, 64, 64, 3)), jnp.zeros((1, 4 * (4 + 2 * context), 32))
    shapes = jax.eval_shape(functools.partial(generator.init, train=False), KEY, picture, sound)
    rng = np.random.default_rng(1)

    def value(path, leaf):
        # Unlike initial values: the last layer would begin near zero, statistics at 0 and 1.
        values = 0.3 * rng.normal(size=leaf.shape).astype(np.float32)
        return np.abs(values + 1) if path[-1].key in ("scale", "var") else values

    variables = jax.tree_util.tree_map_with_path(value, shapes)
    speaker = AtAGlanceSpeaker.from_generator(generator, log_mel=SOUND, chunk=6)
    return speaker, variables


@pytest.mark.parametrize("norm", ["frame", "batch"])
@pytest.mark.parametrize("context", [0, 3])
def test_chunked_equals_whole_at_every_frame(norm, context):
    speaker, variables = tiny(norm, context)
    assert isinstance(speaker, Speaker)
    rng = np.random.default_rng(0)
    face = rng.uniform(-1, 1, (2, 1, 64, 64, 3)).astype(np.float32)
    frames = 41
    log_mel = rng.uniform(-1, 1, (2, 4 * frames, 32)).astype(np.float32)
    made = speak(speaker, variables, face, log_mel)
    padding = ((0, 0), (4 * context, 4 * context), (0, 0))
    padded = np.pad(log_mel, padding, constant_values=-1.0)
    one_pass = jax.jit(functools.partial(speaker.generator.apply, train=False))
    expected, _ = one_pass(variables, face[:, 0], padded)
    assert made.std() > 0.05 and np.abs(np.diff(made, axis=1)).max() > 1e-2
    np.testing.assert_allclose(made, expected, atol=1e-5)


def test_a_sound_feature_that_does_not_fit_is_refused():
    speaker, _ = tiny("frame", 0)
    with pytest.raises(ConfigError, match="3.2 columns per frame"):
        AtAGlanceSpeaker.from_generator(speaker.generator, log_mel=LogMel(hop=200, bands=32))
    with pytest.raises(ConfigError, match="64 bands"):
        AtAGlanceSpeaker.from_generator(speaker.generator, log_mel=LogMel(bands=64))
