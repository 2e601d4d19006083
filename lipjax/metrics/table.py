# SPDX-License-Identifier: Apache-2.0
"""One table for every system: columns, values by clip, means with intervals, text and JSON.

PSNR (dB) and SSIM (Wang) on RGB crops, CPBD (python-cpbd convention) of the crop, LMD in pixels
of a 64-pixel crop 1.3 mouth widths wide, r of the inner-lip opening over a clip. The first four
are means over frames, each frame counting once; r is a mean over clips.
"""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from lipjax.metrics import image, landmarks
from lipjax.metrics.intervals import Interval, bootstrap

COLUMNS = {"psnr": "PSNR", "ssim": "SSIM", "cpbd": "CPBD", "lmd": "LMD", "r": "r(opening)"}
FRAMES = {"all": "all frames", "speech": "speech frames"}
_DIGITS = {"psnr": 2, "ssim": 4, "cpbd": 4, "lmd": 3, "r": 3}
_PAD = 32  # pictures go through the compiled metrics in batches of one length


@dataclasses.dataclass(frozen=True)
class Shown:
    """What one row shows for one clip; None where the row has no pictures or no landmarks."""

    mouths: UInt8[np.ndarray, "T S S 3"] | None = None
    points: Float[np.ndarray, "T 68 2"] | None = None
    sharpness: Float[np.ndarray, "T"] | None = None


Values = dict[str, dict[str, float]]
"""Column -> frames ("all" or "speech") -> value of one row in one clip."""


def score_row(
    shown: Shown,
    truth: Shown,
    *,
    scored: Bool[np.ndarray, "T"],
    speech: Bool[np.ndarray, "T"],
    is_truth: bool = False,
) -> Values:
    """Computes all columns of one row for one clip.

    Args:
        shown: the row.
        truth: the real mouth through the same path, with landmarks.
        scored: frames that count at all.
        speech: frames in which something is said.
        is_truth: the row is the truth itself: only its sharpness says something.

    Returns:
        Values by column; NaN where the row has none.
    """
    length = len(scored)
    series = {name: np.full(length, np.nan) for name in ("psnr", "ssim", "cpbd", "lmd")}
    if shown.sharpness is not None:
        series["cpbd"] = shown.sharpness
    if shown.mouths is not None and truth.mouths is not None and not is_truth:
        series["psnr"], series["ssim"] = _pictures(shown.mouths, truth.mouths)
    openings = None
    if shown.points is not None and truth.points is not None and not is_truth:
        unit = landmarks.lmd_unit(landmarks.mouth_width(truth.points[scored]))
        mouth = landmarks.MOUTH
        series["lmd"] = landmarks.lmd(shown.points[:, mouth], truth.points[:, mouth], unit=unit)
        openings = landmarks.opening(shown.points), landmarks.opening(truth.points)
    values: Values = {}
    chosen = {"all": scored, "speech": scored & speech}
    for name in COLUMNS:
        values[name] = {}
        for frames, mask in chosen.items():
            if name == "r":
                value = math.nan
                if openings is not None:
                    value = landmarks.correlation(openings[0][mask], openings[1][mask])
            else:
                kept = series[name][mask]
                kept = kept[np.isfinite(kept)]
                value = float(kept.mean()) if len(kept) else math.nan
            values[name][frames] = value
    return values


def _pictures(
    mouths: UInt8[np.ndarray, "T S S 3"], truth: UInt8[np.ndarray, "T S S 3"]
) -> tuple[Float[np.ndarray, "T"], Float[np.ndarray, "T"]]:
    """PSNR and SSIM of each frame; lengths are padded so that few shapes are compiled."""
    import jax

    count = len(mouths)
    padding = ((0, -count % _PAD), (0, 0), (0, 0), (0, 0))
    first, second = (np.pad(x, padding, mode="edge") for x in (mouths, truth))
    blocks = [(first[i : i + _PAD], second[i : i + _PAD]) for i in range(0, len(first), _PAD)]
    psnrs, ssims = (
        np.concatenate([np.asarray(metric(*block), np.float64) for block in blocks])[:count]
        for metric in (jax.jit(image.psnr), jax.jit(image.ssim))
    )
    return psnrs, ssims


@dataclasses.dataclass(frozen=True)
class ClipScores:
    """Values of all rows of one clip."""

    id: str
    speaker: str
    frames: int
    speech_frames: int
    rows: Mapping[str, Values]

    def weight(self, column: str, frames: str) -> float:
        """How much the clip counts in a mean: its frames, or one for a correlation."""
        if column == "r":
            return 1.0
        return float(self.frames if frames == "all" else self.speech_frames)


Table = dict[str, dict[str, dict[str, Interval]]]
"""Row -> column -> frames -> mean with interval."""


def summarise(clips: Sequence[ClipScores], rows: Sequence[str]) -> Table:
    """Means over clips of every row, column and kind of frames."""
    return {
        row: {
            column: {frames: bootstrap(*_column(clips, row, column, frames)) for frames in FRAMES}
            for column in COLUMNS
        }
        for row in rows
    }


def difference(
    clips: Sequence[ClipScores], first: str, second: str
) -> dict[str, dict[str, Interval]]:
    """Paired differences, first row minus second, clip by clip, of every column."""
    result: dict[str, dict[str, Interval]] = {}
    for column in COLUMNS:
        result[column] = {}
        for frames in FRAMES:
            a, weights = _column(clips, first, column, frames)
            b, _ = _column(clips, second, column, frames)
            result[column][frames] = bootstrap(a - b, weights)
    return result


def _column(
    clips: Sequence[ClipScores], row: str, column: str, frames: str
) -> tuple[Float[np.ndarray, "N"], Float[np.ndarray, "N"]]:
    nothing = {name: dict.fromkeys(FRAMES, math.nan) for name in COLUMNS}
    values = [clip.rows.get(row, nothing)[column][frames] for clip in clips]
    return np.array(values, float), np.array([clip.weight(column, frames) for clip in clips])


def cell(interval: Interval, column: str) -> tuple[str, str]:
    """A mean and its interval as text; ("-", "") where there is none."""
    return rounded(interval, _DIGITS[column])


def rounded(interval: Interval, digits: int) -> tuple[str, str]:
    """A mean and its interval as text, with so many digits behind the point."""
    if not math.isfinite(interval.mean):
        return "-", ""
    span = f"{interval.low:.{digits}f} to {interval.high:.{digits}f}"
    return f"{interval.mean:.{digits}f}", span if math.isfinite(interval.low) else ""


def text(table: Table, frames: str = "all") -> str:
    """The table for a console: means with half the width of their 95 % interval."""
    header = ["row", *COLUMNS.values()]
    lines = [header]
    for row, columns in table.items():
        line = [row]
        for column, by_frames in columns.items():
            interval = by_frames[frames]
            half = (interval.high - interval.low) / 2
            shown = cell(interval, column)[0]
            line.append(shown + (f" ±{half:.{_DIGITS[column]}f}" if math.isfinite(half) else ""))
        lines.append(line)
    return "\n".join(aligned(lines))


def aligned(lines: Sequence[Sequence[str]], *, left: int = 1) -> list[str]:
    """Lines of a table as text, its first columns flush left, the others flush right."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return [
        "  ".join(
            value.ljust(width) if i < left else value.rjust(width)
            for i, (value, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def plain(value: Any) -> Any:
    """Turns results into what JSON can hold: dataclasses to objects, NaN and infinity to null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def to_json(value: Any) -> str:
    """Strict JSON of results."""
    return json.dumps(plain(value), indent=1, allow_nan=False, ensure_ascii=False)
