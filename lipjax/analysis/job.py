# SPDX-License-Identifier: Apache-2.0
"""The analysis of a corpus: clips to series, series to numbers, numbers to JSON and a picture."""

import dataclasses
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lipjax.analysis import null as chance
from lipjax.analysis.correlation import CHANGE, ENERGY, RECIPES
from lipjax.analysis.figure import draw
from lipjax.analysis.result import PUBLISHED_COUNTS, Result, change_and_slope, measure
from lipjax.analysis.series import FEWEST, Series, series_of, why_not
from lipjax.data.reading import Corpus, open_corpus
from lipjax.errors import ConfigError, CorpusError, LipjaxError, nearest
from lipjax.metrics.table import to_json

SIGN = "positive offset: the motion comes after the sound"
_CLIPS = 4  # 24 ways to shuffle; with fewer nothing can be told from chance
_EXAMPLES = 6


def analyse_correlation(
    corpus: Path,
    *,
    split: str = "all",
    out: Path | None = None,
    shufflings: int = 1000,
    seed: int = 0,
    show: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Asks whether lips and sound of a corpus go together, and at which offset.

    Writes correlation.json and correlation.png. Clips that cannot take part are counted by
    reason. Example clips are the first of each speaker, whatever they show.

    Args:
        corpus: prepared corpus.
        split: of it, or "all".
        out: folder of the results; runs/correlation-NAME of the corpus if not given.
        shufflings: random re-pairings of sounds and motions behind every band and p.
        seed: of them.
        show: gets progress lines and the findings.

    Returns:
        What correlation.json holds.

    Raises:
        CorpusError: no corpus, no such split, or fewer than four clips that can take part.
        ConfigError: too few shufflings, or `out` lies in the corpus.

    Source: "Lip Movements Generation at a Glance", Fig. 4 (Fig. 3 of the poster).
    """
    corpus = Path(corpus)
    out = Path(out) if out is not None else Path("runs") / f"correlation-{corpus.resolve().name}"
    if shufflings < 20:
        raise ConfigError(f"{shufflings} shufflings cannot give a 95 % band; at least 20")
    if out.resolve().is_relative_to(corpus.resolve()):
        raise ConfigError(f"{out}: lies in the corpus, which is never written to; change --out")
    opened = open_corpus(corpus)
    names, speakers, series, skipped = _read(opened, _splits(opened, split), show)
    if len(series) < _CLIPS:
        told = ", ".join(f"{count} x {reason}" for reason, count in skipped.items())
        raise CorpusError(
            f"{corpus}: {len(series)} clips can take part, at least {_CLIPS} must"
            + (f" ({told})" if told else "")
        )
    arrays = {
        name: _stacked([getattr(one, name) for one in series])
        for name in {"motion", *(recipe.sound for recipe in RECIPES)}
    }
    results = {}
    for recipe in RECIPES:
        results[recipe.name] = measure(
            recipe,
            arrays[recipe.sound],
            arrays["motion"],
            speakers,
            shufflings=shufflings,
            seed=seed,
            tick=_Ticker(f"{recipe.title}: shuffled", shufflings, show),
        )
    examples = _first_of_each(names, speakers)
    fps = float(opened.settings.get("fps", 25.0))
    facts = {
        "what": "change of log-mel energy against size of optical flow, by offset",
        "sign": f"{SIGN}; 1 frame = {1000 / fps:g} ms",
        "corpus": corpus.resolve().name,
        "split": split,
        "clips": len(series),
        "clips_by_speaker": dict(sorted(Counter(speakers).items())),
        "skipped": dict(skipped),
        "shufflings": shufflings,
        "seed": seed,
        "recipes": {name: result.facts() for name, result in results.items()},
        "change_and_slope_of_energy": change_and_slope(results[CHANGE.name], results[ENERGY.name]),
        "examples": {
            name: {key: result.r[row].tolist() for key, result in results.items()}
            for name, row in examples.items()
        },
        "published": _published(len(series)),
    }
    out.mkdir(parents=True, exist_ok=True)
    path = out / "correlation.json"
    path.write_text(to_json(facts) + "\n", encoding="utf-8")
    title = f"{facts['corpus']}: {len(series)} clips, {shufflings} shufflings within speakers"
    title += f" (smallest p {1 / (1 + shufflings):.2g})"
    picture = draw(out / "correlation.png", results, examples, title=title)
    for line in _told(facts, results):
        show(line)
    show(f"wrote {path} and {picture}")
    return facts


def _splits(corpus: Corpus, split: str) -> tuple[str, ...]:
    if split != "all" and split not in corpus.splits:
        hint = nearest(split, ("all", *corpus.splits))
        raise CorpusError(f"{corpus.directory}: no split {split!r}{hint}")
    return corpus.splits if split == "all" else (split,)


def _read(
    corpus: Corpus, splits: tuple[str, ...], show: Callable[[str], None]
) -> tuple[list[str], list[str], list[Series], Counter[str]]:
    """Reads names, speakers and series of the clips that can take part; counts the others."""
    places = [(split, at) for split in splits for at in range(len(corpus.clips(split)))]
    clips = {split: corpus.clips(split) for split in splits}
    names, speakers, series = [], [], []
    skipped: Counter[str] = Counter()
    tick = _Ticker("read", len(places), show, "clips")
    for number, (split, at) in enumerate(places, start=1):
        try:
            clip = clips[split][at]
        except LipjaxError:
            skipped["unreadable"] += 1
            continue
        reason = why_not(clip)
        if not reason:
            one = series_of(clip)
            moves = np.ptp(one.motion) > 0 and np.nanmax(np.abs(one.change), initial=0.0) > 0
            reason = "" if moves else "lips or sound never change"
        if reason:
            skipped[reason] += 1
        else:
            names.append(clip.id)
            speakers.append(clip.speaker)
            series.append(one)
        tick(number)
    return names, speakers, series, skipped


def _stacked(series: list[np.ndarray]) -> np.ndarray:
    """Series of unequal length as one array, NaN behind their ends."""
    longest = max(map(len, series))
    table = np.full((len(series), max(longest, FEWEST - 1)), np.nan)
    for row, values in zip(table, series, strict=True):
        row[: len(values)] = values
    return table


def _first_of_each(names: list[str], speakers: list[str]) -> dict[str, int]:
    """The first clip of each of the first few speakers -> its row."""
    firsts = [speakers.index(speaker) for speaker in sorted(set(speakers))]
    return {names[row]: row for row in firsts[:_EXAMPLES]}


def _published(clips: int) -> dict[str, Any]:
    """The authors' histograms under the same test, and what that test can notice here."""
    return {
        name: {
            "counts": list(counts),
            "against_even": dataclasses.asdict(chance.flatness(np.array(counts))),
            "chance_to_notice_it_with_clips_here": chance.power(counts, clips),
        }
        for name, counts in PUBLISHED_COUNTS.items()
    }


def _told(facts: dict[str, Any], results: dict[str, Result]) -> list[str]:
    """The findings in plain words."""
    left = sum(facts["skipped"].values())
    lines = [f"{facts['clips']} clips, speakers: {len(facts['clips_by_speaker'])}, {left} skipped"]
    lines += [f"  {count} x {reason}" for reason, count in facts["skipped"].items()]
    lines += [f"{facts['sign']}; p against {facts['shufflings']} shufflings"]
    lines += [result.text() for result in results.values()]
    slope = facts["change_and_slope_of_energy"]
    lines.append(f"the change's curve against the slope of the energy's curve: r {slope:.2f}")
    return lines


class _Ticker:
    """Tells about once in two seconds how far a count is."""

    def __init__(self, what: str, total: int, show: Callable[[str], None], unit: str = "times"):
        self._what, self._total, self._show, self._unit = what, total, show, unit
        self._told = time.monotonic()

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if now - self._told >= 2.0 and done < self._total:
            self._told = now
            self._show(f"{self._what} {done} of {self._total} {self._unit}")
