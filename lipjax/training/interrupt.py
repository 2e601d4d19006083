# SPDX-License-Identifier: Apache-2.0
"""Stopping between two steps when the system asks for it."""

import signal
import threading
from typing import Any

import jax

from lipjax.training.processes import largest

AGREE_EVERY = 8  # steps; a message between all processes each time


class Stop:
    """Turns SIGINT and SIGTERM into a wish to stop after the step; a second SIGINT stops hard."""

    def __init__(self) -> None:
        self.asked: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Stop":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *error: Any) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: Any) -> None:
        self.asked = number
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def agreed(self, step: int) -> bool:
        """Whether all processes stop after this step, because one of them was asked to.

        Args:
            step: steps done; several processes talk about it every `AGREE_EVERY` steps.
        """
        if jax.process_count() > 1:
            if step % AGREE_EVERY:
                return False
            self.asked = largest(self.asked or 0) or None
        return self.asked is not None

    def leave(self) -> None:
        """Ends the program the way the signal asked for."""
        if self.asked == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)
        raise KeyboardInterrupt
