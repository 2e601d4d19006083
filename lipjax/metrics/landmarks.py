# SPDX-License-Identifier: Apache-2.0
"""Lips against lips: landmark distance, opening, its correlation, silence and closures.

Points follow the 68-point scheme: the mouth is 48..67, its corners are 48 and 54, the middle
of the inner lips is 62 (upper) and 66 (lower).
"""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Float

from lipjax.data.schema import Span

MOUTH = slice(48, 68)
CROP_PIXELS, CROP_PER_MOUTH_WIDTH = 64, 1.3
CLOSING_PHONES = frozenset("pbm")


def lmd_unit(mouth_width: float) -> float:
    """The pixel in which LMD is given: that of a 64-pixel crop 1.3 mouth widths wide.

    Args:
        mouth_width: the clip's median true mouth width, in pixels of the landmarks.

    Returns:
        Length of the unit in the same pixels.
    """
    return CROP_PER_MOUTH_WIDTH * mouth_width / CROP_PIXELS


def lmd(
    prediction: Float[np.ndarray, "T P 2"], target: Float[np.ndarray, "T P 2"], *, unit: float = 1.0
) -> Float[np.ndarray, "T"]:
    """Landmark distance of each frame (Chen et al. 2018): mean over points, each set centred.

    Each set is centred on its own mean, so the place of the mouth in the picture does not
    count. Average over frames for the clip's LMD. ATVGnet's code sums over points instead
    (20 times this for the mouth).

    Args:
        prediction: the points to compare, usually the 20 of the mouth.
        target: the true points, in the same pixels.
        unit: length of the unit of the result in those pixels (`lmd_unit`).

    Returns:
        Mean Euclidean distance per frame; NaN where a point is missing.

    Example:
        >>> mouth = np.random.default_rng(0).uniform(0, 64, (25, 20, 2)).astype(np.float32)
        >>> moved = mouth + np.float32(3)  # where the mouth is does not count
        >>> distances = lipjax.lmd(mouth, moved)
        >>> distances.shape, bool(distances.max() < 1e-4)
        ((25,), True)
    """
    first = prediction.astype(np.float64) - prediction.mean(axis=1, keepdims=True, dtype=np.float64)
    second = target.astype(np.float64) - target.mean(axis=1, keepdims=True, dtype=np.float64)
    return np.linalg.norm(first - second, axis=-1).mean(axis=-1) / unit


def mouth_width(landmarks: Float[np.ndarray, "T 68 2"]) -> float:
    """Median distance between the mouth corners, in pixels of the landmarks; NaN if none."""
    width = np.linalg.norm(landmarks[:, 54] - landmarks[:, 48], axis=-1)
    width = width[np.isfinite(width)]
    return float(np.median(width)) if len(width) else float("nan")


def opening(landmarks: Float[np.ndarray, "T 68 2"]) -> Float[np.ndarray, "T"]:
    """Vertical distance between the inner lips (points 62 and 66), in pixels of the landmarks."""
    return landmarks[:, 66, 1] - landmarks[:, 62, 1]


def correlation(first: Float[np.ndarray, "T"], second: Float[np.ndarray, "T"]) -> float:
    """Pearson's r of two series over the frames where both are finite.

    Returns:
        r in [-1, 1]; NaN where a series is constant or fewer than three frames remain.
    """
    both = np.isfinite(first) & np.isfinite(second)
    a, b = first[both].astype(np.float64), second[both].astype(np.float64)
    if len(a) < 3:
        return float("nan")
    a, b = a - a.mean(), b - b.mean()
    power = np.sqrt(np.sum(a * a) * np.sum(b * b))
    # A still mouth has no correlation; rounding leaves it a power of some 1e-14.
    if power <= 1e-9 * max(1.0, len(a)):
        return float("nan")
    return float(np.clip(np.sum(a * b) / power, -1.0, 1.0))


def silence(landmarks: Float[np.ndarray, "T 68 2"], *, width: float) -> tuple[float, float]:
    """How far the mouth opens, and how much it moves, while nothing is said.

    Args:
        landmarks: points of frames that were spoken from digital silence.
        width: the clip's median true mouth width, in the same pixels.

    Returns:
        Mean and standard deviation of the opening, in mouth widths.
    """
    relative = opening(landmarks) / width
    return float(np.nanmean(relative)), float(np.nanstd(relative))


def closure(
    openings: Float[np.ndarray, "T"],
    spans: Iterable[Span],
    *,
    fps: float,
    threshold: float,
    slack: float = 0.5,
) -> Bool[np.ndarray, "N"]:
    """Whether the lips meet in each /p/, /b/ and /m/.

    Args:
        openings: opening of each frame in mouth widths; NaN where unknown.
        spans: the clip's spans; phones named p, b or m count, with or without stress marks.
        fps: frames per second; frame n is at (n + 1/2) / fps.
        threshold: the lips have met where the opening is at most this.
        slack: frames by which a span is widened on both sides, so that each holds a frame.

    Returns:
        One value per span that holds at least one known frame.
    """
    time = (np.arange(len(openings)) + 0.5) / fps
    closed = []
    for span in spans:
        if span.kind != "phone" or span.text.strip("ˈˌ:0123456789").lower() not in CLOSING_PHONES:
            continue
        inside = (time >= span.start - slack / fps) & (time <= span.end + slack / fps)
        known = openings[inside & np.isfinite(openings)]
        if len(known):
            closed.append(bool(known.min() <= threshold))
    return np.array(closed, bool)
