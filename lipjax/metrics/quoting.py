# SPDX-License-Identifier: Apache-2.0
"""The second table of an evaluation: released definitions beside the paper's published numbers.

It serves to quote the tables of "Lip Movements Generation at a Glance" (Chen, Li, Maddox, Duan,
Xu; ECCV 2018; arXiv 1803.10404v3) without comparing what was measured differently.
"""

import dataclasses
import math
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np

from lipjax.metrics import released
from lipjax.metrics.intervals import Interval, bootstrap

TITLE = "as released (2018 code), for quoting the paper only"
_CONSOLE = 98  # characters
_DIGITS = {"psnr": 2, "ssim": 4, "cpbd": 4, "lmd_sum": 2, "lmd_mean": 3}
_PUBLISHED_DIGITS = {"psnr": 2, "ssim": 2, "cpbd": 3, "lmd_mean": 2}
_NAMES = ("lmd_mean", "ssim", "psnr", "cpbd")
_FULL = "full model (Table 3)"
_TABLE_3: dict[str, dict[str, tuple[float | None, ...]]] = {
    "ground truth (Table 3)": {
        "GRID": (0.0, None, None, 0.141),
        "LDC": (0.0, None, None, 0.211),
        "LRW": (0.0, None, None, 0.068),
    },
    "Vondrick et al. (Table 3)": {
        "GRID": (2.38, 0.60, 28.45, 0.129),
        "LDC": (2.34, 0.75, 27.96, 0.160),
        "LRW": (3.28, 0.34, 28.03, 0.082),
    },
    "Chung et al. (Table 3)": {
        "GRID": (1.35, 0.74, 29.36, 0.016),
        "LDC": (2.13, 0.50, 28.22, 0.010),
        "LRW": (2.25, 0.46, 28.06, 0.083),
    },
    _FULL: {
        "GRID": (1.18, 0.73, 29.89, 0.175),
        "LDC": (1.82, 0.57, 28.87, 0.172),
        "LRW": (1.92, 0.53, 28.65, 0.075),
    },
}
"""The paper's Table 3: row -> data set -> LMD, SSIM, PSNR, CPBD."""
_ROW_E = ("full model, row (e) (Table 2)", (1.18, 0.73, 29.98, 0.175))
"""The paper's Table 2, on GRID; its PSNR is not that of Table 3."""

WARNING = (
    "PSNR in this table says little: it wraps 8-bit differences, so any bad match tends to "
    "27.9 dB instead of falling, and no picture can score below 24."
)
NOTES = (
    "Each 64-pixel crop is stretched to 0..255 by itself, saved as JPEG (quality 75) and compared "
    "grey; SSIM has a uniform 7x7 window; CPBD follows the released port.",
    "LMD: landmarks centred, in pixels of the 64-pixel crop, by this evaluation's reader on each "
    "clip's own frame. The released code pastes stretched crops into one face picture, takes "
    "dlib's whole pixels and leaves out frames in which it finds no face. It sums over the 20 "
    "points; the paper gives no formula, and its numbers fit the mean, so they stand there.",
    "Still different: crops here have one scale per clip, clips are whole instead of 16-frame "
    "windows, networks use their running statistics, pictures are rounded to 8 bits before they "
    "are stretched, and speakers and split are those named above.",
)


@dataclasses.dataclass(frozen=True)
class Quoted:
    """The table as released and what stands beside it.

    Attributes:
        title: says what it is for.
        columns: name -> heading.
        table: row -> column -> mean over frames with interval by clip.
        data_set: the paper's data set that the corpus is, "" if it is none of them.
        paper: row -> column -> published value; empty without a data set.
        warning: why PSNR means little here.
        notes: the definitions, and what still differs from the released code.
    """

    title: str
    columns: dict[str, str]
    table: dict[str, dict[str, Interval]]
    data_set: str
    paper: dict[str, dict[str, float | None]]
    warning: str = WARNING
    notes: tuple[str, ...] = NOTES

    def lines(self) -> list[list[tuple[str, str]]]:
        """All rows as (text, interval) cells, the paper's behind ours, the name first."""
        ours = [
            [(row, ""), *(_cell(columns[name], name) for name in self.columns)]
            for row, columns in self.table.items()
        ]
        theirs = [
            [(f"paper, {self.data_set}: {row}", "")]
            + [(_published(values.get(column), column), "") for column in self.columns]
            for row, values in self.paper.items()
        ]
        return ours + theirs

    def header(self) -> list[str]:
        """Headings above `lines`."""
        return ["", *self.columns.values()]

    def remarks(self) -> tuple[str, ...]:
        """What must stand under the table wherever it is shown, the warning first."""
        if self.data_set:
            return (self.warning, *self.notes)
        none = "The paper has no numbers for this corpus: it is neither GRID, LDC nor LRW."
        return (self.warning, none, *self.notes)


def quote(
    clips: Sequence[Mapping[str, Mapping[str, float]]],
    frames: Sequence[int],
    rows: Sequence[str],
    *,
    layout: str,
) -> Quoted:
    """Makes the table.

    Args:
        clips: row -> column -> value of each clip, by `released.score_row`.
        frames: scored frames of each clip, so that each frame counts once.
        rows: in the order of the table.
        layout: of the corpus, such as "grid": which data set's published numbers belong here.

    Returns:
        The table with all that must stand beside it.
    """
    weights = np.array(frames, float)
    nothing = dict.fromkeys(released.COLUMNS, math.nan)
    table = {
        row: {
            column: bootstrap(
                np.array([clip.get(row, nothing)[column] for clip in clips], float), weights
            )
            for column in released.COLUMNS
        }
        for row in rows
    }
    data_set = layout.upper() if layout.upper() in _TABLE_3[_FULL] else ""
    return Quoted(TITLE, dict(released.COLUMNS), table, data_set, published(data_set))


def published(data_set: str) -> dict[str, dict[str, float | None]]:
    """The paper's numbers: row -> column -> value, for "GRID", "LDC" or "LRW"; else none."""
    rows = [(row, values[data_set]) for row, values in _TABLE_3.items() if data_set in values]
    if data_set == "GRID":
        rows.append(_ROW_E)
    return {row: dict(zip(_NAMES, values, strict=True)) for row, values in rows}


def text(quoted: Quoted) -> str:
    """The table for a console, under its title, above its remarks."""
    lines = [quoted.header()]
    for line in quoted.lines():
        lines.append([line[0][0], *(mean for mean, _ in line[1:])])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    shown = [
        "  ".join(
            value.ljust(width) if i == 0 else value.rjust(width)
            for i, (value, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    remarks = [textwrap.fill(remark, _CONSOLE) for remark in quoted.remarks()]
    return "\n".join([f"{quoted.title}:", *shown, *remarks])


def _cell(interval: Interval, column: str) -> tuple[str, str]:
    digits = _DIGITS[column]
    if not math.isfinite(interval.mean):
        return "-", ""
    span = f"{interval.low:.{digits}f} to {interval.high:.{digits}f}"
    return f"{interval.mean:.{digits}f}", span if math.isfinite(interval.low) else ""


def _published(value: float | None, column: str) -> str:
    return "-" if value is None else f"{value:.{_PUBLISHED_DIGITS[column]}f}"
