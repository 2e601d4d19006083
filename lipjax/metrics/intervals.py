# SPDX-License-Identifier: Apache-2.0
"""How sure a mean is: bootstrap intervals that resample whole clips, never frames.

Frames of one clip resemble each other, so resampling frames would make intervals far too
narrow. For a difference of two rows, give the differences by clip: they stay paired.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Num


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean over clips with its 95 % interval; NaN throughout where no clip has a value."""

    mean: float
    low: float
    high: float
    clips: int


def bootstrap(
    values: Float[np.ndarray, "N"],
    weights: Num[np.ndarray, "N"] | None = None,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap of the weighted mean, by clip (Efron 1979).

    Args:
        values: one value per clip; clips with NaN do not count.
        weights: frames behind each value, so that each frame counts once; equal if not given.
        level: share of the resampled means inside the interval.
        resamples: how many times the clips are drawn with replacement.
        seed: of the draw; the same input gives the same interval.

    Returns:
        The mean and the interval; for a single clip the interval is NaN.
    """
    weights = np.ones(len(values)) if weights is None else weights.astype(np.float64)
    known = np.isfinite(values) & (weights > 0)
    values, weights = values[known].astype(np.float64), weights[known]
    count = len(values)
    if not count:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    mean = float(np.sum(values * weights) / np.sum(weights))
    if count == 1:
        return Interval(mean, float("nan"), float("nan"), 1)
    drawn = np.random.default_rng(seed).integers(count, size=(resamples, count))
    means = np.sum((values * weights)[drawn], axis=1) / np.sum(weights[drawn], axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean, float(low), float(high), count)
