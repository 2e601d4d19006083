# SPDX-License-Identifier: Apache-2.0
"""The log-mel feature of a sound that arrives in pieces, or is too long to take whole."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32

from lipjax.errors import ConfigError
from lipjax.media.log_mel import LogMel, mapped, power_of, reach, scaled


class LogMelStream:
    """The log-mel feature of a sound that arrives in chunks; equals `log_mel_of` of the whole.

    A column is given out once all samples under its transform are there, so the columns lag the
    sound by (n_fft + hop) / 2 samples, and by soxr's delay (a few ms) if the rate changes.
    """

    def __init__(self, rate: int, settings: LogMel, *, gain: float | int = 1.0) -> None:
        """Starts a stream.

        Args:
            rate: samples per second of what `push` will get.
            settings: of the feature.
            gain: linear factor (`level_gain`).
        """
        if rate <= 0:
            raise ConfigError(f"rate must be positive, got {rate}")
        self._settings, self._gain, self._resampler = settings, gain, None
        if rate != settings.rate:
            import soxr

            self._resampler = soxr.ResampleStream(rate, settings.rate, 1, "float32", "HQ")
        before, _ = reach(settings)
        self._buffer = np.zeros(max(0, before), np.float32)
        self._skip = max(0, -before)  # samples to come that no column sees
        self._received = self._given = 0

    def push(self, samples: np.ndarray) -> Float32[np.ndarray, "columns bands"]:
        """Takes the next samples (int16, or float of full scale 1) and returns finished columns."""
        return self._advance(scaled(samples, self._gain), last=False)

    def finish(self) -> Float32[np.ndarray, "columns bands"]:
        """Ends the sound and returns the columns that are left."""
        return self._advance(np.zeros(0, np.float32), last=True)

    def _advance(self, samples: np.ndarray, *, last: bool) -> Float32[np.ndarray, "columns bands"]:
        settings = self._settings
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples, last=last)
        self._received += len(samples)
        skipped = min(self._skip, len(samples))
        self._skip -= skipped
        self._buffer = np.concatenate([self._buffer, samples[skipped:]])
        if last:
            self._buffer = np.pad(self._buffer, (0, settings.n_fft))
        ready = max(0, (len(self._buffer) - settings.n_fft) // settings.hop + 1)
        ready = min(ready, self._received // settings.hop - self._given)
        if ready <= 0:
            return np.zeros((0, settings.bands), np.float32)
        power = np.concatenate(list(power_of(self._buffer, ready, settings)))
        self._skip = max(0, ready * settings.hop - len(self._buffer))
        self._buffer = self._buffer[ready * settings.hop :]
        self._given += ready
        return mapped(power, settings)


def log_mel_blocks(
    samples: np.ndarray,
    rate: int,
    settings: LogMel,
    *,
    gain: float | int = 1.0,
    seconds: float | int = 10.0,
) -> Iterator[Float32[np.ndarray, "columns bands"]]:
    """Computes the feature of a long sound piece by piece, in memory that does not grow.

    Args:
        samples: mono, int16 or float of full scale 1, shape [n].
        rate: samples per second.
        settings: of the feature.
        gain: linear factor (`level_gain`).
        seconds: of sound taken at a time.

    Yields:
        Columns; put together they equal `log_mel_of` of the whole.
    """
    stream, step = LogMelStream(rate, settings, gain=gain), max(1, round(seconds * rate))
    for first in range(0, len(samples), step):
        yield stream.push(samples[first : first + step])
    yield stream.finish()
