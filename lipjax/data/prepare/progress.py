# SPDX-License-Identifier: Apache-2.0
"""How far prepare is: videos done, clips per second, time left."""

import time
from collections.abc import Callable
from typing import Any


def clock(seconds: float) -> str:
    """Returns seconds as 1:05 or 2:00:07."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Progress:
    """Counts what is done and tells it about once a second.

    Args:
        total: videos in all.
        done: videos that were done before.
        fps: frames per second of the clips.
        tell: takes a line; nothing is told if None.
    """

    def __init__(
        self, total: int, done: int, fps: float, tell: Callable[[str], None] | None
    ) -> None:
        self._total, self._before, self._fps, self._tell = total, done, fps, tell
        self._done = self._clips = self._bad = 0
        self._frames = 0
        self._begin = self._told = time.monotonic()

    def frames(self, count: int) -> None:
        """Notes frames that were looked at (each is decoded twice)."""
        self._frames += count
        self._say()

    def finished(self, facts: dict[str, Any]) -> None:
        """Notes a video that is done."""
        self._done += 1
        self._clips += facts["kept_clips"]
        self._bad += bool(facts["reason"])
        self._say()

    def close(self) -> None:
        """Tells the last state."""
        self._say(always=True)

    def _say(self, *, always: bool = False) -> None:
        now = time.monotonic()
        if self._tell is None or not (always or now - self._told >= 1.0):
            return
        self._told, passed = now, max(now - self._begin, 1e-6)
        left = self._total - self._before - self._done
        line = f"{self._before + self._done}/{self._total} videos"
        if self._before:
            line += f" ({self._before} done before)"
        line += f", {self._clips} clips ({self._clips / passed:.2f}/s)"
        if self._bad:
            line += f", {self._bad} not usable"
        if left and self._done:
            line += f", {clock(passed / self._done * left)} left"
        elif left:
            line += f", {self._frames / self._fps:.0f} s of video looked at"
        self._tell(line)
