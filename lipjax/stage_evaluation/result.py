# SPDX-License-Identifier: Apache-2.0
"""What the evaluation of an earlier stage found: rows, means over clips, text and strict JSON."""

import dataclasses
import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from lipjax.data.faults import told
from lipjax.metrics import table
from lipjax.metrics.intervals import Interval, bootstrap

_CONSOLE = 98  # characters
_INTERVALS = "In brackets: 95 % intervals, bootstrap by clip."
NETWORK = "network"
"""The row of the trained network; the others are what it is compared with."""


@dataclasses.dataclass(frozen=True)
class Column:
    """A measured quantity.

    Attributes:
        heading: its name with its unit.
        digits: shown behind the point.
    """

    heading: str
    digits: int


@dataclasses.dataclass(frozen=True)
class ClipValues:
    """Means over one clip.

    Attributes:
        id: of the clip.
        speaker: of the clip, "" if unknown.
        count: frames, or pairs of frames, behind the means.
        rows: row -> column -> mean; columns that say nothing of a row are left out.
    """

    id: str
    speaker: str
    count: int
    rows: Mapping[str, Mapping[str, float]]


@dataclasses.dataclass(frozen=True)
class StageEvaluation:
    """All that was measured of an earlier stage; all but the sheet goes into evaluation.json.

    Attributes:
        facts: family, corpus, split, what was counted, sizes, times.
        columns: name -> how it is headed and rounded.
        table: row -> column -> mean with interval; each counted thing weighs the same.
        differences: row -> column -> the network minus that row, paired by clip.
        clips: values of every clip.
        sheet: some clips, drawn.
        notes: what rows and columns mean.
    """

    facts: dict[str, Any]
    columns: Mapping[str, Column]
    table: dict[str, dict[str, Interval]]
    differences: dict[str, dict[str, Interval]]
    clips: list[ClipValues]
    sheet: UInt8[np.ndarray, "H W 3"]
    notes: tuple[str, ...]

    def value(self, row: str, column: str) -> float:
        """The mean in a cell; NaN where there is none."""
        return self.table[row][column].mean

    def about(self) -> str:
        """A line on what was measured."""
        facts = self.facts
        left_out = told(facts["clips_left_out"])
        return (
            f"{facts['family']} network on {facts['corpus']}, {facts['split']}: {facts['clips']} "
            f"clips, {facts['counted']} {facts['unit']}{left_out}"
        )

    def lines(self) -> list[list[tuple[str, str]]]:
        """All rows as (mean, interval) cells, the name first; the differences come last."""
        named = [*self.table.items()]
        named += [(f"{NETWORK} - {row}", values) for row, values in self.differences.items()]
        return [
            [(name, ""), *(table.rounded(values[c], self.columns[c].digits) for c in self.columns)]
            for name, values in named
        ]

    def header(self) -> list[str]:
        """Headings above `lines`."""
        return ["", *(column.heading for column in self.columns.values())]

    def text(self) -> str:
        """The table for a console, with what it means."""
        shown = [self.header()]
        for (name, _), *cells in self.lines():
            shown.append([name, *(f"{mean} ({span})" if span else mean for mean, span in cells)])
        notes = [textwrap.fill(note, _CONSOLE) for note in self.notes]
        return "\n".join([self.about(), *table.aligned(shown), _INTERVALS, *notes])

    def to_json(self) -> str:
        """Strict JSON, null for what is not known."""
        return table.to_json(
            {
                "facts": self.facts,
                "columns": {name: column.heading for name, column in self.columns.items()},
                "table": self.table,
                "differences": self.differences,
                "clips": self.clips,
            }
        )

    def save(self, out_dir: Path) -> Path:
        """Writes evaluation.json into a folder, made if missing; returns its path."""
        Path(out_dir).mkdir(parents=True, exist_ok=True)
        path = Path(out_dir) / "evaluation.json"
        path.write_text(self.to_json() + "\n", encoding="utf-8")
        return path


def summarise(
    clips: Sequence[ClipValues], columns: Mapping[str, Column]
) -> tuple[dict[str, dict[str, Interval]], dict[str, dict[str, Interval]]]:
    """Means over clips, weighted by what was counted in each.

    Args:
        clips: at least one, all with the same rows.
        columns: to summarise.

    Returns:
        The table, and the network's differences from every other row.
    """
    weights = np.array([clip.count for clip in clips], float)
    rows = list(clips[0].rows)

    def values(row: str, column: str) -> Float[np.ndarray, "N"]:
        return np.array([clip.rows[row].get(column, math.nan) for clip in clips], float)

    means = {row: {c: bootstrap(values(row, c), weights) for c in columns} for row in rows}
    differences = {
        row: {c: bootstrap(values(NETWORK, c) - values(row, c), weights) for c in columns}
        for row in rows
        if row != NETWORK
    }
    return means, differences
