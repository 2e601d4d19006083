# SPDX-License-Identifier: Apache-2.0
"""What chance alone would show: the same numbers after the clips' sounds have been shuffled.

A shuffled pair is the motion of one clip with the sound of another of the same speaker. It keeps
everything that clips share (they begin and end in silence, their series change slowly) and
loses only what the analysis is after: that this sound belongs to this motion.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Float, Integer, Num

from lipjax.analysis.correlation import Recipe, best_offsets, correlations, histogram, means

_KEPT = 20_000  # shuffled pairs whose own r is kept, for the band of a single clip


@dataclasses.dataclass(frozen=True)
class Null:
    """What shufflings gave.

    Attributes:
        means: mean r over clips, by shuffling and offset.
        counts: histogram of best offsets, by shuffling and offset.
        single: r of single shuffled pairs.
    """

    means: Float[np.ndarray, "P O"]
    counts: Integer[np.ndarray, "P O"]
    single: Float[np.ndarray, "K O"]


def shuffles(speakers: Sequence[str], count: int, seed: int) -> Iterator[Integer[np.ndarray, "N"]]:
    """Yields random permutations of clips within each speaker.

    Clips of speakers who have one clip only are permuted among each other, so that as few as
    possible stay with their own sound. Permutations are uniform (some clips may stay in place):
    that makes the p values exact.

    Args:
        speakers: of each clip, "" if unknown.
        count: of permutations.
        seed: of the draw.
    """
    names = np.array(speakers, dtype=object)
    groups = [np.flatnonzero(names == name) for name in sorted(set(speakers))]
    lone = [group for group in groups if len(group) == 1]
    groups = [group for group in groups if len(group) > 1]
    if lone:
        groups.append(np.concatenate(lone))
    rng = np.random.default_rng(seed)
    for _ in range(count):
        order = np.arange(len(names))
        for group in groups:
            order[group] = rng.permutation(group)
        yield order


def shuffled(
    sound: Float[np.ndarray, "N T"],
    motion: Float[np.ndarray, "N T"],
    speakers: Sequence[str],
    recipe: Recipe,
    *,
    count: int,
    seed: int,
    tick: Callable[[int], None] = lambda done: None,
) -> Null:
    """Repeats a recipe with shuffled sounds.

    Args:
        sound: by clip and transition, NaN where unknown.
        motion: the same.
        speakers: of each clip.
        recipe: what is computed.
        count: of shufflings.
        seed: of the draw.
        tick: is told after each shuffling how many are done.
    """
    every_mean, every_count, single, kept = [], [], [], 0
    for order in shuffles(speakers, count, seed):
        r = correlations(sound[order], motion, recipe.offsets, chunk=recipe.chunk)
        best = best_offsets(r, only_positive=recipe.only_positive)
        every_mean.append(means(r))
        every_count.append(histogram(best, len(recipe.offsets)))
        if kept < _KEPT:
            single.append(r[order != np.arange(len(order))])
            kept += len(single[-1])
        tick(len(every_mean))
    return Null(np.stack(every_mean), np.stack(every_count), np.concatenate(single))


def band(
    values: Num[np.ndarray, "P O"], *, level: float = 0.95
) -> tuple[Float[np.ndarray, "O"], Float[np.ndarray, "O"]]:
    """Returns the pointwise band that holds `level` of the values of each column."""
    half = (1 - level) / 2
    known = np.isfinite(values)
    some = known.any(axis=0)
    filled = np.where(known | ~some, values, np.nan)
    low, high = np.nanquantile(np.where(some, filled, 0.0), [half, 1 - half], axis=0)
    return np.where(some, low, np.nan), np.where(some, high, np.nan)


@dataclasses.dataclass(frozen=True)
class Largest:
    """How far the farthest of many values stands from chance, all of them looked at.

    Attributes:
        position: which of them.
        z: its distance from the null's mean in the null's standard deviations, signed.
        p: share of shufflings whose farthest value stands as far out (two-sided).
        threshold: |z| that 5 % of the shufflings exceed somewhere.
    """

    position: int
    z: float
    p: float
    threshold: float


def largest(observed: Float[np.ndarray, "O"], null: Float[np.ndarray, "P O"]) -> Largest:
    """Tests all offsets at once by the distribution of the largest deviation (max statistic).

    Source: Westfall and Young, "Resampling-Based Multiple Testing", 1993.
    """
    middle = means(null)
    spread = np.sqrt(means(np.square(null - middle)))
    spread = np.where(spread > 0, spread, np.inf)
    z = np.nan_to_num((observed - middle) / spread)
    farthest = np.nan_to_num(np.abs((null - middle) / spread)).max(axis=1)
    position = int(np.argmax(np.abs(z)))
    p = (1 + np.sum(farthest >= abs(z[position]))) / (1 + len(null))
    return Largest(position, float(z[position]), float(p), float(np.quantile(farthest, 0.95)))


@dataclasses.dataclass(frozen=True)
class Fit:
    """A chi-square test: statistic, degrees of freedom (0 for a p by shuffling) and p."""

    chi_square: float
    freedom: int
    p: float


def flatness(counts: Integer[np.ndarray, "O"]) -> Fit:
    """Tests whether a histogram differs from an even one (Pearson's chi-square test)."""
    from scipy.stats import chi2

    freedom, total = len(counts) - 1, int(counts.sum())
    if not total:
        return Fit(float("nan"), freedom, float("nan"))
    statistic = float(np.square(counts - total / len(counts)).sum() / (total / len(counts)))
    return Fit(statistic, freedom, float(chi2.sf(statistic, freedom)))


def against_null(counts: Integer[np.ndarray, "O"], null: Integer[np.ndarray, "P O"]) -> Fit:
    """Tests whether a histogram differs from the mean one of the shufflings, p by shuffling.

    An even histogram is the wrong expectation where series change slowly: the outermost offsets
    win more often than others, for lack of a neighbour outside.
    """
    expected = np.maximum(null.mean(axis=0), 1 / len(null))
    expected = expected / expected.sum()

    every = np.concatenate([counts[None], null])
    wanted = np.maximum(every.sum(axis=1, keepdims=True) * expected, 1e-12)
    distance = (np.square(every - wanted) / wanted).sum(axis=1)
    p = (1 + np.sum(distance[1:] >= distance[0])) / (1 + len(null))
    return Fit(float(distance[0]), 0, float(p))


def power(shape: Sequence[int], clips: int, *, level: float = 0.05) -> float:
    """Returns how likely `flatness` notices a true histogram of this shape with so few clips.

    Args:
        shape: the true histogram, of any total.
        clips: that are looked at.
        level: p below which it counts as noticed.
    """
    from scipy.stats import chi2, ncx2

    share = np.array(shape) / sum(shape)
    excess = clips * float(np.square(share * len(share) - 1).sum()) / len(share)
    return float(ncx2.sf(chi2.isf(level, len(share) - 1), len(share) - 1, excess))


def own_above_other(
    r: Float[np.ndarray, "N O"], other: Float[np.ndarray, "K O"]
) -> Float[np.ndarray, "O"]:
    """Returns how often a clip's own sound has a higher r than another's; 0.5 is chance.

    Args:
        r: of true pairs, by clip and offset.
        other: of shuffled pairs.
    """
    share = np.full(r.shape[1], np.nan)
    for column in range(r.shape[1]):
        own = r[:, column][np.isfinite(r[:, column])]
        null = np.sort(other[:, column][np.isfinite(other[:, column])])
        if len(own) and len(null):
            below, upto = (np.searchsorted(null, own, side=side) for side in ("left", "right"))
            share[column] = (below + upto).mean() / 2 / len(null)
    return share


def peaks(
    r: Float[np.ndarray, "N O"], *, resamples: int = 2000, seed: int = 0
) -> Float[np.ndarray, "O"]:
    """Returns how often each offset carries the peak of the mean when clips are resampled."""
    clips = len(r)
    drawn = np.random.default_rng(seed).multinomial(clips, [1 / clips] * clips, size=resamples)
    known = np.isfinite(r)
    count = drawn @ known.astype(np.float64)
    total = drawn @ np.where(known, r, 0.0)
    tops = np.where(count > 0, total / np.maximum(count, 1), -np.inf).argmax(axis=1)
    return np.bincount(tops, minlength=r.shape[1]) / resamples
