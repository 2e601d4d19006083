# SPDX-License-Identifier: Apache-2.0
"""The analysis as one picture: example clips, means and histograms, each before its null."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lipjax.analysis import null as chance
from lipjax.analysis.correlation import ABSOLUTE, CHANGE, ENERGY, PUBLISHED, PUBLISHED_BOTH, means
from lipjax.analysis.result import Result
from lipjax.errors import ConfigError

_INK, _TRUE, _NULL = "#222222", "#1f5fa8", "#b9b9b9"
_AXIS = "offset in frames (positive: motion after sound)"


def draw(
    path: Path, results: Mapping[str, Result], examples: Mapping[str, int], *, title: str
) -> Path:
    """Writes the picture of an analysis.

    Args:
        path: PNG file to write.
        results: name of a recipe -> what it found, of all `RECIPES`.
        examples: what an example clip is called -> its row.
        title: above the picture.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError("plots need matplotlib: pip install 'lipjax[media]'") from error

    figure = Figure(figsize=(17, 11.5), dpi=100, layout="constrained")
    figure.suptitle(title, fontsize=14)
    axes = figure.subplots(3, 4)
    both, forward = results[PUBLISHED_BOTH.name], results[PUBLISHED.name]
    _examples(axes[0, 0], both, examples, "single clips, as published")
    _mean(axes[0, 1], both, "mean over clips, as published")
    for panel in axes[0, :2]:
        panel.axvspan(-8.5, -0.5, color="#f6e7d8", zorder=0)
        panel.text(-8.2, 0.98, "not in the paper", transform=_top(panel), va="top", fontsize=10)
    _histogram(axes[0, 2], forward, "best offsets, as published")
    _histogram(axes[0, 3], both, "best offsets, as published, both ways")
    _examples(axes[1, 0], results[ENERGY.name], examples, "single clips, log-mel energy itself")
    named = {CHANGE.name: "change of energy", ABSOLUTE.name: "|change|", ENERGY.name: "energy"}
    for column, (name, words) in enumerate(named.items(), start=1):
        _mean(axes[1, column], results[name], f"mean over clips, {words}, whole clips")
        _histogram(axes[2, column], results[name], f"best offsets, {words}, whole clips")
    _legend(axes[2, 0], axes[0, 1], axes[0, 2], axes[0, 0])
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png")
    return path


def _top(panel: Any) -> Any:
    """Offsets along x, share of the height along y."""
    return panel.get_xaxis_transform()


def _dress(panel: Any, result: Result, title: str, y: str) -> None:
    offsets = result.recipe.offsets
    panel.set_title(title, fontsize=11)
    panel.set_xlabel(_AXIS, fontsize=10)
    panel.set_ylabel(y, fontsize=10)
    panel.set_xticks(offsets if len(offsets) < 10 else offsets[::2])
    panel.set_xlim(offsets[0] - 0.5, offsets[-1] + 0.5)
    panel.grid(alpha=0.25)


def _examples(panel: Any, result: Result, examples: Mapping[str, int], title: str) -> None:
    offsets = result.recipe.offsets
    low, high = chance.band(result.null.single)
    panel.fill_between(offsets, low, high, color=_NULL, alpha=0.6, label="shuffled pairs, 95 %")
    for name, row in examples.items():
        panel.plot(offsets, result.r[row], marker=".", linewidth=1.4, label=name)
    panel.axhline(0, color=_INK, linewidth=0.8)
    _dress(panel, result, title, "r of the clip")


def _mean(panel: Any, result: Result, title: str) -> None:
    offsets, middle = result.recipe.offsets, means(result.null.means)
    low, high = chance.band(result.null.means)
    farthest = result.farthest
    panel.fill_between(offsets, low, high, color=_NULL, label="shuffled pairs, 95 % at each offset")
    spread = np.sqrt(means(np.square(result.null.means - middle)))
    for sign in (-1, 1):
        wide = middle + sign * farthest.threshold * spread
        label = "95 % over all offsets" if sign > 0 else None
        panel.plot(offsets, wide, color="#777777", linestyle=":", linewidth=1.2, label=label)
    panel.plot(offsets, result.mean, color=_TRUE, marker="o", linewidth=1.8, label="true pairs")
    panel.axhline(0, color=_INK, linewidth=0.8)
    _dress(panel, result, f"{title}\np {farthest.p:.2g} over all offsets", "mean r")


def _histogram(panel: Any, result: Result, title: str) -> None:
    offsets = result.recipe.offsets
    low, high = chance.band(result.null.counts)
    middle = result.null.counts.mean(axis=0)
    panel.bar(offsets, result.counts, width=0.72, color=_TRUE, label="true pairs")
    panel.errorbar(
        offsets,
        middle,
        yerr=np.abs(np.stack([middle - low, high - middle])),
        fmt="s",
        color=_INK,
        markersize=4,
        capsize=4,
        label="shuffled pairs, mean and 95 %",
    )
    even = chance.flatness(result.counts)
    other = chance.against_null(result.counts, result.null.counts)
    dropped = f", {result.dropped} dropped" if result.dropped else ""
    tests = f"p {even.p:.2g} against even, {other.p:.2g} against shuffled"
    _dress(panel, result, f"{title}{dropped}\n{tests}", "clips")


def _legend(panel: Any, mean: Any, bars: Any, examples: Any) -> None:
    """One legend for all panels, in a panel of its own."""
    from matplotlib.legend import Legend

    panel.axis("off")
    places = (("means", mean, 1.0), ("best offsets", bars, 0.7), ("single clips", examples, 0.46))
    for title, source, height in places:
        panel.add_artist(
            Legend(
                panel,
                *source.get_legend_handles_labels(),
                title=title,
                loc="upper left",
                bbox_to_anchor=(0.0, height),
                bbox_transform=panel.transAxes,
                fontsize=10,
                title_fontsize=11,
                frameon=False,
                alignment="left",
            )
        )
