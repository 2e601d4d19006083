# SPDX-License-Identifier: Apache-2.0
"""The sound feature in NumPy against librosa; streamed equals whole."""

import tracemalloc

import librosa
import numpy as np
import pytest

from lipjax.errors import ConfigError
from lipjax.media.log_mel import LogMel, columns, log_mel, log_mel_of, mel_power
from lipjax.media.log_mel_stream import LogMelStream, log_mel_blocks

SETTINGS = [
    LogMel(),
    LogMel(hop=200, window=800, n_fft=800, bands=80, fmin=55, fmax=7600),
    LogMel(rate=44_100, hop=441, window=1024, n_fft=2048, bands=64, fmax=22_050),
    LogMel(hop=161, window=401, n_fft=512, bands=40),
]


def _speechlike(count, seed=0):
    rng = np.random.default_rng(seed)
    slow = np.interp(np.arange(count), np.linspace(0, count, 12), rng.uniform(0, 1, 12) ** 4)
    return (slow * rng.normal(0, 0.2, count)).astype(np.float32)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("count", [1, 160, 5000, 16_077])
def test_power_equals_librosa(settings, count):
    samples = _speechlike(count)
    ours = mel_power(samples, settings)
    assert ours.shape == (count // settings.hop, settings.bands)
    before = settings.n_fft // 2 - settings.hop // 2
    padded = np.pad(samples, (before, 2 * settings.n_fft))
    spectrum = librosa.stft(
        padded,
        n_fft=settings.n_fft,
        hop_length=settings.hop,
        win_length=settings.window,
        window="hann",
        center=False,
    )
    power = np.abs(spectrum) ** 2
    theirs = librosa.feature.melspectrogram(
        S=power,
        sr=settings.rate,
        n_mels=settings.bands,
        fmin=settings.fmin,
        fmax=settings.fmax,
    ).T[: len(ours)]
    scale = settings.rate / settings.n_fft / (settings.window / 4) ** 2
    np.testing.assert_allclose(ours, theirs * scale, rtol=1e-5, atol=1e-12)


def test_scale_and_floor():
    settings = LogMel()
    time = np.arange(16_000) / 16_000
    full = log_mel(np.sin(2 * np.pi * 300 * time).astype(np.float32), settings)
    assert 0.95 < full[50].max() < 1.0  # a full-scale tone in a narrow band: about 0 dB
    tenth = log_mel((0.1 * np.sin(2 * np.pi * 300 * time)).astype(np.float32), settings)
    assert abs(full[50].max() - tenth[50].max() - 20 * 2 / 80) < 1e-4
    silence = log_mel(np.zeros(1600, np.float32), settings)
    assert silence.shape == (10, 128) and np.all(silence == -1.0)
    assert full.min() == -1.0 and full.dtype == np.float32


def test_column_is_centred_on_its_own_samples():
    settings = LogMel()
    for sample in (80, 1680, 8080):  # the middle of columns 0, 10 and 50
        impulse = np.zeros(16_000, np.float32)
        impulse[sample] = 1.0
        power = mel_power(impulse, settings).sum(axis=1)
        column = sample // 160
        assert power.argmax() == column
        around = power[max(column - 1, 0) : column + 2]
        if column:
            assert abs(around[0] / around[2] - 1) < 1e-4


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("settings", SETTINGS)
def test_blocks_equal_the_whole(rate, settings):
    samples = (_speechlike(rate + 77) * 32767).astype(np.int16)
    whole = log_mel_of(samples, rate, settings, gain=1.7)
    blocks = list(log_mel_blocks(samples, rate, settings, gain=1.7, seconds=0.0371))
    assert len(blocks) > 20
    np.testing.assert_allclose(np.concatenate(blocks), whole, atol=2e-5)


def test_stream_gives_columns_as_soon_as_it_can():
    settings = LogMel()
    stream = LogMelStream(16_000, settings)
    samples = _speechlike(16_000)
    given = 0
    for first in range(0, 16_000, 160):
        given += len(stream.push(samples[first : first + 160]))
        received = first + 160
        # Column j needs the samples up to j * hop + (n_fft + hop) / 2.
        assert given == max(0, (received - (1024 + 160) // 2) // 160 + 1)
    assert given + len(stream.finish()) == 100


def test_hop_longer_than_the_transform():
    settings = LogMel(hop=3000, window=512, n_fft=512)
    samples = _speechlike(16_000)
    whole = log_mel(samples, settings)
    assert whole.shape == (5, 128)
    lone = samples[3000 + 1500 - 256 : 3000 + 1500 + 256]
    np.testing.assert_allclose(
        whole[1], log_mel(np.pad(lone, (1244, 1244)), settings)[0], atol=1e-6
    )
    stream = LogMelStream(16_000, settings)
    parts = [stream.push(samples[k : k + 500]) for k in range(0, 16_000, 500)]
    np.testing.assert_allclose(np.concatenate([*parts, stream.finish()]), whole, atol=1e-6)


def test_memory_of_blocks_does_not_grow():
    def peak(seconds):
        samples = np.zeros(16_000 * seconds, np.int16)
        settings = LogMel()
        settings.filters()
        tracemalloc.start()
        for _ in log_mel_blocks(samples, 16_000, settings, seconds=2.0):
            pass
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    assert peak(40) < 1.3 * peak(8)


def test_columns_by_time():
    settings = LogMel()
    feature = np.arange(50, dtype=np.float32)[:, None] * np.ones((1, 3), np.float32)
    np.testing.assert_array_equal(columns(feature, 0.1, 0.14, settings)[:, 0], [10, 11, 12, 13])
    np.testing.assert_array_equal(columns(feature, -0.02, 0.01, settings)[:, 0], [-1, -1, 0])
    np.testing.assert_array_equal(columns(feature, 0.49, 0.51, settings, fill=7)[:, 0], [49, 7])
    assert columns(feature, 2, 3, settings).shape == (100, 3)
    coarse = LogMel(hop=200)
    assert len(columns(feature, 0, 0.2, coarse)) == 16
    assert columns(feature, 0, 0.04, settings).dtype == np.float32


@pytest.mark.parametrize(
    "wrong", [{"fmax": 9000}, {"window": 2048}, {"hop": 0}, {"floor_db": 0}, {"fmin": 8000}]
)
def test_impossible_settings(wrong):
    with pytest.raises(ConfigError):
        LogMel(**wrong)
