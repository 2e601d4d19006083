# SPDX-License-Identifier: Apache-2.0
"""Ablation: rows of the paper's Table 2 trained, evaluated and set beside its numbers."""

import dataclasses
import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from lipjax import build
from lipjax.config_files import load_config
from lipjax.errors import ConfigError
from lipjax.evaluation import rows
from lipjax.jobs import evaluate_workdir
from lipjax.metrics.intervals import Interval, bootstrap
from lipjax.metrics.table import aligned, to_json
from lipjax.train import steps_done, train_stage

PAPER = {
    "a": (1.37, 0.67, 29.46, 0.176),
    "b": (1.28, 0.79, 29.81, 0.006),
    "c": (1.33, 0.66, 29.66, 0.182),
    "d": (1.31, 0.70, 29.40, 0.209),
    "e": (1.18, 0.73, 29.98, 0.175),
    "f": (1.96, 0.52, 28.6, 0.218),
    "g": (1.39, 0.68, 29.59, 0.187),
    "h": (1.42, 0.59, 29.46, 0.176),
    "i": (1.40, 0.66, 29.51, 0.210),
}
"""The paper's Table 2 (GRID): row -> LMD, SSIM, PSNR, CPBD, by its own definitions."""

LOSSES = {
    "a": "adversarial, 3 streams",
    "b": "pixel",
    "c": "adversarial, 3 streams + pixel",
    "d": "c + perceptual",
    "e": "d + correlation: the full model",
    "f": "d + correlation without derivative",
    "g": "e with 2 streams",
    "h": "d with 2 streams",
    "i": "e with frame differences for flow",
}
_COLUMNS = ("lmd", "r", "ssim", "psnr", "cpbd")
_NAMES = {"lmd": "LMD", "r": "r", "ssim": "SSIM", "psnr": "PSNR", "cpbd": "CPBD"}
_DIGITS = {"lmd": 3, "r": 3, "ssim": 3, "psnr": 2, "cpbd": 3}
_HONEST = (
    *(rows.TRUTH_AGAIN, rows.MEAN_MOUTH, rows.STILL, rows.MISMATCHED),
    *(rows.LINEAR, rows.LINEAR_ON_PICTURE),
)
Show = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Result:
    """One row of the table.

    Attributes:
        values: column -> one value per seed; "r_wrong" is r with another sentence's sound.
        evaluations: files they were read from.
        clips: column -> one value per clip, the mean over seeds.
        less_first: column -> this row less the table's first, paired by clip.
    """

    values: dict[str, list[float]]
    evaluations: list[str]
    clips: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    less_first: dict[str, Interval] = dataclasses.field(default_factory=dict)


def ablation(
    name: str,
    letters: Sequence[str],
    *,
    workdir: Path,
    seeds: int = 1,
    split: str = "test",
    clips: int | None = None,
    overrides: Sequence[str] = (),
    show: Show = lambda line: print(line, flush=True),
) -> dict[str, Result]:
    """Trains and evaluates rows of Table 2 and writes one table.

    What is trained or evaluated already is not done again. The earlier stages (flow, perceptual)
    are trained once and shared by all rows.

    Args:
        name: config with its variant, without row=: "configs/at_a_glance.py:grid_cpu".
        letters: rows, "a" to "i".
        workdir: ROW/SEED lie below it, and `stages`, `ablation.txt` and `ablation.json`.
        seeds: runs per row, with seeds 0, 1, ...
        split: to evaluate on.
        clips: at most this many.
        overrides: words like `--config.train.steps=100`, for every row.
        show: prints a line.

    Returns:
        Row -> its result.

    Raises:
        ConfigError: unknown rows, or what training raises.
    """
    workdir = Path(workdir)
    unknown = [letter for letter in letters if letter not in PAPER]
    if unknown or not letters:
        raise ConfigError(f"--rows {','.join(letters)}: rows are {', '.join(PAPER)}")
    if "row=" in name:
        raise ConfigError(f"{name}: leave out row=, --rows names them")
    separator = "," if ":" in name else ":grid,"
    configs = {x: load_config(f"{name}{separator}row={x}", overrides=overrides) for x in letters}
    for stage in dict.fromkeys(s for c in configs.values() for s in build.given_names(c)):
        if not next(iter(configs.values())).given[stage]:
            config = build.stage_of(next(iter(configs.values())), stage)
            train_stage(config, workdir / "stages" / stage, title=f"{stage} network", show=show)
    results: dict[str, Result] = {}
    honest, facts = {}, {}
    for letter, config in configs.items():
        found: dict[str, list[float]] = {}
        files, by_clip = [], []
        for seed in range(seeds):
            run = workdir / letter / str(seed)
            file = _run(config, run, workdir, letter, seed, split, clips, show)
            evaluation = json.loads(file.read_text(encoding="utf-8"))
            files.append(str(file.relative_to(workdir)))
            by_clip.append(_by_clip(evaluation))
            for column, value in _values(evaluation).items():
                found.setdefault(column, []).append(value)
            honest, facts = evaluation["table"], evaluation["facts"]
        clips_of = {c: np.mean([seen[c] for seen in by_clip], axis=0).tolist() for c in _COLUMNS}
        first = next(iter(results.values())).clips if results else clips_of
        less = {c: bootstrap(np.subtract(clips_of[c], first[c])) for c in _COLUMNS}
        results[letter] = Result(found, files, clips_of, less)
        told = text(results, honest, facts)
        (workdir / "ablation.txt").write_text(told + "\n", encoding="utf-8")
        settings = {"config": name, "overrides": list(overrides), "seeds": seeds, "split": split}
        kept = {row: honest[row] for row in _HONEST if row in honest}
        content = {**settings, "facts": facts, "rows": results, "paper": PAPER, "honest": kept}
        (workdir / "ablation.json").write_text(to_json(content) + "\n", encoding="utf-8")
    show(told)
    show(f"see {workdir / 'ablation.txt'} and ablation.json")
    return results


