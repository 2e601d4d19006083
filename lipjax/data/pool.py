# SPDX-License-Identifier: Apache-2.0
"""Work in many processes where one that crashes or hangs costs its own task only."""

import contextlib
import dataclasses
import multiprocessing
import multiprocessing.connection
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lipjax.errors import ConfigError

Beat = Callable[[int], None]
Work = Callable[[Any, Beat], Any]
_START = 120.0  # seconds that a worker may take at least until its first sign of life


@dataclasses.dataclass(frozen=True)
class Failure:
    """What came instead of a result."""

    reason: str
    detail: str


@dataclasses.dataclass(frozen=True)
class Progressed:
    """A sign of life: frames done since the last one."""

    frames: int


def run(
    tasks: Sequence[Any],
    work: Work,
    *,
    processes: int,
    patience: float = 180.0,
    memory_gb: float = 8.0,
) -> Iterator[tuple[Any, Any]]:
    """Does every task and yields results as they come.

    Args:
        tasks: arguments, picklable.
        work: (task, beat) -> result; picklable. It calls `beat` again and again.
        processes: worker processes; 0 works in this one, without protection.
        patience: seconds without a beat after which a worker counts as hanging.
        memory_gb: that a worker may take above what it starts with; more fails the task (Linux).

    Yields:
        (task, result), (task, Failure) or (task, Progressed).

    Raises:
        ConfigError: a worker found that nothing can work, e.g. a missing package.
    """
    if processes == 0:
        yield from _in_this_process(tasks, work)
        return
    waiting = list(reversed(tasks))
    workers = [_Worker(work, memory_gb) for _ in range(min(processes, len(tasks)))]
    try:
        while True:
            for worker in workers:
                if worker.task is None and waiting:
                    worker.give(waiting.pop())
            busy = [worker for worker in workers if worker.task is not None]
            if not busy:
                return
            ready = multiprocessing.connection.wait([worker.pipe for worker in busy], timeout=1.0)
            for worker in busy:
                if worker.pipe in ready:
                    yield worker.answer()
                elif (silent := time.monotonic() - worker.heard) > worker.limit(patience):
                    task = worker.task
                    worker.restart()
                    detail = f"no sign of life for {silent:.0f} s; the worker was stopped"
                    yield task, Failure("hangs", detail)
    finally:
        for worker in workers:
            worker.stop()


def _in_this_process(tasks: Sequence[Any], work: Work) -> Iterator[tuple[Any, Any]]:
    for task in tasks:
        beats: list[int] = []
        result = _attempt(work, task, beats.append)
        yield from ((task, Progressed(frames)) for frames in beats)
        yield task, _unwrapped(result)


def _attempt(work: Work, task: Any, beat: Beat) -> tuple[str, Any]:
    try:
        return "done", work(task, beat)
    except ConfigError as error:
        return "fatal", str(error)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{where.filename}:{where.lineno}"
        return "failed", f"{type(error).__name__}: {error} ({place})"


def _unwrapped(answer: tuple[str, Any]) -> Any:
    kind, value = answer
    if kind == "fatal":
        raise ConfigError(value)
    return value if kind == "done" else Failure("error", value)


class _Worker:
    """A process that does one task after another."""

    def __init__(self, work: Work, memory_gb: float):
        self._work, self._memory_gb = work, memory_gb
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        arguments = (self._work, theirs, self._memory_gb)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()  # so that the pipe ends when the process does
        self.task: Any = None
        self._ready = False
        self.heard = time.monotonic()

    def give(self, task: Any) -> None:
        """Hands over a task."""
        self.task, self.heard = task, time.monotonic()
        with contextlib.suppress(OSError):  # a dead worker is noticed by `answer`
            self.pipe.send(task)

    def answer(self) -> tuple[Any, Any]:
        """Takes the next message; a worker that died is replaced."""
        task, self.heard = self.task, time.monotonic()
        try:
            kind, value = self.pipe.recv()
        except (EOFError, OSError):
            self._process.join(5.0)
            code = self._process.exitcode
            if not self._ready:
                raise ConfigError(
                    f"worker processes cannot start (exit code {code}); in a script, put "
                    "the call below `if __name__ == '__main__':`"
                ) from None
            self.restart()
            return task, Failure("crashed", f"the worker process ended with exit code {code}")
        self._ready = True
        if kind == "beat":
            return task, Progressed(value)
        self.task = None
        return task, _unwrapped((kind, value))

    def limit(self, patience: float) -> float:
        """How long it may be silent: a process that starts imports much before it says so."""
        return patience if self._ready else max(patience, _START)

    def stop(self) -> None:
        """Ends the process."""
        self.pipe.close()
        self._process.terminate()
        self._process.join(5.0)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def restart(self) -> None:
        """Ends the process and starts a fresh one without a task."""
        self.stop()
        self._start()


def _limit_memory(gigabytes: float) -> None:
    """Keeps this process from taking much more memory than it has; does nothing beside Linux."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[5])  # data and stacks
        most = pages * resource.getpagesize() + int(gigabytes * 2**30)
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    except (ImportError, OSError, ValueError, IndexError):
        return


def _serve(work: Work, pipe: Any, memory_gb: float) -> None:
    """What a worker process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    with contextlib.suppress(ImportError):
        import cv2

        cv2.setNumThreads(1)
    _limit_memory(memory_gb)

    def beat(frames: int) -> None:
        try:
            pipe.send(("beat", frames))
        except OSError:  # the parent has gone: not to be taken for a fault of the task
            raise SystemExit(1) from None

    with contextlib.suppress(EOFError, OSError):  # the parent has gone
        beat(0)  # says that the process has started
        while True:
            pipe.send(_attempt(work, pipe.recv(), beat))
