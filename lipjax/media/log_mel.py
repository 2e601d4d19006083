# SPDX-License-Identifier: Apache-2.0
"""The sound feature: log-mel columns in NumPy.

`lipjax.nn.log_mel` is its twin in JAX, `lipjax.media.log_mel_stream` its form for endless sound.
"""

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Float32

from lipjax.errors import ConfigError
from lipjax.media.resampling import resample, to_float

_BLOCK = 2048  # columns transformed at a time: bounds memory, changes no value


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogMel:
    """Settings of the log-mel feature, shared by the NumPy and the JAX form.

    Attributes:
        rate: samples per second that the feature is computed from.
        hop: samples per column.
        window: samples under the Hann window.
        n_fft: length of the Fourier transform, at least `window`.
        bands: mel bands.
        fmin: lower edge of the lowest band, Hz.
        fmax: upper edge of the highest band, Hz, at most rate / 2.
        floor_db: level that maps to -1; quieter is clipped.
        level_db: level to which speech is brought before (`level_gain`), dB of full scale.

    Example:
        >>> settings = lipjax.LogMel(rate=16_000, hop=160, bands=80)
        >>> settings.columns_per_second, settings.filters().shape
        (100.0, (80, 513))
    """

    rate: int = 16_000
    hop: int = 160
    window: int = 512
    n_fft: int = 1024
    bands: int = 128
    fmin: float | int = 0.0
    fmax: float | int = 8000.0
    floor_db: float | int = -80.0
    level_db: float | int = -20.0

    def __post_init__(self) -> None:
        if not (self.rate > 0 and self.hop > 0 and self.bands > 0):
            raise ConfigError(f"rate, hop and bands must be positive: {self}")
        if not 0 < self.window <= self.n_fft:
            raise ConfigError(f"window must be between 1 and n_fft={self.n_fft}: {self.window}")
        if not 0 <= self.fmin < self.fmax <= self.rate / 2:
            raise ConfigError(f"need 0 <= fmin < fmax <= rate / 2: {self}")
        if self.floor_db >= 0:
            raise ConfigError(f"floor_db must be below 0 dB, got {self.floor_db}")

    @property
    def columns_per_second(self) -> float:
        """Feature columns per second of sound."""
        return self.rate / self.hop

    @property
    def scale(self) -> float:
        """Factor on the mel power of the raw transform that makes it relative to full scale.

        A sine of full scale has power 1 in its bin; the area-normalised bands (per Hz) are taken
        times the width of a bin, so that a band holds the mean power of its bins.
        """
        return self.rate / self.n_fft / (np.sum(self.taper(), dtype=np.float64) / 2) ** 2

    def taper(self) -> Float32[np.ndarray, "n_fft"]:
        """Returns the periodic Hann window, centred in the transform."""
        return _taper(self.window, self.n_fft)

    def filters(self) -> Float32[np.ndarray, "bands bins"]:
        """Returns the Slaney mel filter bank of `librosa.filters.mel` (cached)."""
        return _filters(self)


@functools.lru_cache(maxsize=16)
def _taper(window: int, n_fft: int) -> np.ndarray:
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    taper = np.zeros(n_fft, np.float32)
    first = (n_fft - window) // 2
    taper[first : first + window] = hann
    taper.setflags(write=False)
    return taper


@functools.lru_cache(maxsize=16)
def _filters(settings: LogMel) -> np.ndarray:
    import librosa

    bank = librosa.filters.mel(
        sr=settings.rate,
        n_fft=settings.n_fft,
        n_mels=settings.bands,
        fmin=settings.fmin,
        fmax=settings.fmax,
        dtype=np.float32,
    )
    bank.setflags(write=False)
    return bank


def reach(settings: LogMel) -> tuple[int, int]:
    """Returns how many samples before, and from, its first own sample j * hop column j sees."""
    before = settings.n_fft // 2 - settings.hop // 2
    return before, settings.n_fft - before


