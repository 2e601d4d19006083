# SPDX-License-Identifier: Apache-2.0
"""The held-out side of `correlation_forms.py`: windows, the reference, the summary, the figure."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from lipjax.builders.data import streams_of
from lipjax.data.anchors import Anchors
from lipjax.data.reading import open_corpus
from lipjax.data.views import View
from lipjax.metrics.intervals import bootstrap

PUBLISHED, COLLAPSED, OURS = "published", "published loss, our encoders", "ours"
UNTRAINED = "energy and size of flow"
"""The reference: Pearson's r of two curves, nothing learned."""
PAIRS = ("own sound", "another clip's sound", "noise for sound", "no motion")
GRID, FRAMES = 16, 16
Runs = Sequence[Sequence[Mapping[str, Any]]]
"""Seed -> what was measured at each stop along its training."""


@dataclasses.dataclass(frozen=True)
class Windows:
    """All windows of a split.

    Attributes:
        flow: [N T-1 g g 2], pixels of its own grid.
        log_mel: [N C F].
        clip, start: which clip, and the first frame in it.
    """

    flow: np.ndarray
    log_mel: np.ndarray
    clip: np.ndarray
    start: np.ndarray


def windows_of(corpus: Path, split: str, config: ConfigDict, stride: int) -> Windows:
    """Cuts the windows of a split that begin at every `stride`-th frame."""
    streams = dataclasses.replace(streams_of(config.data), mouth_size=GRID)
    clips = Anchors(open_corpus(corpus), split, streams, FRAMES, 1.0, ["flow"])
    views = View("flow", FRAMES - 1), View("log_mel", FRAMES)
    rows = []
    for clip in clips.long_enough:
        cut = clips.clips[int(clip)].cut
        for start in range(0, int(clips.frames[clip]) - FRAMES + 1, stride):
            rows.append((*(cut(view, start) for view in views), clip, start))
    return Windows(*(np.stack(column) for column in zip(*rows, strict=True)))


def noise_like(log_mel: np.ndarray, seed: int = 0) -> np.ndarray:
    """Normal noise with the mean and the deviation of each band."""
    mean, deviation = log_mel.mean((0, 1)), log_mel.std((0, 1))
    noise = np.random.default_rng(seed).normal(size=log_mel.shape)
    return (mean + deviation * noise).astype(np.float32)


def told_apart(scores: np.ndarray, clip: np.ndarray, start: np.ndarray) -> dict[str, np.ndarray]:
    """How often own sound beats wrong sound, by clip; a tie is half, chance is 0.5.

    Args:
        scores: [motion, sound] of all windows.
        clip, start: of each window.

    Returns:
        "any time" against all sounds of other clips, "same time" against those of equal start,
        which share what all clips share (they begin and end in silence); one value per clip.
    """
    own = np.diagonal(scores)[:, None]
    wins = (own > scores) + 0.5 * (own == scores)
    other = clip[:, None] != clip
    against = {"any time": other, "same time": other & (start[:, None] == start)}
    return {
        name: np.array([wins[chosen & (clip == c)[:, None]].mean() for c in np.unique(clip)])
        for name, chosen in against.items()
    }


def untrained(val: Windows) -> dict[str, Any]:
    """The reference: Pearson's r of log-mel energy and mean size of flow, at offset 0."""
    energy = val.log_mel.mean(2).reshape(len(val.clip), FRAMES, -1).mean(2)
    energy = 0.5 * (energy[:, :-1] + energy[:, 1:])
    size = np.linalg.norm(val.flow, axis=-1).mean((2, 3))
    curves = [x - x.mean(1, keepdims=True) for x in (energy, size)]
    unit = [x / (np.linalg.norm(x, axis=1, keepdims=True) + 1e-9) for x in curves]
    apart = told_apart(unit[1] @ unit[0].T, val.clip, val.start)
    return {"told_apart_by_clip": {name: x.tolist() for name, x in apart.items()}}


def apart_of(entry: Mapping[str, Any], against: str = "any time") -> float:
    """Share of comparisons that the own sound wins, each clip counting once."""
    return float(np.mean(entry["told_apart_by_clip"][against]))


