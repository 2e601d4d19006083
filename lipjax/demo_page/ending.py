# SPDX-License-Identifier: Apache-2.0
"""What Ctrl-C and the other signals that end a program do to the page.

Imports nothing heavy: the signals are taken before JAX is imported.
"""

import contextlib
import signal
from collections.abc import Iterator
from typing import Any


class Ending:
    """What SIGINT, SIGTERM and SIGHUP do: end the server if there is one, else the start of it.

    The start ends at its next step. What is raised at any moment is lost if Python collects
    garbage just then, since JAX has a part in that, and crashes some libraries as they are
    imported. A second signal does it all the same.

    Attributes:
        number: of the first signal that came, 0 before.
        server: uvicorn's, while there is one.
    """

    def __init__(self) -> None:
        """Nothing has come yet."""
        self.number = 0
        self.server: Any = None

    def __call__(self, number: int, frame: Any) -> None:
        """Takes a signal."""
        first, self.number = not self.number, self.number or number
        if self.server is None:
            if first:
                return
            raise KeyboardInterrupt
        self.server.force_exit = self.server.should_exit  # a second one waits for nobody
        self.server.should_exit = True

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Takes the signals within a block."""
        names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
        before = {name: signal.signal(getattr(signal, name), self) for name in names}
        try:
            yield
        finally:
            for name, handler in before.items():
                signal.signal(getattr(signal, name), handler)

    def check(self) -> None:
        """Ends the start of the page if a signal came; to be called between its steps.

        Raises:
            KeyboardInterrupt: a signal came.
        """
        if self.number:
            raise KeyboardInterrupt

    def begin(self, server: Any) -> None:
        """Leaves it to a server to end from now on; one that a signal precedes does not start."""
        self.server = server
        if self.number:
            server.should_exit = True
