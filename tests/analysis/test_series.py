# SPDX-License-Identifier: Apache-2.0
"""A clip as series: the authors' log-mel against librosa, clocks, signs from pictures on."""

import dataclasses

import librosa
import numpy as np
import pytest
from PIL import Image
from synthetic import FPS, RATE, make_clip

from lipjax.analysis import correlation as corr
from lipjax.analysis import series
from lipjax.data.schema import MISSING


def test_the_authors_log_mel_equals_librosa():
    rng = np.random.default_rng(10)
    sound = (rng.normal(size=44_100) * rng.uniform(0, 3000, 44_100)).astype(np.int16)
    sound[9000:20000] = (9000 * np.sin(np.arange(11_000) * 0.05)).astype(np.int16)
    length = len(sound) / 25
    expected = []
    for i in range(25):
        piece = sound[int(i * length) : int(i * length + length)].astype(np.float64)
        power = librosa.feature.melspectrogram(
            y=piece, sr=44_100, n_fft=1024, n_mels=128, fmax=16_000, pad_mode="reflect"
        )
        assert power.shape == (128, 4)
        expected.append(librosa.power_to_db(power, ref=1.0, top_db=80.0).mean())
    found = series.authors_log_mel(sound, 44_100, 25)
    np.testing.assert_allclose(found, expected, atol=2e-3)


def bursts(offset: int, seed: int):
    """A clip whose pattern jumps at some transitions; its sound bursts `offset` frames earlier."""
    rng = np.random.default_rng(seed)
    frames, size = 75, 64
    jumps = np.zeros(frames - 1, bool)
    jumps[rng.choice(np.arange(12, 62), 10, replace=False)] = True
    coarse = rng.integers(0, 255, (14, 14), dtype=np.uint8)
    texture = np.asarray(Image.fromarray(coarse).resize((112, 112), Image.Resampling.BICUBIC))
    left = 10 + np.concatenate([[0], np.cumsum(np.where(jumps, 2, 0))])
    mouth = np.stack([texture[20 : 20 + size, x : x + size] for x in left])
    loud = np.full(frames + 40, 30.0)
    for at in np.flatnonzero(jumps):  # both frames around the transition
        loud[20 + at - offset : 22 + at - offset] = 6000.0
    times = np.arange(round(RATE * 4.6)) / RATE - 0.8
    level = loud[np.clip(np.floor(times * FPS).astype(int) + 20, 0, len(loud) - 1)]
    sound = (rng.normal(size=len(times)) * level).clip(-32768, 32767).astype(np.int16)
    clip = make_clip(f"b{seed}", speaker="b", frames=frames)
    return dataclasses.replace(
        clip, mouth=np.repeat(mouth[..., None], 3, -1), sound=sound, sound_start=-0.8
    )


@pytest.mark.parametrize("offset", [-4, 0, 3])
def test_pictures_and_sound_keep_the_sign(offset):
    clips = [series.series_of(bursts(offset, seed)) for seed in range(3)]
    motion = np.stack([one.motion for one in clips])
    energy = corr.correlations(np.stack([one.energy for one in clips]), motion, corr.ENERGY.offsets)
    assert {corr.ENERGY.offsets[at] for at in corr.best_offsets(energy)} == {offset}
    # Energy rises into a burst and falls out of it: the change is up one transition early.
    for name, recipe in (("change", corr.CHANGE), ("lms_change", corr.PUBLISHED_BOTH)):
        sound = np.stack([getattr(one, name) for one in clips])
        mean = corr.means(corr.correlations(sound, motion, recipe.offsets, chunk=recipe.chunk))
        assert recipe.offsets[int(np.argmax(mean))] == offset + 1
        assert recipe.offsets[int(np.argmin(mean))] == offset - 1


def test_energy_is_decibels_by_the_clock_and_unknown_where_the_sound_ends():
    clip = make_clip(frames=40)
    times = np.arange(len(clip.sound)) / RATE + clip.sound_start
    hiss = np.random.default_rng(11).normal(size=len(times)) * np.where(times >= 0.8, 3000, 300)
    loud = dataclasses.replace(clip, sound=hiss.astype(np.int16), sound_level=-20.0)
    energy = series.frame_energy(loud)
    assert len(energy) == 40 and np.isfinite(energy).all()
    assert energy[22:38].mean() - energy[2:18].mean() == pytest.approx(20, abs=0.5)
    assert np.argmax(series.series_of(loud).change) == 19  # from frame 19 to frame 20, at 0.8 s
    assert np.argmax(series.series_of(loud).lms_change) == 19
    short = dataclasses.replace(loud, sound=loud.sound[: round((0.5 + 1.5) * RATE)])
    assert np.isnan(series.frame_energy(short)).tolist() == [False] * 37 + [True] * 3
    assert len(series.series_of(short).lms_change) == 39
    assert np.isfinite(series.series_of(short).lms_change).all()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"landmark_status": np.r_[[MISSING], np.ones(39)].astype(np.uint8)}, "landmarks"),
        ({"sound": np.zeros(100, np.int16)}, "no sound"),
        ({"sound": np.zeros(0, np.int16)}, "no sound"),
        ({"sound_rate": 8000}, "below 16000"),
        ({}, ""),
    ],
)
def test_clips_that_cannot_take_part_say_why(changes, says):
    reason = series.why_not(dataclasses.replace(make_clip(), **changes))
    assert says in reason and bool(says) == bool(reason)
    assert "shorter than 25" in series.why_not(make_clip(frames=24))
