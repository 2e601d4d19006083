# SPDX-License-Identifier: Apache-2.0
"""The figures of docs/health.md, drawn from benchmarks/results/healthy_curves.json."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lipjax.tasks import symptoms
from lipjax.tasks.symptoms import told_apart
from lipjax.training.health import Health

Runs = Mapping[str, Mapping[str, Any]]
SYMPTOMS = tuple(x for x in vars(symptoms).values() if isinstance(x, symptoms.Symptom))
BLUE, ORANGE, GREEN, RED, GREY = "#2b6cb0", "#dd8a1c", "#2f855a", "#c53030", "#8a8a8a"


def curve(runs: Runs, run: str, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of a column, NaN where there was no number."""
    found = runs[run]["curves"][column]
    return np.array(found["step"]), np.array(found["value"], dtype=float)


def rows_of(curves: Mapping[str, Mapping[str, list]]) -> list[dict[str, Any]]:
    """Returns the rows of a log, with scores measured afterwards as if they had been logged."""
    rows: dict[int, dict[str, Any]] = {}
    for name, found in curves.items():
        for step, value in zip(found["step"], found["value"], strict=True):
            rows.setdefault(step, {"step": step})[name.replace("measured/", "eval/")] = value
    return [rows[step] for step in sorted(rows)]


def draw(runs: Runs, folder: Path) -> list[Path]:
    """Draws every figure whose runs are there.

    Args:
        runs: name -> title and curves.
        folder: to write to.

    Returns:
        The files written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, panels in FIGURES.items():
        figure, axes = _figure(len(panels))
        for axis, panel in zip(axes, panels, strict=True):
            panel(axis, runs)
            axis.set_xlabel("training step")
            axis.grid(alpha=0.25)
            axis.legend(fontsize=9, frameon=False)
        made.append(folder / f"{name}.png")
        figure.savefig(made[-1])
    return made


def _figure(panels: int) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    rows = -(-panels // 2)
    figure = Figure(figsize=(12, 4.1 * rows), dpi=90, layout="constrained")
    return figure, list(figure.subplots(rows, 2).flat)


def _line(
    axis: Any, runs: Runs, run: str, column: str, label: str, color: str, **more: Any
) -> None:
    axis.plot(*curve(runs, run, column), label=label, color=color, lw=1.5, **more)


def _reference(axis: Any, height: float, label: str) -> None:
    axis.axhline(height, color="#222222", ls=":", lw=1.2, label=label)


# --- Healthy: what the generator makes. ---


def pixel_losses(axis: Any, runs: Runs) -> None:
    """Training loss on pixels, falling fast and then slowly."""
    for run, label, color in (
        ("grid_b", "row b", BLUE),
        ("grid_c", "row c", ORANGE),
        ("grid_e", "row e", GREEN),
        ("grid_long", "row b, 6000 steps", GREY),
    ):
        _line(axis, runs, run, "train/pixel", label, color)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_title("pixel: falls fast, then slowly")


def held_out(axis: Any, runs: Runs) -> None:
    """L1 on held-out clips with the right sound, with a wrong one, and of the still picture."""
    _line(axis, runs, "grid_long", "eval/l1", "l1", BLUE, marker="o", ms=3)
    _line(axis, runs, "grid_long", "eval/l1_wrong_sound", "l1_wrong_sound", RED, marker="o", ms=3)
    _line(axis, runs, "grid_long", "eval/l1_still_picture", "l1_still_picture", GREY, ls="--")
    axis.set_ylim(0.035, 0.067)
    axis.set_title("held-out clips: l1 keeps away from both others")


def players(axis: Any, runs: Runs) -> None:
    """The discriminator's three terms and the generator's."""
    for column, color in (
        ("d_real", BLUE),
        ("d_fake", ORANGE),
        ("d_mismatched", GREEN),
        ("adversarial", RED),
    ):
        _line(axis, runs, "grid_c", f"train/{column}", column, color)
    _reference(axis, math.log(2), "ln 2: cannot tell")
    axis.set_ylim(0.0, 1.25)
    axis.set_title("row c: fakes come to pass for real, wrong sound does not")


def correlations(axis: Any, runs: Runs) -> None:
    """Correlation scores of real and generated clips."""
    _line(axis, runs, "grid_e", "train/r_real", "r_real", BLUE)
    _line(axis, runs, "grid_e", "train/r_fake", "r_fake", ORANGE)
    _line(axis, runs, "grid_e", "train/r_real_wrong_sound", "r_real_wrong_sound", RED)
    axis.set_ylim(-0.15, 1.0)
    axis.set_title("row e: own sound rises at once, wrong sound stays near 0")


def flow_stage(axis: Any, runs: Runs) -> None:
    """The flow network's error, in training and on held-out clips."""
    _line(axis, runs, "flow", "train/endpoint_error", "endpoint_error, training", GREY)
    _line(axis, runs, "flow", "eval/endpoint_error", "endpoint_error", BLUE, marker="o", ms=3)
    column = "eval/endpoint_error_no_motion"
    _line(axis, runs, "flow", column, "endpoint_error_no_motion", RED, ls="--")
    axis.set_ylim(0.0, 0.56)
    axis.set_title("flow stage: far below no motion")


