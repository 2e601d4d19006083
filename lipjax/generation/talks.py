# SPDX-License-Identifier: Apache-2.0
"""What generate tells its caller: progress on the way, facts at the end."""

import dataclasses
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Progress = Callable[[str, int, int, float], None]
"""(what is done, frames done, frames in all, seconds left; nan while unknown)"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Talk:
    """A video that was made.

    Attributes:
        path: the file.
        kind: what the face was: "mouth", "face" or "video".
        frames: made.
        fps: frames per second.
        width, height: pixels.
        untracked: numbers of the frames in which no face was found; they pass through as they
            are.
        notes: what else the user should know.
        work_seconds: spent on it, reading, compiling and writing included.
    """

    path: Path
    kind: str
    frames: int
    fps: float
    width: int
    height: int
    untracked: tuple[int, ...]
    notes: tuple[str, ...]
    work_seconds: float

    @property
    def seconds(self) -> float:
        """Length of the video."""
        return self.frames / self.fps

    @property
    def real_time_factor(self) -> float:
        """Seconds of work per second of video; below 1 is faster than it plays."""
        return self.work_seconds / self.seconds

    def as_dict(self) -> dict[str, Any]:
        """The facts as plain values, for JSON."""
        plain = dataclasses.asdict(self)
        plain.update(path=str(self.path), untracked=spans(self.untracked))
        return {**plain, "seconds": self.seconds, "real_time_factor": self.real_time_factor}

    def summary(self) -> str:
        """A few lines for the console."""
        lines = [
            f"{self.path}: {self.seconds:.2f} s, {self.frames} frames of {self.width}x"
            f"{self.height}, made in {self.work_seconds:.1f} s "
            f"({self.real_time_factor:.2f} s per second of video)",
            *self.notes,
        ]
        if self.untracked:
            lines.append(
                f"no face in {len(self.untracked)} of {self.frames} frames, left as they are: "
                + spans(self.untracked)
            )
        return "\n  ".join(lines)


def spans(numbers: tuple[int, ...]) -> str:
    """Writes increasing numbers as ranges: (3, 4, 5, 9) as "3-5, 9"."""
    ends: list[list[int]] = []
    for number in numbers:
        if ends and number == ends[-1][1] + 1:
            ends[-1][1] = number
        else:
            ends.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in ends)


@dataclasses.dataclass(frozen=True)
class Talks:
    """The outcome of a list of videos to make.

    Attributes:
        made: in order of the list.
        failed: (line of the list, what went wrong).
    """

    made: tuple[Talk, ...]
    failed: tuple[tuple[int, str], ...]

    def as_dict(self) -> dict[str, Any]:
        """The facts as plain values, for JSON."""
        failed = [{"line": line, "error": error} for line, error in self.failed]
        return {"made": [talk.as_dict() for talk in self.made], "failed": failed}

    def summary(self) -> str:
        """Lines for the console: each video, each failure, and the count."""
        lines = [talk.summary() for talk in self.made]
        lines += [f"line {line}: {error}" for line, error in self.failed]
        return "\n".join([*lines, f"{len(self.made)} made, {len(self.failed)} failed"])


class Clock:
    """Turns counts into calls of `progress`, five per second, with the time left."""

    def __init__(self, what: str, progress: Progress) -> None:
        self._what, self._progress = what, progress
        self._first: tuple[int, float] | None = None
        self._last = 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self._first is None:
            # Counted from the first result on: what came before was loading and compiling.
            self._first = (done, now)
        if done < total and now - self._last < 0.2:
            return
        self._last = now
        count = done - self._first[0]
        left = (now - self._first[1]) / count * (total - done) if count else math.nan
        self._progress(self._what, done, total, left)


def show_progress(what: str, done: int, total: int, left: float) -> None:
    """A `progress` for the console: one line on standard error that keeps up to date."""
    eta = "" if math.isnan(left) else f", {left:.0f} s left"
    line = f"{what}: {done} of {total} frames{eta}"
    print(f"\r{line:<60}", end="\n" if done >= total else "", file=sys.stderr, flush=True)
