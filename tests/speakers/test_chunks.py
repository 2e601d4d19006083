# SPDX-License-Identifier: Apache-2.0
"""Chunked equals whole at every frame, with few compilations and in constant memory."""

import functools
import sys
from fractions import Fraction
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lipjax.errors import ConfigError, MediaError
from lipjax.media.audio import LogMel
from lipjax.speakers.chunks import Chunks, speak
from lipjax.speakers.contract import Needs, Speaker

sys.path.append(str(Path(__file__).parent))
from toy_speakers import SOUND, TRACES, ConvSpeaker, RecurrentSpeaker, needs  # noqa: E402

WINDOW = 8 + 2 * 7


def sound_of(frames: int, seed: int = 0, batch: int = 2) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(batch, 4 * frames, SOUND.bands)).astype(np.float32)


def face(batch: int = 2) -> np.ndarray:
    return np.random.default_rng(9).uniform(-1, 1, (batch, 1, 16, 16, 3)).astype(np.float32)


def whole(speaker, params, target, log_mel, target_chunk=None) -> jax.Array:
    """One pass, with silence as context."""
    k = speaker.needs.columns_in(speaker.needs.sound_context)
    padded = np.pad(log_mel, ((0, 0), (k, k), (0, 0)), constant_values=-1.0)
    return one_pass(speaker, params, target, padded, target_chunk)


@functools.partial(jax.jit, static_argnums=0)
def one_pass(speaker, params, target, sound, target_chunk=None):
    return speaker.step(params, speaker.begin(params, target), sound, target_chunk)[0]


@pytest.mark.parametrize("context", [0, 5])
@pytest.mark.parametrize("frames", [1, 5, WINDOW, WINDOW + 1, WINDOW + 2, 30, 97])
def test_chunked_equals_whole_at_every_frame(frames, context):
    speaker = ConvSpeaker(needs(reach=7, sound_context=context))
    params = ConvSpeaker.params()
    log_mel = sound_of(frames)
    made = speak(speaker, params, face(), log_mel)
    assert made.shape == (2, frames, 16, 16, 3)
    np.testing.assert_allclose(made, whole(speaker, params, face(), log_mel), atol=1e-5)


def test_the_toy_needs_its_whole_reach():
    """The comparison above can fail: one frame less of reach is seen."""
    speaker = ConvSpeaker(needs(reach=6))
    params = ConvSpeaker.params()
    log_mel = sound_of(60)
    error = np.abs(
        speak(speaker, params, face(), log_mel) - whole(speaker, params, face(), log_mel)
    )
    assert error.max() > 1e-4


def test_one_compilation_serves_all_long_clips():
    speaker = ConvSpeaker(needs(reach=7, chunk=9))
    TRACES.clear()
    for frames in (23, 24, 31, 40, 58, 97):
        speak(speaker, ConvSpeaker.params(frames), face(), sound_of(frames))
    assert TRACES == [(2, 4 * 23, SOUND.bands)]


@pytest.mark.parametrize("frames", [1, 7, 8, 9, 40, 61])
@pytest.mark.parametrize("context", [0, 3])
def test_a_carry_goes_from_chunk_to_chunk(frames, context):
    speaker = RecurrentSpeaker(needs(reach=0, sound_context=context))
    params = jnp.linspace(-2.0, 3.0, SOUND.bands)
    log_mel = sound_of(frames)
    made = speak(speaker, params, face(), log_mel)
    np.testing.assert_allclose(made, whole(speaker, params, face(), log_mel), atol=1e-5)


