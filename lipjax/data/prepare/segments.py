# SPDX-License-Identifier: Apache-2.0
"""Where a source is cut into clips: shot cuts, faces out of sight, sound that ends, length."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Integer

from lipjax.data.schema import MEASURED, MISSING


@dataclasses.dataclass(frozen=True)
class Segment:
    """Frames start .. stop - 1 of a source become one clip."""

    start: int
    stop: int


def within(
    stretches: Sequence[tuple[float, float]], frames: int, fps: float
) -> Bool[np.ndarray, "T"]:
    """Returns which frames lie wholly in one of the stretches (seconds); none given means all."""
    if not stretches:
        return np.ones(frames, bool)
    begin = np.arange(frames) / fps
    end = (np.arange(frames) + 1) / fps
    inside = [(begin >= start - 1e-9) & (end <= stop + 1e-9) for start, stop in stretches]
    return np.any(inside, axis=0)


def plan(
    status: Integer[np.ndarray, "T"],
    usable: Bool[np.ndarray, "T"],
    cuts: Sequence[int],
    *,
    fps: float,
    max_seconds: float,
    min_frames: int,
) -> list[Segment]:
    """Cuts a source into clips.

    A clip holds no shot cut, no frame without a face and no frame that is not usable. Longer
    stretches than `max_seconds` are divided into equal parts. Stretches shorter than
    `min_frames`, and those in which most frames are interpolated, are left out.

    Args:
        status: MISSING, MEASURED or INTERPOLATED per frame.
        usable: which frames may be used at all.
        cuts: frames at which a new shot begins.
        fps: frames per second.
        max_seconds: longest clip.
        min_frames: shortest clip.

    Returns:
        Segments in order of time.
    """
    good = (status != MISSING) & usable
    edges = np.flatnonzero(np.diff(np.concatenate([[0], good.astype(np.int8), [0]])))
    longest = max(int(max_seconds * fps + 1e-6), min_frames)
    segments = []
    for start, stop in edges.reshape(-1, 2):
        inner = sorted(cut for cut in set(cuts) if start < cut < stop)
        bounds = [int(start), *map(int, inner), int(stop)]
        for first, last in zip(bounds[:-1], bounds[1:], strict=True):
            parts = max(1, math.ceil((last - first) / longest))
            marks = np.round(np.linspace(first, last, parts + 1)).astype(int).tolist()
            pairs = zip(marks[:-1], marks[1:], strict=True)
            segments += [Segment(a, b) for a, b in pairs if b - a >= min_frames]
    return [s for s in segments if np.mean(status[s.start : s.stop] == MEASURED) > 0.5]