def perceptual_stage(axis: Any, runs: Runs) -> None:
    """The autoencoder's error, in training and on held-out clips."""
    _line(axis, runs, "perceptual", "train/squared_error", "squared_error, training", GREY)
    column = "eval/squared_error"
    _line(axis, runs, "perceptual", column, "squared_error", BLUE, marker="o", ms=3)
    column = "eval/squared_error_mean_colour"
    _line(axis, runs, "perceptual", column, "squared_error_mean_colour", RED, ls="--")
    axis.set_yscale("log")
    axis.set_title("perceptual stage: far below one flat colour")


# --- Ill beside healthy. ---


def sound_effect(axis: Any, runs: Runs) -> None:
    """How much a swap of the sound changes the picture, in parts of real motion."""
    for run, label, color in (("right", "its own sound", BLUE), ("shuffled", "shuffled", RED)):
        steps, effect = curve(runs, run, "measured/sound_effect")
        axis.plot(steps, effect / curve(runs, run, "measured/motion")[1], "o-", color=color,
                  label=f"trained on {label}", ms=4)  # fmt: skip
    _reference(axis, 0.1, "0.1: sound_ignored below")
    axis.set_yscale("log")
    axis.set_ylim(0.002, 2)  # room for the legend
    axis.set_title("sound_effect / motion: the swap of the sound")


def swapped_error(axis: Any, runs: Runs) -> None:
    """What the right sound gains over a wrong one, on held-out clips."""
    for run, label, color in (("right", "its own sound", BLUE), ("shuffled", "shuffled", RED)):
        steps, right = curve(runs, run, "measured/l1")
        wrong, still = (
            curve(runs, run, f"measured/{name}")[1]
            for name in ("l1_wrong_sound", "l1_still_picture")
        )
        axis.plot(steps, right / still, "o-", color=color, ms=4, label=f"{label}: right sound")
        same = " (the same line)" if run == "shuffled" else ""
        axis.plot(steps, wrong / still, "o--", color=color, ms=4,
                  label=f"{label}: wrong sound{same}")  # fmt: skip
    _reference(axis, 1.0, "still picture")
    axis.set_ylim(0.83, 1.42)
    axis.set_title("l1 / l1_still_picture: what the right sound gains")


def stuck(axis: Any, runs: Runs) -> None:
    """The correlation networks on real clips."""
    for run, label, color in (("right", "its own sound", BLUE), ("shuffled", "shuffled", RED)):
        _line(axis, runs, run, "train/r_real", f"{label}: r_real", color)
        column = "train/r_real_wrong_sound"
        _line(axis, runs, run, column, f"{label}: r_real_wrong_sound", color, ls="--")
    axis.set_ylim(-0.2, 1.0)
    axis.set_title("correlation_stuck: own sound scores like a wrong one")


def saturation(axis: Any, runs: Runs) -> None:
    """Discriminators that win, hold, and cannot hear."""
    for run, label, color in (("grid_c", "row c", BLUE), ("saturated", "too fast", RED)):
        for column, style in (("d_real", "-"), ("d_fake", "--"), ("adversarial", ":")):
            _line(axis, runs, run, f"train/{column}", f"{label}: {column}", color, ls=style)
    _reference(axis, 0.05, "0.05: limit for the mean of d_fake")
    axis.set_yscale("log")
    axis.set_ylim(1e-7, 30)  # room for the legend
    axis.set_title("discriminator_saturated: d_fake falls, adversarial climbs")


def heard(axis: Any, runs: Runs) -> None:
    """Whether the discriminators tell mismatched sound."""
    for run, label, color in (
        ("grid_c", "row c on GRID", BLUE),
        ("right", "built-in corpus, widths of tiny", GREEN),
        ("shuffled", "the same, shuffled", RED),
    ):
        steps, real = curve(runs, run, "train/d_real")
        other = curve(runs, run, "train/d_mismatched")[1]
        values = [told_apart(*pair) for pair in zip(real, other, strict=True)]
        axis.plot(steps, values, color=color, label=label, lw=1.5)
    _reference(axis, 1.0, "1: cannot tell (discriminator_deaf)")
    axis.set_title("exp(-d_real) + exp(-d_mismatched)")


def alarms(axis: Any, runs: Runs) -> None:
    """When each symptom is reported."""
    names: list[str] = []
    for run, title, color in (("shuffled", "shuffled", RED), ("saturated", "too fast", ORANGE)):
        health, begun, last = Health(SYMPTOMS), {}, 0
        for row in rows_of(runs[run]["curves"]):
            last = int(row["step"] or 0)
            health.observe(last, row)
            for name in health.present:
                begun.setdefault(name, last)
        for name, start in begun.items():
            names.append(name)
            axis.plot([start, last], [len(names)] * 2, color=color, lw=7, solid_capstyle="butt")
        axis.plot([], [], color=color, lw=7, label=f"{title} (none ends)")
    axis.set_yticks(range(1, len(names) + 1), names)
    axis.set_xlim(0, 1250)
    axis.set_ylim(0.3, len(names) + 1.7)
    axis.set_title("what is reported, and from when on")


FIGURES = {
    "healthy_curves": (
        *(pixel_losses, held_out, players, correlations),
        *(flow_stage, perceptual_stage),
    ),
    "healthy_and_ill": (sound_effect, swapped_error, stuck, heard, saturation, alarms),
}
"""File name -> its panels."""
