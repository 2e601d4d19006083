# SPDX-License-Identifier: Apache-2.0
"""How fast a run goes, and how long it still takes, in one line on the console."""

import time
from collections.abc import Callable, Mapping


def duration(seconds: float) -> str:
    """Returns a time span as people write it: "8 s", "3 min 20 s", "2 h 05 min"."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class Progress:
    """Measures steps and prints the console line.

    Args:
        steps: of the whole run.
        start: steps done before.
        batch_size: windows per step.
        seconds: spent in earlier parts of the run.
        every: seconds after which a line is due although nothing was logged.
        show: prints a line.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        *,
        steps: int,
        start: int,
        batch_size: int,
        seconds: float = 0.0,
        every: float = 10.0,
        show: Callable[[str], None] = lambda line: print(line, flush=True),
        clock: Callable[[], float] = time.monotonic,
    ):
        self._steps, self._batch_size, self._every = steps, batch_size, every
        self._before, self._show, self._clock = seconds, show, clock
        self._first = self._last_line = clock()
        self._start = start
        self._mark = (start, self._first)
        self._paused = 0.0
        self._paused_since_mark = 0.0

    @property
    def seconds(self) -> float:
        """Spent so far, earlier parts of the run included, compilation not."""
        return self._before + self._clock() - self._first

    def pause(self, seconds: float) -> None:
        """Takes time that was no training (evaluation, previews) out of the speed."""
        self._paused += seconds
        self._paused_since_mark += seconds

    def due(self) -> bool:
        """Whether the last line is so long ago that the next step should print one."""
        return self._clock() - self._last_line >= self._every

    def overall(self, step: int) -> float:
        """Returns steps per second of training since the start of this part of the run."""
        spent = self._clock() - self._first - self._paused
        return (step - self._start) / max(spent, 1e-9)

    def measure(self, step: int) -> dict[str, float]:
        """Returns steps and windows per second since the last call."""
        now = self._clock()
        done = step - self._mark[0]
        rate = done / max(now - self._mark[1] - self._paused_since_mark, 1e-9)
        self._mark, self._paused_since_mark = (step, now), 0.0
        return {"steps_per_second": rate, "windows_per_second": rate * self._batch_size}

    def line(
        self, step: int, terms: Mapping[str, float | int | None], speed: Mapping[str, float | int]
    ) -> None:
        """Prints step, terms, speed and the time left, which counts evaluation and previews.

        Args:
            step: steps done.
            terms: name -> number; None prints as "not finite".
            speed: from `measure`.
        """
        now = self._clock()
        self._last_line = now
        left = (self._steps - step) * (now - self._first) / max(step - self._start, 1)
        numbers = "  ".join(
            f"{name} {'not finite' if value is None else format(value, '.4g')}"
            for name, value in terms.items()
        )
        self._show(
            f"step {step}/{self._steps}  {numbers}  {speed['steps_per_second']:.2f} steps/s  "
            f"{speed['windows_per_second']:.1f} windows/s  {duration(left)} left"
        )

    def say(self, text: str) -> None:
        """Prints a line of its own."""
        self._last_line = self._clock()
        self._show(text)
