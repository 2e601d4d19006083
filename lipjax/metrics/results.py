# SPDX-License-Identifier: Apache-2.0
"""What an evaluation found, as text for a console and as strict JSON."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from lipjax.data.faults import told
from lipjax.media.audio import Sound
from lipjax.metrics import quoting, table
from lipjax.metrics.intervals import Interval
from lipjax.metrics.table import ClipScores, Table


@dataclasses.dataclass
class Example:
    """A clip shown in the report.

    Attributes:
        id: of the clip.
        fps: frames per second.
        sound: its own sound, time 0 at frame 0; None if it has none.
        mouths: row -> crops.
        faces: what the model's mouth looks like in the clip's real frames; None without a model.
    """

    id: str
    fps: float
    sound: Sound | None
    mouths: dict[str, np.ndarray]
    faces: UInt8[np.ndarray, "T H W 3"] | None = None


@dataclasses.dataclass
class Evaluation:
    """All that was measured; everything but the examples goes into evaluation.json.

    Attributes:
        facts: corpus, split, reader and its error, sizes, times.
        table: row -> column -> "all" | "speech" -> mean with interval.
        differences: "A - B" -> the same of differences, paired by clip.
        opening: lip opening in mouth widths, mean over a clip and deviation within it, of the
            truth and of the model fed right sound and silence.
        closures: row -> share of /p b m/ in which the lips meet; empty without phone spans.
        clips: values of every clip.
        examples: for pictures and videos.
        as_released: the second table, by the released definitions; None unless asked for.
    """

    facts: dict[str, Any]
    table: Table
    differences: dict[str, dict[str, dict[str, Interval]]]
    opening: dict[str, Interval]
    closures: dict[str, Interval]
    clips: list[ClipScores]
    examples: list[Example]
    as_released: quoting.Quoted | None = None

    def value(self, row: str, column: str, frames: str = "all") -> float:
        """The mean in a cell, such as ("model", "r"); NaN where there is none."""
        if row not in self.table:
            return float("nan")
        return self.table[row][column][frames].mean

    def text(self) -> str:
        """The tables for a console."""
        lines = [
            f"{self.facts['clips']} clips, {self.facts['frames']} frames"
            f"{told(self.facts.get('clips_left_out', {}))}; "
            "± is half the 95 % interval, bootstrap by clip"
        ]
        for frames, name in table.FRAMES.items():
            lines += ["", f"{name}:", table.text(self.table, frames)]
        lines.append("")
        for name, columns in self.differences.items():
            for column in ("r", "lmd"):
                mean, span = table.cell(columns[column]["all"], column)
                if mean != "-":
                    lines.append(f"{table.COLUMNS[column]}, {name}: {mean}{_in_brackets(span)}")
        for title, values in (
            ("opening in mouth widths", self.opening),
            ("lips meet in /p b m/", self.closures),
        ):
            for name, interval in values.items():
                mean, span = table.cell(interval, "r")
                lines.append(f"{title}, {name}: {mean}{_in_brackets(span)}")
        if self.as_released is not None:
            lines += ["", quoting.text(self.as_released)]
        return "\n".join(lines)

    def to_json(self) -> str:
        """Strict JSON, null for what is not known."""
        left_out = {"examples"} if self.as_released is not None else {"examples", "as_released"}
        names = [f.name for f in dataclasses.fields(self) if f.name not in left_out]
        return table.to_json({name: getattr(self, name) for name in names})

    def save(self, out_dir: Path) -> Path:
        """Writes evaluation.json into a folder, made if missing; returns its path."""
        Path(out_dir).mkdir(parents=True, exist_ok=True)
        path = Path(out_dir) / "evaluation.json"
        path.unlink(missing_ok=True)  # never through a link that someone left there
        path.write_text(self.to_json() + "\n", encoding="utf-8")
        return path


def _in_brackets(span: str) -> str:
    """An interval behind its mean; one clip has none."""
    return f" ({span})" if span else ""