def _run(
    config: ConfigDict,
    run: Path,
    workdir: Path,
    letter: str,
    seed: int,
    split: str,
    clips: int | None,
    show: Show,
) -> Path:
    """Trains and evaluates one run, each unless it is done; returns its evaluation."""
    with config.unlocked():
        config.seed = seed
        for name in build.given_names(config):
            config.given[name] = config.given[name] or str(workdir / "stages" / name)
    file = run / "eval" / split / "evaluation.json"
    trained_before = steps_done(run) >= config.train.steps
    train_stage(config, run, title=f"row ({letter}) {LOSSES[letter]}, seed {seed}", show=show)
    if not (trained_before and file.is_file()):
        evaluate_workdir(run, split=split, clips=clips, show=lambda line: None)
    return file


def _values(evaluation: Mapping[str, Any]) -> dict[str, float]:
    table = evaluation["table"]
    pick = lambda row, column, frames="all": table[row][column][frames]["mean"]  # noqa: E731
    values = {column: pick(rows.MODEL, column) for column in _COLUMNS}
    values["r_speech"] = pick(rows.MODEL, "r", "speech")
    values["r_wrong"] = pick(rows.MODEL_WRONG, "r") if rows.MODEL_WRONG in table else math.nan
    return {name: math.nan if value is None else value for name, value in values.items()}


def _by_clip(evaluation: Mapping[str, Any]) -> dict[str, list[float]]:
    """Column -> the model's value in each clip, NaN where there is none."""
    clips = [clip["rows"][rows.MODEL] for clip in evaluation["clips"]]
    values = {c: [clip[c]["all"] for clip in clips] for c in _COLUMNS}
    return {c: [math.nan if x is None else x for x in found] for c, found in values.items()}


def text(results: Mapping[str, Result], honest: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """The table for a console: ours with the spread over seeds, the paper's numbers, honest rows.

    Args:
        results: row -> result.
        honest: the table of any of the evaluations; the rows that do not depend on a model.
        facts: of the same evaluation.
    """
    lines = [["row", "losses", *(_NAMES[c] for c in _COLUMNS), "r wrong sound", "paper LMD"]]
    lines[0] += ["SSIM", "PSNR", "CPBD"]
    for letter, result in results.items():
        ours = [_spread(result.values[c], _DIGITS[c]) for c in (*_COLUMNS,)]
        ours.append(_spread(result.values["r_wrong"], 3))
        theirs = [f"{value:g}" for value in PAPER[letter]]
        lines.append([f"({letter})", LOSSES[letter], *ours, *theirs])
    for row in _HONEST:
        if row in honest:
            cells = [honest[row][c]["all"]["mean"] for c in _COLUMNS]
            shown = [
                "-" if value is None else f"{value:.{_DIGITS[c]}f}"
                for c, value in zip(_COLUMNS, cells, strict=True)
            ]
            lines.append(["", row, *shown, "", "", "", "", ""])
    runs = max(len(result.values["lmd"]) for result in results.values())
    about = (
        f"{facts['corpus']}, {facts['split']}: {facts['clips']} clips; "
        + (f"mean over {runs} seeds ± standard deviation" if runs > 1 else "one seed, no spread")
        + "; the paper's numbers are by its own definitions, on other clips"
    )
    return "\n".join([about, *aligned(lines, left=2), *_less_first(results)])


def _less_first(results: Mapping[str, Result]) -> list[str]:
    """What each row is above the first, with its 95 % interval by clip."""
    first, *others = results
    return [
        f"({letter}) - ({first}): "
        + ", ".join(
            f"{_NAMES[c]} {d.mean:+.{_DIGITS[c]}f} "
            f"({d.low:+.{_DIGITS[c]}f} to {d.high:+.{_DIGITS[c]}f})"
            for c, d in results[letter].less_first.items()
        )
        for letter in others
        if results[letter].less_first
    ]


def _spread(values: Sequence[float], digits: int) -> str:
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return "-"
    mean = f"{statistics.mean(known):.{digits}f}"
    return mean if len(known) < 2 else f"{mean} ±{statistics.stdev(known):.{digits}f}"
