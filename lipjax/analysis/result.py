# SPDX-License-Identifier: Apache-2.0
"""What one recipe found, beside its null: numbers for JSON, sentences for people."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

from lipjax.analysis import null as chance
from lipjax.analysis.correlation import (
    NONE,
    Recipe,
    best_offsets,
    correlations,
    histogram,
    means,
)

PUBLISHED_COUNTS = {
    "released, -8 to 8": (
        *(191, 172, 193, 175, 184, 198, 191, 182, 181),
        *(191, 202, 213, 189, 203, 208, 184, 203),
    ),
    "figure of the paper, 0 to 7, read off": (350, 405, 460, 455, 400, 430, 400, 350),
}
"""The authors' histograms of best offsets: the last one plotted in their code, and the paper's."""


@dataclasses.dataclass(frozen=True)
class Result:
    """A recipe applied to true and to shuffled pairs.

    Attributes:
        recipe: what was computed.
        r: by clip and offset.
        best: position of each clip's best offset, NONE for a dropped clip.
        null: the same for shuffled pairs.
        peaks: how often each offset carries the peak of the mean when clips are resampled.
    """

    recipe: Recipe
    r: Float[np.ndarray, "N O"]
    best: Integer[np.ndarray, "N"]
    null: chance.Null
    peaks: Float[np.ndarray, "O"]

    @property
    def mean(self) -> Float[np.ndarray, "O"]:
        """Mean r over clips by offset."""
        return means(self.r)

    @property
    def counts(self) -> Integer[np.ndarray, "O"]:
        """Clips by best offset."""
        return histogram(self.best, len(self.recipe.offsets))

    @property
    def dropped(self) -> int:
        """Clips without a best offset."""
        return int(np.sum(self.best == NONE))

    @property
    def farthest(self) -> chance.Largest:
        """The mean r that stands farthest from chance, tested over all offsets."""
        return chance.largest(self.mean, self.null.means)

    @property
    def peak(self) -> int:
        """Position of the largest mean r."""
        return int(np.argmax(np.nan_to_num(self.mean, nan=-np.inf)))

    def facts(self) -> dict[str, Any]:
        """All numbers, as JSON can hold them."""
        low, high = chance.band(self.null.means)
        fewest, most = chance.band(self.null.counts)
        offsets, farthest = self.recipe.offsets, self.farthest
        return {
            "recipe": {**dataclasses.asdict(self.recipe), "offsets": list(offsets)},
            "mean_r": {
                "of_clips": self.mean.tolist(),
                "shuffled": means(self.null.means).tolist(),
                "shuffled_95_low": low.tolist(),
                "shuffled_95_high": high.tolist(),
                "peak_offset": offsets[self.peak],
                "peak_offset_when_clips_are_resampled": dict(
                    zip(offsets, self.peaks.tolist(), strict=True)
                ),
                "farthest_from_shuffled_offset": offsets[farthest.position],
                "farthest_z": farthest.z,
                "farthest_p_over_all_offsets": farthest.p,
                "z_that_5_percent_of_shufflings_exceed": farthest.threshold,
            },
            "best_offsets": {
                "counts": self.counts.tolist(),
                "dropped": self.dropped,
                "shuffled_mean": self.null.counts.mean(axis=0).tolist(),
                "shuffled_95_low": fewest.tolist(),
                "shuffled_95_high": most.tolist(),
                "shuffled_dropped_mean": len(self.best) - float(self.null.counts.sum(1).mean()),
                "against_even": dataclasses.asdict(chance.flatness(self.counts)),
                "against_shuffled": _without_freedom(
                    chance.against_null(self.counts, self.null.counts)
                ),
            },
            "own_above_other": chance.own_above_other(self.r, self.null.single).tolist(),
        }

    def text(self) -> str:
        """The same in plain words."""
        offsets, mean, shuffled = self.recipe.offsets, self.mean, means(self.null.means)
        even = chance.flatness(self.counts)
        other = chance.against_null(self.counts, self.null.counts)
        peak, farthest = self.peak, self.farthest
        told = f"{self.recipe.title}, offsets {offsets[0]} to {offsets[-1]}:\n"
        told += f"  best offsets of {self.counts.sum()} clips"
        told += f" ({self.dropped} dropped)" if self.dropped else ""
        told += f" {_verdict(even.p)} from an even histogram (p {even.p:.2g})"
        told += f" and {_verdict(other.p)} from shuffled pairs (p {other.p:.2g});\n"
        told += f"  mean r is highest at {offsets[peak]:+d}: {mean[peak]:.3f}"
        told += f" (shuffled {shuffled[peak]:.3f});"
        at = farthest.position
        told += f" it stands farthest from shuffled at {offsets[at]:+d}: {mean[at]:.3f}"
        told += f" (shuffled {shuffled[at]:.3f}, p {farthest.p:.2g} over all offsets)"
        return told


def _verdict(p: float) -> str:
    return "differ" if p < 0.05 else "do not differ"


def _without_freedom(fit: chance.Fit) -> dict[str, float]:
    return {"chi_square": fit.chi_square, "p": fit.p}


def measure(
    recipe: Recipe,
    sound: Float[np.ndarray, "N T"],
    motion: Float[np.ndarray, "N T"],
    speakers: Sequence[str],
    *,
    shufflings: int,
    seed: int,
    tick: Callable[[int], None] = lambda done: None,
) -> Result:
    """Applies a recipe to clips, and to shuffled pairs of them.

    Args:
        recipe: what is computed.
        sound: the recipe's series by clip and transition, NaN where unknown.
        motion: by clip and transition.
        speakers: of each clip.
        shufflings: how many.
        seed: of the shufflings and of the resampling of clips.
        tick: is told after each shuffling how many are done.
    """
    r = correlations(sound, motion, recipe.offsets, chunk=recipe.chunk)
    null = chance.shuffled(sound, motion, speakers, recipe, count=shufflings, seed=seed, tick=tick)
    best = best_offsets(r, only_positive=recipe.only_positive)
    return Result(recipe, r, best, null, chance.peaks(r, seed=seed))


def change_and_slope(change: Result, energy: Result) -> float:
    """Tells whether the curve of the change is but the slope of the curve of the energy.

    A bump of r around offset 0 between energy and motion must give, once the energy is
    differentiated, r below 0 before it and above 0 after it, though nothing is delayed.

    Returns:
        Pearson's r, over offsets, of the first curve with the central difference of the second,
        both less their shuffled mean; near 1 where it is.
    """
    excess = energy.mean - means(energy.null.means)
    slope = (excess[:-2] - excess[2:]) / 2
    curve = (change.mean - means(change.null.means))[1:-1]
    known = np.isfinite(slope) & np.isfinite(curve)
    if known.sum() < 3 or not (np.ptp(slope[known]) and np.ptp(curve[known])):
        return float("nan")
    return float(np.corrcoef(slope[known], curve[known])[0, 1])
