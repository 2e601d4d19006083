# SPDX-License-Identifier: Apache-2.0
"""A clip as two series, one value per transition between frames: how its sound and lips change.

Transition t lies between frames t and t + 1. Its motion is the mean length of the optical flow
between them; its change of energy is that of frame t + 1's sound less that of frame t's. Both are
centred on the moment when frame t gives way to frame t + 1.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Float32, Float64, Int16

from lipjax.data.schema import MISSING, Clip
from lipjax.data.views import clip_log_mel, cut_log_mel, resize
from lipjax.media.log_mel import LogMel
from lipjax.media.optical_flow import farneback
from lipjax.media.resampling import resample, to_float

SIZE = 64
"""Side in pixels of the mouth crops whose motion is measured."""
FEWEST = 25
"""Frames a clip needs: one chunk of 16 transitions is left at an offset of 8."""
_AUTHORS = LogMel(rate=44_100, hop=512, window=1024, n_fft=1024, bands=128, fmax=16_000)


@dataclasses.dataclass(frozen=True)
class Series:
    """What the analysis keeps of a clip.

    Attributes:
        motion: mean length of the flow by transition, pixels of 64-pixel crops per frame.
        lms_change: change of the authors' log-mel by transition, dB.
        energy: mean of lipjax's log-mel around each transition, dB; NaN where there is no sound.
        change: change of that from frame to frame, dB.
    """

    motion: Float[np.ndarray, "t"]
    lms_change: Float[np.ndarray, "t"]
    energy: Float[np.ndarray, "t"]
    change: Float[np.ndarray, "t"]

    @property
    def absolute_change(self) -> Float[np.ndarray, "t"]:
        """Size of `change`, dB."""
        return np.abs(self.change)


def why_not(clip: Clip) -> str:
    """Returns why a clip cannot take part, "" if it can."""
    if clip.num_frames < FEWEST:
        return f"shorter than {FEWEST} frames"
    if np.any(clip.landmark_status == MISSING):
        return "frames without landmarks"
    if not len(clip.sound) or not np.any(_own_sound(clip)):
        return "no sound"
    if clip.sound_rate < LogMel().rate:
        return f"sound below {LogMel().rate} samples per second"
    return ""


def series_of(clip: Clip) -> Series:
    """Measures a clip that `why_not` lets pass."""
    energy = frame_energy(clip)
    return Series(
        motion=motion(resize(clip.mouth, SIZE)),
        lms_change=np.diff(authors_log_mel(_own_sound(clip), clip.sound_rate, clip.num_frames)),
        energy=(energy[1:] + energy[:-1]) / 2,
        change=np.diff(energy),
    )


def motion(images: np.ndarray) -> Float64[np.ndarray, "t"]:
    """Returns the mean length of the Farnebäck flow between pictures (uint8, T H W 3), pixels."""
    return np.linalg.norm(farneback(images), axis=-1).mean(axis=(1, 2), dtype=np.float64)


def frame_energy(clip: Clip) -> Float64[np.ndarray, "T"]:
    """Returns the mean of the log-mel over bands and the time of each frame, dB of full scale.

    Frame n's time is [n, n + 1) / fps on the clip's clock; NaN where the sound does not cover it.
    """
    settings = LogMel()
    feature = clip_log_mel(clip, settings)
    starts = np.arange(clip.num_frames) / clip.fps
    columns = [cut_log_mel(feature, t, t + 1 / clip.fps, settings) for t in starts]
    level = np.array([column.mean(dtype=np.float64) for column in columns])
    decibels = (1 - level) * settings.floor_db / 2
    end = clip.sound_start + len(clip.sound) / clip.sound_rate
    inside = (starts >= clip.sound_start - 1e-6) & (starts + 1 / clip.fps <= end + 1e-3)
    return np.where(inside, decibels, np.nan)


def _own_sound(clip: Clip) -> Int16[np.ndarray, "n"]:
    """The samples between the clip's first frame and its last, as far as there are any."""
    rate = clip.sound_rate
    first = max(0, round(-clip.sound_start * rate))
    last = round((clip.num_frames / clip.fps - clip.sound_start) * rate)
    return clip.sound[first : max(first, last)]


def authors_log_mel(
    samples: Int16[np.ndarray, "n"], rate: int, frames: int
) -> Float64[np.ndarray, "frames"]:
    """Returns the mean of the authors' log-mel of each frame, dB.

    The sound is cut into as many equal pieces as there are frames, whatever the clocks say; each
    piece is transformed by itself, mirrored at its ends, with a floor 80 dB below its own loudest
    value.

    Args:
        samples: the sound of the clip; brought to 44.1 kHz.
        rate: samples per second.
        frames: of the clip.

    Source: the authors' `grid_data.py`.
    """
    loud = resample(to_float(samples), rate, _AUTHORS.rate) * np.float32(32768)
    length = len(loud) / frames
    edges = [(int(i * length), int(i * length + length)) for i in range(frames)]
    return np.array([_piece(loud[first:last]) for first, last in edges])


def _piece(samples: Float32[np.ndarray, "n"]) -> float:
    """Mean of the log-mel of one piece of sound."""
    half = _AUTHORS.n_fft // 2
    if len(samples) <= half:
        return float("nan")
    padded = np.pad(samples.astype(np.float64), half, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, _AUTHORS.n_fft)[:: _AUTHORS.hop]
    power = np.abs(np.fft.rfft(windows * _AUTHORS.taper())) ** 2 @ _AUTHORS.filters().T
    decibels = 10 * np.log10(np.maximum(power, 1e-10))
    return float(np.maximum(decibels, decibels.max() - 80).mean())
