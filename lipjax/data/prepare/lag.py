# SPDX-License-Identifier: Apache-2.0
"""Does the sound lie in time with the mouth? The lag at which opening and loudness agree best."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int16, Integer

from lipjax.data.schema import MISSING

MAX_LAG = 12
"""Frames searched to either side."""
CONFIDENT = 0.4
"""Correlation from which a clip has a say in its speaker's lag."""
CLEAR = 0.2
"""Margin from which one clip's own lag is believed: 2 % of such clips of GRID are mistaken."""
_STEP = 0.5
_WINDOW = 0.06  # seconds of the loudness window
_PRIOR = 0.005  # of the score per frame: small lags are likelier
_RANGE_DB = 50.0
_FEWEST = 20  # frames that must take part


def lip_opening(
    landmarks: Float[np.ndarray, "T 68 2"], status: Integer[np.ndarray, "T"]
) -> Float[np.ndarray, "T"]:
    """Returns the inner-lip distance (points 62, 66) in units of the clip's mouth width.

    Args:
        landmarks: 68 points in pixels.
        status: MISSING where there are none; the opening is NaN there.
    """
    points = landmarks.astype(np.float64)
    seen = status != MISSING
    if not seen.any():
        return np.full(len(points), np.nan)
    width = np.median(np.linalg.norm(points[seen, 48] - points[seen, 54], axis=-1))
    opening = np.linalg.norm(points[:, 62] - points[:, 66], axis=-1) / max(width, 1e-6)
    return np.where(seen, opening, np.nan)


def loudness(
    sound: Int16[np.ndarray, "samples"], rate: int, times: Float[np.ndarray, "*n"]
) -> Float[np.ndarray, "*n"]:
    """Returns the level of a sound around given times, dB, within 50 dB below its maximum.

    Args:
        sound: samples.
        rate: samples per second.
        times: seconds after sample 0's left edge; NaN comes back outside the sound.
    """
    total = np.concatenate([[0.0], np.cumsum((sound.astype(np.float64) / 32768.0) ** 2)])
    half = _WINDOW / 2 * rate
    middle = times * rate
    low = np.clip(np.round(middle - half), 0, len(sound)).astype(np.int64)
    high = np.clip(np.round(middle + half), 0, len(sound)).astype(np.int64)
    power = (total[high] - total[low]) / np.maximum(high - low, 1)
    level = 10.0 * np.log10(np.maximum(power, 1e-12))
    inside = (middle >= 0) & (middle <= len(sound))
    if not inside.any():
        return np.full(times.shape, np.nan)
    return np.where(inside, np.maximum(level, level[inside].max() - _RANGE_DB), np.nan)


class Estimate(NamedTuple):
    """How far the sound lies from the lips.

    Attributes:
        lag: frames by which the sound comes late; NaN if unknown.
        correlation: height of the peak; NaN if unknown.
        margin: how far the peak stands above any more than 3 frames away.
    """

    lag: float
    correlation: float
    margin: float


def estimate(
    opening: Float[np.ndarray, "T"],
    sound: Int16[np.ndarray, "samples"],
    rate: int,
    sound_start: float,
    *,
    fps: float,
) -> Estimate:
    """Finds by how many frames the sound comes later than the lips.

    Three correlations are weighed at lags of half frames within 12 frames: lip opening with
    loudness, their changes, and the speed of the lips with loudness. The first alone is often
    mistaken by a syllable. The peak is refined by a parabola.

    Args:
        opening: per frame, NaN where unknown.
        sound: samples.
        rate: samples per second.
        sound_start: time of sample 0 on the clip's clock, seconds.
        fps: frames per second.

    Returns:
        The lag in frames, positive if the sound is late; NaN where nothing moves, nothing sounds
        or too little is known.
    """
    known = np.flatnonzero(np.isfinite(opening))
    lags = np.arange(-MAX_LAG, MAX_LAG + _STEP / 2, _STEP)
    unknown = Estimate(math.nan, math.nan, math.nan)
    if len(known) < min(_FEWEST, len(opening)) or len(known) < 2:
        return unknown
    frames = (np.arange(len(opening)) + 0.5) / fps
    levels = loudness(sound, rate, frames[None] + lags[:, None] / fps - sound_start)
    filled = np.interp(np.arange(len(opening)), known, opening[known])
    change = np.gradient(_smooth(filled, 0.8))
    speed = _smooth(np.abs(np.gradient(filled)), 1.5)
    scores = np.array(
        [
            0.5 * _correlation(filled, level)
            + 0.25 * _correlation(change, np.gradient(level))
            + 0.25 * _correlation(speed, level)
            for level in levels
        ]
    )
    likely = scores - _PRIOR * np.abs(lags)
    if not np.isfinite(likely).any():
        return unknown
    best = int(np.nanargmax(likely))
    lag, peak = lags[best], scores[best]
    rivals = likely[(np.abs(lags - lag) > 3) & np.isfinite(likely)]
    margin = float(likely[best] - rivals.max()) if len(rivals) else 0.0
    if 0 < best < len(lags) - 1:
        before, after = likely[best - 1], likely[best + 1]
        bend = before - 2 * likely[best] + after
        if np.isfinite(bend) and bend < 0:
            lag += _STEP * 0.5 * (before - after) / bend
    return Estimate(float(lag), float(peak), margin)


def _smooth(values: np.ndarray, deviation: float) -> np.ndarray:
    reach = math.ceil(4 * deviation)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    return np.convolve(np.pad(values, reach, "edge"), kernel / kernel.sum(), "valid")


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    known = np.isfinite(x) & np.isfinite(y)
    if known.sum() < min(_FEWEST, len(x)):
        return math.nan
    x, y = x[known] - x[known].mean(), y[known] - y[known].mean()
    scale = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / scale if scale > 1e-9 else math.nan


def typical(lags: Sequence[float], correlations: Sequence[float]) -> float:
    """Returns the median lag of the clips that have a say, NaN if fewer than three are."""
    heard = [
        lag for lag, r in zip(lags, correlations, strict=True) if r >= CONFIDENT
    ]  # NaN compares as false
    return float(np.median(heard)) if len(heard) >= 3 else math.nan
