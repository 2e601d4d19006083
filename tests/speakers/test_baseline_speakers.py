# SPDX-License-Identifier: Apache-2.0
"""The baselines talk window by window, the last one filled up with silence and cut."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lipjax.errors import ConfigError
from lipjax.media.audio import LogMel
from lipjax.models.baselines import ChungGenerator
from lipjax.models.vondrick import VondrickGenerator
from lipjax.speakers.at_a_glance import AtAGlanceSpeaker
from lipjax.speakers.chunks import SILENCE, speak
from lipjax.speakers.contract import Speaker

SOUND = LogMel(bands=16)
COMMON = {"size": 32, "bands": 16, "audio_widths": (3, 4, 4, 4), "audio_features": 6}
GENERATORS = {
    "chung": ChungGenerator(
        **COMMON,
        picture_widths=(4, 4, 4, 4, 4, 4),
        picture_features=(6, 5),
        joint_features=6,
        decoder_widths=(6, 4, 4, 4, 4, 4, 4),
    ),
    "vondrick": VondrickGenerator(
        **COMMON, foreground_widths=(6, 4, 4, 4, 4), background_widths=(6, 4, 4, 4, 4)
    ),
}


@pytest.mark.parametrize("norm", ["batch", "frame"])
@pytest.mark.parametrize("name", GENERATORS)
def test_forty_frames_are_three_windows_side_by_side(name, norm):
    generator = GENERATORS[name].clone(norm=norm)
    speaker = AtAGlanceSpeaker.from_generator(generator, log_mel=SOUND)
    assert isinstance(speaker, Speaker)
    assert (speaker.needs.chunk, speaker.needs.reach, speaker.needs.sound_context) == (16, 0, 0)
    rng = np.random.default_rng(0)
    face = rng.uniform(-1, 1, (2, 1, 32, 32, 3)).astype(np.float32)
    log_mel = rng.uniform(-1, 1, (2, 4 * 40, 16)).astype(np.float32)
    shapes = jax.eval_shape(generator.init, jax.random.key(0), face[:, 0], log_mel[:, :64])

    def value(path, leaf):
        values = 0.3 * rng.normal(size=leaf.shape).astype(np.float32)
        return np.abs(values + 1) if path[-1].key in ("scale", "var") else values

    variables = jax.tree_util.tree_map_with_path(value, shapes)
    made = speak(speaker, variables, face, log_mel)
    one_window = jax.jit(functools.partial(generator.apply, train=False))
    filled = np.full((2, 4 * 48, 16), SILENCE, np.float32)
    filled[:, : 4 * 40] = log_mel
    windows = [one_window(variables, face[:, 0], filled[:, i : i + 64])[0] for i in (0, 64, 128)]
    expected = jnp.concatenate(windows, axis=1)[:, :40]
    assert made.shape == (2, 40, 32, 32, 3)
    assert made.std() > 0.05
    assert np.abs(made[:, :16] - made[:, 16:32]).max() > 1e-2
    np.testing.assert_allclose(made, expected, atol=1e-5)


def test_a_chunk_that_is_no_window_is_refused():
    with pytest.raises(ConfigError, match="chunk=32, but the generator makes 16 frames"):
        AtAGlanceSpeaker.from_generator(GENERATORS["chung"], log_mel=SOUND, chunk=32)