def summary(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The measurements of all seeds at one step: means, ranges, and intervals over clips."""
    found: dict[str, Any] = {"step": entries[0]["step"]}
    for group in ("score", "loss"):
        for name in entries[0].get(group, ()):
            values = [entry[group][name] for entry in entries]
            spread = {"mean": float(np.mean(values)), "low": min(values), "high": max(values)}
            found.setdefault(group, {})[name] = spread
    for against in entries[0]["told_apart_by_clip"]:
        clips = np.mean([entry["told_apart_by_clip"][against] for entry in entries], axis=0)
        values = [apart_of(entry, against) for entry in entries]
        interval = dataclasses.asdict(bootstrap(clips))
        interval |= {"lowest_seed": min(values), "highest_seed": max(values)}
        found.setdefault("told_apart", {})[against] = interval
    return found


def ends(forms: Mapping[str, Runs], reference: Mapping[str, Any]) -> dict[str, Any]:
    """Every form at initialisation and after training, and the reference."""
    found = {
        name: {
            "at_initialisation": summary([run[0] for run in runs]),
            "after_training": summary([run[-1] for run in runs]),
        }
        for name, runs in forms.items()
    }
    return {"forms": found, "reference": {UNTRAINED: summary([{"step": 0, **reference}])}}


_COLOURS = dict(zip(PAIRS, ("#1f5fa8", "#c8452d", "#8a8a8a", "#222222"), strict=True))
_TITLES = {
    PUBLISHED: "published: cosine, right pairs pulled to 1",
    COLLAPSED: "control: the published loss on our encoders",
    OURS: "ours: centred, own sound against another clip's",
}
_LINES = {PUBLISHED: "#c8452d", COLLAPSED: "#e0a03c", OURS: "#1f5fa8"}


def draw(path: Path, forms: Mapping[str, Runs], reference: float) -> None:
    """Writes the figure: scores of each form along training, and what they tell apart.

    Args:
        path: PNG file to write.
        forms: name of each form -> its runs.
        reference: share of comparisons won without any training.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 9), dpi=100, layout="constrained")
    axes = figure.subplots(2, 2)
    for panel, (name, runs) in zip(axes.flat, forms.items(), strict=False):
        _scores(panel, runs)
        panel.set_title(_TITLES[name], fontsize=13)
        panel.set_ylabel("centred correlation" if name == OURS else "cosine", fontsize=12)
        panel.axhline(0, color="#222222", lw=0.6)
        panel.set_ylim(-0.18, 1.03)
        if name == PUBLISHED:
            inset = panel.inset_axes((0.3, 0.14, 0.66, 0.58))
            _scores(inset, runs)
            inset.set_title("the same, magnified", fontsize=10)
            _steps_along(inset, runs)
    last = axes[1, 1]
    for name, runs in forms.items():
        _line(last, runs, apart_of, color=_LINES[name], label=name)
    last.axhline(reference, color="#222222", ls="--", lw=1.2, label=f"{UNTRAINED}, no training")
    last.axhline(0.5, color="#8a8a8a", ls=":", lw=1.5, label="chance")
    last.set_title("own sound told from another clip's", fontsize=13)
    last.set_ylabel("share of comparisons won", fontsize=12)
    last.set_ylim(0.33, 1.02)
    for panel in axes.flat:
        _steps_along(panel, next(iter(forms.values())))
        panel.set_xlabel("training step", fontsize=12)
    for panel, place in ((axes[0, 0], "left"), (last, "right")):
        lines, names = panel.get_legend_handles_labels()
        place = f"outside lower {place}"
        figure.legend(lines, names, loc=place, ncols=2, fontsize=11, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _scores(panel: Any, runs: Runs) -> None:
    for kind in PAIRS:
        colour = _COLOURS[kind]
        _line(panel, runs, lambda entry, k=kind: entry["score"][k], color=colour, label=kind)


def _line(panel: Any, runs: Runs, value: Callable[..., float], *, color: str, label: str) -> None:
    """The mean over seeds, and their range."""
    steps = [entry["step"] for entry in runs[0]]
    values = np.array([[value(entry) for entry in run] for run in runs])
    panel.fill_between(steps, values.min(0), values.max(0), color=color, alpha=0.2)
    panel.plot(steps, values.mean(0), "o-", ms=4, color=color, label=label)


def _steps_along(panel: Any, runs: Runs) -> None:
    """Steps along x: linear near zero, so that initialisation has a place, then by factors."""
    end = runs[0][-1]["step"]
    panel.set_xscale("symlog", linthresh=max(end // 40, 1), linscale=0.5)
    ticks = [0, *(10**k * m for k in range(6) for m in (1, 4) if end / 60 < 10**k * m <= end)]
    panel.set_xticks(ticks, [str(tick) for tick in ticks])
    panel.minorticks_off()
    panel.set_xlim(-0.1 * max(end // 40, 1), end * 1.05)
    panel.grid(alpha=0.25)
