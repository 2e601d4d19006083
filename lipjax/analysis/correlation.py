# SPDX-License-Identifier: Apache-2.0
"""How a sound and a motion go together at each offset: the numbers of the paper's Fig. 4.

Sign of an offset, everywhere: positive means that the motion comes after the sound, so offset k
pairs the sound at transition t with the motion at transition t + k.

Series of unequal length stand in one array, NaN where there is no value.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Integer

CHUNK = 16
"""Transitions per chunk of the authors' code, as many as a window of theirs has frames."""
FARTHEST = 8
"""Largest offset in frames, to either side."""
NONE = -1
"""Best offset of a clip that has none."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One way to ask at which offset sound and motion go together best.

    Attributes:
        name: short, for JSON.
        title: for people.
        sound: which series of the sound (see `lipjax.analysis.series`).
        offsets: in frames, ascending; positive: the motion comes after the sound.
        chunk: transitions per chunk whose correlations are averaged; None for the whole clip.
        only_positive: a clip without a positive correlation has no best offset and is dropped.
    """

    name: str
    title: str
    sound: str
    offsets: tuple[int, ...]
    chunk: int | None = None
    only_positive: bool = False


_FORWARD, _BOTH = tuple(range(FARTHEST)), tuple(range(-FARTHEST, FARTHEST + 1))
PUBLISHED = Recipe("published", "as published", "lms_change", _FORWARD, CHUNK, True)
PUBLISHED_BOTH = Recipe(
    "published_both_ways", "as published, both ways", "lms_change", _BOTH, CHUNK, True
)
CHANGE = Recipe("change", "change of log-mel energy", "change", _BOTH)
ABSOLUTE = Recipe("absolute_change", "size of that change", "absolute_change", _BOTH)
ENERGY = Recipe("energy", "log-mel energy itself", "energy", _BOTH)
RECIPES = (PUBLISHED, PUBLISHED_BOTH, CHANGE, ABSOLUTE, ENERGY)
"""The first two as the authors' code has them, the others by whole clips without dropping any."""


def shifted(
    sound: Float[np.ndarray, "*n T"], motion: Float[np.ndarray, "*n T"], offset: int
) -> tuple[Float[np.ndarray, "*n t"], Float[np.ndarray, "*n t"]]:
    """Pairs sound at t with motion at t + offset.

    Args:
        sound: by transition.
        motion: by transition.
        offset: in transitions; positive: the motion comes after the sound.

    Returns:
        Both, as long as they overlap.
    """
    steps = sound.shape[-1]
    if offset >= 0:
        return sound[..., : max(steps - offset, 0)], motion[..., offset:]
    return sound[..., -offset:], motion[..., : max(steps + offset, 0)]


def pearson(x: Float[np.ndarray, "*n t"], y: Float[np.ndarray, "*n t"]) -> Float[np.ndarray, "*n"]:
    """Pearson's r over the last axis where both are known; NaN where one does not vary."""
    known = np.isfinite(x) & np.isfinite(y)
    count = np.maximum(known.sum(-1, keepdims=True), 1)
    x, y = np.where(known, x, 0.0), np.where(known, y, 0.0)
    dx = np.where(known, x - x.sum(-1, keepdims=True) / count, 0.0)
    dy = np.where(known, y - y.sum(-1, keepdims=True) / count, 0.0)
    xx, yy, xy = (dx * dx).sum(-1), (dy * dy).sum(-1), (dx * dy).sum(-1)
    varies = (xx > 1e-18 * (x * x).sum(-1)) & (yy > 1e-18 * (y * y).sum(-1))
    return np.where(varies, xy / np.sqrt(np.where(varies, xx * yy, 1.0)), np.nan)


def correlations(
    sound: Float[np.ndarray, "N T"],
    motion: Float[np.ndarray, "N T"],
    offsets: Sequence[int],
    *,
    chunk: int | None = None,
) -> Float[np.ndarray, "N O"]:
    """Correlates each clip's sound with its motion at each offset.

    Args:
        sound: by clip and transition, NaN where unknown.
        motion: the same.
        offsets: in transitions; positive: the motion comes after the sound.
        chunk: length of chunks that do not overlap, counted from the first pair on; their r is
            averaged, an incomplete one does not count. None correlates all pairs at once.

    Returns:
        r; NaN where nothing can be said (with chunks: where one of them does not vary).

    Source: the authors' code, as `find_delay_for_each_video.py` computes it.
    """
    found = np.full((len(sound), len(offsets)), np.nan)
    for number, offset in enumerate(offsets):
        x, y = shifted(sound, motion, offset)
        if chunk is None:
            found[:, number] = pearson(x, y)
            continue
        chunks = x.shape[-1] // chunk
        if not chunks:
            continue
        x = x[:, : chunks * chunk].reshape(len(x), chunks, chunk)
        y = y[:, : chunks * chunk].reshape(len(y), chunks, chunk)
        complete = (np.isfinite(x) & np.isfinite(y)).all(-1)
        total = np.where(complete, pearson(x, y), 0.0).sum(-1)
        number_of = complete.sum(-1)
        found[:, number] = np.where(number_of > 0, total / np.maximum(number_of, 1), np.nan)
    return found


def best_offsets(
    r: Float[np.ndarray, "N O"], *, only_positive: bool = False
) -> Integer[np.ndarray, "N"]:
    """Returns the position of each clip's largest (signed) r, NONE where there is none.

    Args:
        r: by clip and offset, NaN where unknown.
        only_positive: the search begins at 0, as published: a clip without a positive r drops out.
    """
    floor = 0.0 if only_positive else -np.inf
    filled = np.where(np.isfinite(r), r, -np.inf)
    best = filled.argmax(axis=-1)
    return np.where(filled.max(axis=-1) > floor, best, NONE)


def histogram(best: Integer[np.ndarray, "N"], offsets: int) -> Integer[np.ndarray, "O"]:
    """Counts how often each position is best; clips without one do not count."""
    return np.bincount(best[best != NONE], minlength=offsets)


def means(r: Float[np.ndarray, "N O"]) -> Float[np.ndarray, "O"]:
    """Mean over clips by offset, clips without a value left out; NaN where none has one."""
    known = np.isfinite(r)
    count = known.sum(0)
    total = np.where(known, r, 0.0).sum(0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
