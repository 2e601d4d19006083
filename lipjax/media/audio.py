# SPDX-License-Identifier: Apache-2.0
"""Sound files: decoding to mono on the file's own clock, resampling, the level of speech."""

import dataclasses
import math
import os
import wave
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int16, Shaped

from lipjax.errors import ConfigError, MediaError
from lipjax.media.containers import (
    decoded,
    opened,
    picture_stream,
    replacing,
    require_av,
    sound_stream,
)
from lipjax.media.limits import MAX_CHANNELS, MAX_SECONDS, MAX_SOURCE_RATE, MIN_SOURCE_RATE
from lipjax.media.log_mel import LogMel, columns, log_mel, log_mel_of, mel_power
from lipjax.media.log_mel_stream import LogMelStream, log_mel_blocks
from lipjax.media.probing import check_seconds, declared_seconds
from lipjax.media.resampling import resample, resample_int16, to_float, to_int16
from lipjax.media.timing import Clock, believed

__all__ = [
    "LogMel",
    "LogMelStream",
    "Sound",
    "columns",
    "level_gain",
    "log_mel",
    "log_mel_blocks",
    "log_mel_of",
    "mel_power",
    "read_sound",
    "resample",
    "speech_level",
    "to_float",
    "to_int16",
    "write_wav",
]

# Timestamps of sound jitter by some milliseconds in webcam and phone recordings; only a larger
# disagreement between stamps and sample count is a real gap (or overlap) worth a correction.
_JITTER = 0.02


@dataclasses.dataclass(frozen=True)
class Sound:
    """A mono sound on a clock.

    Attributes:
        samples: 16-bit samples.
        rate: samples per second.
        start: time of the left edge of sample 0 on the file's clock, seconds.

    Example:
        >>> sound = lipjax.Sound(np.zeros(8_000, np.int16), 16_000)
        >>> sound.duration, sound.between(0.25, 1.0).shape
        (0.5, (12000,))
    """

    samples: Int16[np.ndarray, "samples"]
    rate: int
    start: float | int = 0.0

    @property
    def duration(self) -> float:
        """Seconds of sound."""
        return len(self.samples) / self.rate

    @property
    def end(self) -> float:
        """Time of the right edge of the last sample, seconds."""
        return self.start + self.duration

    def between(self, t0: float | int, t1: float | int) -> Int16[np.ndarray, "n"]:
        """Returns the samples of a time range, zeros where there is no sound.

        Args:
            t0: begin on this sound's clock, seconds.
            t1: end, seconds, not before `t0`.

        Returns:
            round((t1 - t0) * rate) samples.
        """
        count = max(0, round((t1 - t0) * self.rate))
        first = round((t0 - self.start) * self.rate)
        out = np.zeros(count, np.int16)
        begin, end = max(first, 0), min(first + count, len(self.samples))
        if begin < end:
            out[begin - first : end - first] = self.samples[begin:end]
        return out


_TYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}
_POINTERS = 8
"""Channels that FFmpeg keeps in a frame itself."""


def _channels(frame: Any) -> Shaped[np.ndarray, "channels n"]:
    """The samples of a decoded frame of any sample format.

    PyAV counts planes up to an empty one, which is not there behind eight or more channels: its
    own `to_ndarray` reads at a random address then, as with any 7.1 sound in AAC or Opus.
    """
    count = frame.layout.nb_channels
    if frame.format.is_planar and count > _POINTERS:
        av = require_av()
        packed = av.AudioResampler(frame.format.packed, frame.layout, frame.sample_rate)
        try:
            (frame,) = packed.resample(frame)
        except (av.error.FFmpegError, ValueError):  # a layout that it does not know
            return np.zeros((1, frame.samples), np.float32)
    dtype = np.dtype(_TYPES[frame.format.packed.name])
    if frame.format.is_planar:
        planes = frame.planes[:count]
        return np.stack([np.frombuffer(plane, dtype, frame.samples) for plane in planes])
    return np.frombuffer(frame.planes[0], dtype, frame.samples * count).reshape(-1, count).T


def _mono(frame: Any) -> Float32[np.ndarray, "n"]:
    """Mean over the channels of a decoded frame of any sample format, full scale 1."""
    channels = _channels(frame)
    mono = channels.mean(axis=0, dtype=np.float64)
    if channels.dtype == np.uint8:
        mono = (mono - 128) / 128
    elif np.issubdtype(channels.dtype, np.integer):
        mono = mono / -float(np.iinfo(channels.dtype).min)
    return np.nan_to_num(mono, nan=0.0, posinf=1.0, neginf=-1.0).astype(np.float32)


def _check_kind(name: str, rate: int, channels: int, max_source_rate: int, most: int) -> None:
    """Raises a MediaError if a sound has an absurd rate or number of channels."""
    if not MIN_SOURCE_RATE <= rate <= max_source_rate:
        raise MediaError(
            f"{name}: its sound has {rate:,} samples per second, allowed are {MIN_SOURCE_RATE:,} "
            f"to {max_source_rate:,}; is its header damaged? Else raise max_source_rate"
        )
    if channels > most:
        raise MediaError(
            f"{name}: its sound has {channels} channels, more than the {most} allowed; mix it "
            "down first, or raise max_channels"
        )