def power_of(
    padded: Float32[np.ndarray, "n"], count: int, settings: LogMel
) -> Iterator[Float32[np.ndarray, "columns bands"]]:
    """Yields the mel power of `count` columns in blocks.

    Args:
        padded: samples; the transform of column j begins at j * hop.
        count: columns, all of whose samples are there.
        settings: of the feature.

    Yields:
        Up to 2048 columns at a time.
    """
    frames = np.lib.stride_tricks.sliding_window_view(padded, settings.n_fft)[:: settings.hop]
    taper, filters = settings.taper(), settings.filters().T
    scale = np.float32(settings.scale)
    for first in range(0, count, _BLOCK):
        spectrum = np.fft.rfft(frames[first : min(first + _BLOCK, count)] * taper)
        yield (spectrum.real**2 + spectrum.imag**2).astype(np.float32) @ filters * scale


def mel_power(
    samples: Float[np.ndarray, "n"], settings: LogMel
) -> Float32[np.ndarray, "columns bands"]:
    """Returns the mel power behind `log_mel`, relative to full scale, before the logarithm."""
    count = len(samples) // settings.hop
    if not count:
        return np.zeros((0, settings.bands), np.float32)
    before, after = reach(settings)
    samples = samples.astype(np.float32, copy=False)
    # A hop longer than the transform makes `before` negative: the column then skips samples.
    padded = np.pad(samples[max(0, -before) :], (max(0, before), max(0, after)))
    return np.concatenate(list(power_of(padded, count, settings)))


def mapped(
    power: Float32[np.ndarray, "columns bands"], settings: LogMel
) -> Float32[np.ndarray, "columns bands"]:
    """Returns power relative to full scale as decibels, clipped and mapped: floor -1, 0 dB +1."""
    floor = np.float32(10 ** (settings.floor_db / 10))
    decibels = 10 * np.log10(np.maximum(power, floor))
    return np.maximum(1 - decibels * np.float32(2 / settings.floor_db), np.float32(-1))


def log_mel(
    samples: Float[np.ndarray, "n"], settings: LogMel
) -> Float32[np.ndarray, "columns bands"]:
    """Computes the log-mel feature of a sound.

    Column j is centred on sample (j + 1/2) * hop, with zeros outside the sound. The power is in dB
    of full scale (see `LogMel.scale`), clipped below at `floor_db`, and mapped linearly so that
    `floor_db` becomes -1 and 0 dB becomes +1.

    Args:
        samples: mono at `settings.rate`, full scale 1.
        settings: of the feature.

    Returns:
        n // hop columns; values above 1 are possible for very loud sound.
    """
    return mapped(mel_power(samples, settings), settings)


def columns(
    feature: Float[np.ndarray, "C F"],
    t0: float | int,
    t1: float | int,
    settings: LogMel,
    *,
    fill: float | int = -1.0,
) -> Float[np.ndarray, "n F"]:
    """Cuts a time range out of a feature.

    Args:
        feature: columns; the left edge of column 0 is time 0.
        t0: begin, seconds; may lie outside.
        t1: end, seconds.
        settings: of the feature.
        fill: value of columns outside (-1 is silence).

    Returns:
        round((t1 - t0) * columns_per_second) columns.
    """
    count = max(0, round((t1 - t0) * settings.columns_per_second))
    first = round(t0 * settings.columns_per_second)
    out = np.full((count, feature.shape[1]), fill, feature.dtype)
    begin, end = max(first, 0), min(first + count, len(feature))
    if begin < end:
        out[begin - first : end - first] = feature[begin:end]
    return out


def log_mel_of(
    samples: np.ndarray, rate: int, settings: LogMel, *, gain: float | int = 1.0
) -> Float32[np.ndarray, "columns bands"]:
    """Computes the log-mel feature of a sound at any rate, whole.

    Args:
        samples: mono, int16 or float of full scale 1, shape [n].
        rate: samples per second.
        settings: of the feature.
        gain: linear factor (`level_gain`).

    Returns:
        Columns; the left edge of column 0 is sample 0.
    """
    return log_mel(resample(scaled(samples, gain), rate, settings.rate), settings)


def scaled(samples: np.ndarray, gain: float | int) -> Float32[np.ndarray, "n"]:
    """Returns samples (int16, or float of full scale 1) as floats times a linear factor."""
    floats = to_float(samples) if samples.dtype == np.int16 else samples.astype(np.float32)
    return floats * np.float32(gain)