@pytest.mark.parametrize("frames", [4, 33, 60, 71])
@pytest.mark.parametrize("context", [0, 3])
def test_columns_that_do_not_divide_into_frames(frames, context):
    """80 columns per second: 3.2 per frame, so windows can start at every fifth frame only."""
    sound = LogMel(hop=200, bands=SOUND.bands)
    speaker = ConvSpeaker(needs(reach=7, log_mel=sound, sound_context=context))
    columns = speaker.needs.columns_in(frames)
    log_mel = np.random.default_rng(1).normal(size=(1, columns, 8)).astype(np.float32)
    made = speak(speaker, ConvSpeaker.params(), face(1), log_mel)
    before, total = -speaker.needs.columns_in(-context), speaker.needs.columns_in
    after = total(frames + 2 * context) - before - columns
    padded = np.pad(log_mel, ((0, 0), (before, after), (0, 0)), constant_values=-1.0)
    expected = one_pass(speaker, ConvSpeaker.params(), face(1), padded)
    np.testing.assert_allclose(made, expected, atol=1e-5)


@pytest.mark.parametrize("surplus", [1, 2, 6])
def test_real_sound_around_the_clip_is_heard(surplus):
    speaker = ConvSpeaker(needs(reach=7, sound_context=2))
    params, log_mel = ConvSpeaker.params(), sound_of(50 + 2 * surplus)
    made = speak(speaker, params, face(), log_mel, surplus=surplus)
    heard = min(surplus, 2)
    inner = log_mel[:, 4 * (surplus - heard) : -4 * (surplus - heard) or None]
    lack = 4 * (2 - heard)
    inner = np.pad(inner, ((0, 0), (lack, lack), (0, 0)), constant_values=-1.0)
    expected = one_pass(speaker, params, face(), inner)
    assert made.shape[1] == 50
    np.testing.assert_allclose(made, expected, atol=1e-5)


@pytest.mark.parametrize("frames", [10, 51])
def test_a_speaker_of_video_gets_the_frame_it_paints_into(frames):
    speaker = ConvSpeaker(needs(reach=7, target="video"))
    params, log_mel = ConvSpeaker.params(), sound_of(frames)
    video = np.random.default_rng(2).uniform(-1, 1, (2, frames, 16, 16, 3)).astype(np.float32)
    pulled = iter(np.moveaxis(video, 1, 0))
    made = speak(speaker, params, video[:, :1], log_mel, target_frames=pulled)
    expected = whole(speaker, params, video[:, :1], log_mel, jnp.asarray(video))
    np.testing.assert_allclose(made, expected, atol=1e-5)

    short = iter(np.moveaxis(video[:, :4], 1, 0))
    made = speak(speaker, params, video[:, :1], log_mel, target_frames=short)
    held = np.concatenate([video[:, :4], np.repeat(video[:, 3:4], frames - 4, 1)], axis=1)
    expected = whole(speaker, params, video[:, :1], log_mel, jnp.asarray(held))
    np.testing.assert_allclose(made, expected, atol=1e-5)

    with pytest.raises(MediaError, match="no frames"):
        speak(speaker, params, video[:, :1], log_mel, target_frames=iter(()))


@pytest.mark.parametrize("reach", [0, 7])
def test_memory_does_not_grow_with_the_sound(reach):
    speaker = ConvSpeaker(needs(reach=reach, sound_context=2, target="video"))
    chunks = Chunks(speaker, ConvSpeaker.params(), face())
    for _ in range(200):
        chunks.push(sound_of(3))
        assert chunks._columns.shape[1] <= 4 * (WINDOW + 8 + 2 * 2 + 3)
        assert len(chunks._target_buffer) <= WINDOW + 8


def test_no_sound_makes_no_frames():
    speaker = ConvSpeaker(needs(reach=7))
    made = speak(speaker, ConvSpeaker.params(), face(), sound_of(0))
    assert made.shape == (2, 0, 16, 16, 3)


def test_needs_refuse_what_cannot_be():
    assert isinstance(ConvSpeaker(needs()), Speaker)
    assert Needs(log_mel=LogMel(hop=200), mouth_size=8).columns_per_frame == Fraction(16, 5)
    with pytest.raises(ConfigError, match="'photo'"):
        needs(target="photo")
    with pytest.raises(ConfigError, match="chunk=0"):
        speak(ConvSpeaker(needs()), ConvSpeaker.params(), face(), sound_of(3), chunk=0)
    with pytest.raises(ConfigError, match="reach=-1"):
        needs(reach=-1)