def read_sound(
    path: str | os.PathLike,
    *,
    max_rate: int = 48_000,
    max_seconds: float | int = MAX_SECONDS,
    max_source_rate: int = MAX_SOURCE_RATE,
    max_channels: int = MAX_CHANNELS,
) -> Sound:
    """Decodes the sound of any sound or video file to mono.

    Sound and picture of one file share a clock: `start` compares with `VideoInfo.start`. Holes in
    the timestamps become silence, overlaps are cut, damaged packets are skipped.

    Args:
        path: the file.
        max_rate: samples per second above which the sound is resampled down to it.
        max_seconds: of sound at `max_rate` or less (of half as much at twice the rate, and so
            on); a longer one is refused.
        max_source_rate: samples per second in the file; more are refused.
        max_channels: of the sound; more are refused.

    Returns:
        The sound at the file's own rate or `max_rate`; `start` is 0 for files without picture.

    Raises:
        MediaError: the file cannot be opened, has no sound, none that can be decoded, or an
            absurd amount of it.

    Example:
        >>> sound = lipjax.read_sound("speech.wav")
        >>> sound.samples.dtype.name, sound.rate, sound.duration
        ('int16', 16000, 1.0)
    """
    name = os.fspath(path)
    with opened(path) as container:
        stream = sound_stream(container)
        if stream is None:
            raise MediaError(f"{name}: has no sound that can be decoded")
        check_seconds(name, declared_seconds(container, stream), max_seconds)
        has_picture = picture_stream(container) is not None
        joined = bytearray()
        clock, rate, start, count = Clock(), 0, 0.0, 0
        frames = (f for f in decoded(container, stream) if f.samples and f.sample_rate)
        for frame, time in believed(frames, lambda f: f.samples / f.sample_rate, ahead=32):
            _check_kind(
                name, frame.sample_rate, frame.layout.nb_channels, max_source_rate, max_channels
            )
            check_seconds(name, frame.samples / frame.sample_rate, max_seconds)
            samples = _mono(frame)
            if not rate:
                rate, start = frame.sample_rate, time or 0.0
            elif frame.sample_rate != rate:
                samples = resample(samples, frame.sample_rate, rate)
            expected = start + count / rate
            late = 0.0 if time is None else clock.fold(time, expected, expected) - expected
            there = (count + max(0.0, late) * rate + len(samples)) / min(rate, max_rate)
            check_seconds(name, there, max_seconds)
            if late > _JITTER:
                joined.extend(bytes(2 * round(late * rate)))
            elif late < -_JITTER:
                samples = samples[round(-late * rate) :]
            joined.extend(to_int16(samples).tobytes())
            count = len(joined) // 2
    if not count:
        raise MediaError(f"{name}: its sound cannot be decoded (truncated or damaged?)")
    samples = np.frombuffer(joined, np.int16)
    if rate > max_rate:
        samples = resample_int16(samples, rate, max_rate)
        rate = max_rate
    return Sound(samples, int(rate), float(start) if has_picture else 0.0)


def write_wav(path: str | os.PathLike, sound: Sound) -> None:
    """Writes a 16-bit mono WAV file; a WAV has no clock, so `sound.start` is not kept.

    Args:
        path: the file to write; it appears only when complete.
        sound: what to write.

    Raises:
        MediaError: the folder does not exist or cannot be written.
    """
    with replacing(path) as temporary, wave.open(temporary, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sound.rate)
        file.writeframes(sound.samples.astype("<i2").tobytes())


def speech_level(samples: Float[np.ndarray, "n"], rate: int) -> float:
    """Measures how loud the speech in a sound is, whatever the share of pauses.

    Blocks of 20 ms are gated as in ITU-R BS.1770: first those more than 50 dB below the loudest
    are left out, then those more than 10 dB below the mean power of the rest.

    Args:
        samples: mono, full scale 1.
        rate: samples per second.

    Returns:
        Level of the remaining blocks (RMS) in dB of full scale; -inf for digital silence.

    Raises:
        ConfigError: `rate` is not positive.
    """
    if rate <= 0:
        raise ConfigError(f"rate must be positive, got {rate}")
    block = max(1, round(0.02 * rate))
    if 0 < len(samples) < block:
        block = len(samples)
    blocks = samples[: len(samples) // block * block].reshape(-1, block)
    power = np.einsum("bi,bi->b", blocks, blocks, dtype=np.float64) / block
    if not len(power) or power.max() <= 0:
        return -math.inf
    power = power[power >= power.max() * 1e-5]
    for _ in range(2):
        power = power[power >= power.mean() * 0.1]
    return float(10 * np.log10(power.mean()))


def level_gain(level: float | int, settings: LogMel) -> float:
    """Returns the factor that brings speech of a level to `settings.level_db`.

    Args:
        level: result of `speech_level`, dB of full scale.
        settings: of the sound feature.

    Returns:
        Linear factor, at most +30 dB so that noise is not blown up; 1 for digital silence.
    """
    if level == -math.inf:
        return 1.0
    return float(10 ** (min(settings.level_db - level, 30.0) / 20))
