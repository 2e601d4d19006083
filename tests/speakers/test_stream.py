# SPDX-License-Identifier: Apache-2.0
"""Sound in pieces gives the frames of the whole, no later than stated, in constant memory."""

import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from lipjax.media.audio import log_mel, log_mel_of
from lipjax.speakers.chunks import speak
from lipjax.speakers.stream import Stream, stream

sys.path.append(str(Path(__file__).parent))
from toy_speakers import SOUND, ConvSpeaker, needs  # noqa: E402

RATE = SOUND.rate


def speech(samples: int, seed: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    knots = rng.uniform(0, 0.5, samples // 4000 + 2)
    loudness = np.interp(np.arange(samples) / 4000, np.arange(len(knots)), knots)
    return (rng.normal(size=samples) * loudness).astype(np.float32)


def pieces(sound: np.ndarray, sizes, seed: int = 5):
    rng = np.random.default_rng(seed)
    start = 0
    while start < len(sound):
        size = int(rng.choice(sizes))
        yield sound[start : start + size]
        start += size


FACE = np.random.default_rng(9).uniform(-1, 1, (1, 16, 16, 3)).astype(np.float32)


@pytest.mark.parametrize("samples", [640, 16_000, 50_001, 51_199])
@pytest.mark.parametrize("sizes", [(1, 333, 4_000), (10**6,)])
def test_a_stream_equals_the_whole(samples, sizes):
    speaker = ConvSpeaker(needs(reach=7, sound_context=2))
    sound = speech(samples)
    made = np.stack(
        list(stream(speaker, ConvSpeaker.params(), FACE, pieces(sound, sizes), gain=1.7))
    )
    frames = -(-samples // 640)
    padded = np.pad(sound * np.float32(1.7), (0, frames * 640 - samples))
    expected = speak(speaker, ConvSpeaker.params(), FACE[None], log_mel(padded, SOUND)[None])[0]
    assert len(made) == frames
    np.testing.assert_allclose(made, expected, atol=1e-5)


def test_sound_at_another_rate_is_resampled_on_the_way():
    speaker = ConvSpeaker(needs(reach=7))
    sound = speech(3 * 44_100)
    made = list(
        stream(speaker, ConvSpeaker.params(), FACE, pieces(sound, (997, 5_000)), rate=44_100)
    )
    feature = log_mel_of(sound, 44_100, SOUND)
    expected = speak(speaker, ConvSpeaker.params(), FACE[None], feature[None])[0]
    assert len(made) == len(expected) == 75
    np.testing.assert_allclose(made, expected, atol=1e-3)


@pytest.mark.parametrize("chunk", [None, 2])
def test_no_frame_comes_later_than_stated(chunk):
    speaker = ConvSpeaker(needs(reach=7, sound_context=2))
    talk = Stream(speaker, ConvSpeaker.params(), FACE, chunk=chunk)
    waits, made = [], 0
    for block in range(500):
        for _ in talk.push(speech(160, seed=block)):
            waits.append((block + 1) * 160 / RATE - made / 25)
            made += 1
    assert made > 80
    assert max(waits) <= talk.latency + 160 / RATE
    assert max(waits) > talk.latency - 0.04  # stated, not merely bounded


def test_int16_is_the_same_sound():
    speaker = ConvSpeaker(needs(reach=7))
    whole = (speech(20_000) * 8_000).astype(np.int16)
    a = list(stream(speaker, ConvSpeaker.params(), FACE, pieces(whole, (999,))))
    floats = whole.astype(np.float32) / 32768
    b = list(stream(speaker, ConvSpeaker.params(), FACE, pieces(floats, (1234,))))
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_memory_does_not_grow_with_the_sound():
    speaker = ConvSpeaker(needs(reach=7))
    sound = speech(160_000)
    peaks = []
    for repeats in (1, 6):
        tracemalloc.start()
        for _ in stream(
            speaker,
            ConvSpeaker.params(),
            FACE,
            (piece for _ in range(repeats) for piece in pieces(sound, (4_000,))),
        ):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] + 50_000
