# SPDX-License-Identifier: Apache-2.0
"""Worker processes under watch: one that dies or hangs is an error within seconds, never a wait.

Grain makes the processes and carries the batches. It notices most deaths, but not a worker that
exits with code 0 nor one that dies while it sends, and it waits for ever for one that hangs.
"""

import contextlib
import functools
import multiprocessing
import multiprocessing.connection
import os
import queue
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lipjax.errors import WorkerError

_LOOK_EVERY = 0.5  # seconds
_GRACE = 3.0  # seconds that the error of a worker that ended with code 0 may take to arrive
_START = 300.0  # seconds that the first element may take at least: processes import much


def from_workers(dataset: Any, count: int, *, ahead: int, patience: float) -> Iterator[Any]:
    """Yields the elements of an endless dataset, made by worker processes.

    Args:
        dataset: a grain `IterDataset`.
        count: of processes.
        ahead: elements that each of them makes ahead.
        patience: seconds without an element after which the workers count as hanging.

    Raises:
        WorkerError: a worker died, or none of them gave anything for too long.
    """
    import grain

    _let_grain_run_anywhere()
    folder = Path(tempfile.mkdtemp(prefix="lipjax-workers-"))
    options = grain.MultiprocessingOptions(count, per_worker_buffer_size=ahead)
    begin = functools.partial(_begin, str(folder))
    elements = dataset.mp_prefetch(options, worker_init_fn=begin)
    watch, feed = _Watch(folder, count), _Feed(elements)
    waited, ended, limit, broken = 0.0, 0.0, max(patience, _START), True
    try:
        while True:
            watch.look()
            try:
                element = feed.get(_LOOK_EVERY)
            except queue.Empty:
                # Summed up look by look, so that a job that was stopped and continued is no
                # hanging one.
                waited += _LOOK_EVERY
                # Grain ends a worker with code 0 while its error is still on its way here.
                ended = ended + _LOOK_EVERY if watch.one_has_ended() else 0.0
                watch.check(also_zero=ended >= _GRACE)
                if waited > limit:
                    raise WorkerError(
                        f"no batch from {count} data workers for {limit:.0f} s ({watch}): the "
                        "storage may hang; data.patience sets how long to wait, data.workers=0 "
                        "does without them"
                    ) from None
                continue
            if isinstance(element, BaseException):
                watch.check(also_zero=False)  # how it ended, rather than that it did
                raise element
            waited, ended, limit = 0.0, 0.0, patience
            yield element
    except GeneratorExit:
        broken = False
        raise
    finally:
        if broken:
            watch.kill()  # nobody waits for what the others are making
        feed.close(timeout=3.0 if broken else 30.0)
        shutil.rmtree(folder, ignore_errors=True)


class _Feed:
    """Takes elements from an iterator in a thread of its own, one ahead.

    The thread alone touches the iterator, also to close it; where it is stuck it is left behind.
    """

    def __init__(self, elements: Any):
        self._taken: queue.Queue = queue.Queue(1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(elements,), daemon=True)
        self._thread.start()

    def get(self, timeout: float) -> Any:
        """Returns the next element, or the exception that came instead.

        Raises:
            queue.Empty: none came in that many seconds.
        """
        return self._taken.get(timeout=timeout)

    def close(self, timeout: float) -> None:
        """Closes the iterator; waits at most that many seconds for it."""
        self._stop.set()
        self._thread.join(timeout)

    def _run(self, elements: Any) -> None:
        iterator = None
        try:
            iterator = iter(elements)
            for element in iterator:
                if not self._put(element):
                    return
            self._put(WorkerError("the data workers ended"))
        except BaseException as error:  # noqa: BLE001 - it is raised where elements are asked for
            self._put(error)
        finally:
            if iterator is not None:
                iterator.close()

    def _put(self, element: Any) -> bool:
        while not self._stop.is_set():
            with contextlib.suppress(queue.Full):
                self._taken.put(element, timeout=_LOOK_EVERY)
                return True
        return False


class _Watch:
    """Knows the processes of one stream by the files in which they note their ids."""

    def __init__(self, folder: Path, count: int):
        self._folder, self._count = folder, count
        self._children: dict[int, multiprocessing.process.BaseProcess] = {}

    def __str__(self) -> str:
        return ", ".join(f"worker {n}: process {pid}" for n, pid in sorted(self._known().items()))

    def look(self) -> None:
        """Takes note of processes: of those that have ended, Python forgets the exit code."""
        self._children |= {c.pid: c for c in multiprocessing.active_children() if c.pid}

    def check(self, *, also_zero: bool = True) -> None:
        """Looks whether one has ended; with exit code 0, grain itself may have ended it.

        Raises:
            WorkerError: with its number, how it ended and what may be the reason.
        """
        self.look()
        for number, pid in sorted(self._known().items()):
            told = f"data worker {number} of {self._count} (process {pid})"
            if pid not in self._children:
                raise WorkerError(f"{told} has ended")
            code = self._children[pid].exitcode
            if code or (code == 0 and also_zero):
                raise WorkerError(f"{told} {_ending(code)}")

    def one_has_ended(self) -> bool:
        """Whether a process that is known has ended."""
        self.look()
        known = [self._children[pid] for pid in self._known().values() if pid in self._children]
        return any(child.exitcode is not None for child in known)

    def kill(self) -> None:
        """Ends all of them."""
        for pid in self._known().values():
            if pid in self._children:
                self._children[pid].kill()

    def _known(self) -> dict[int, int]:
        found = {}
        for file in self._folder.glob("worker-*"):
            with contextlib.suppress(OSError, ValueError):  # being written
                found[int(file.name.partition("-")[2])] = int(file.read_text())
        return found


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}; its last words are on standard error"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    told = f"was killed by signal {-code} ({name})"
    if -code == signal.SIGKILL:
        told += (
            "; as a rule the system ran out of memory: every worker keeps clips of its own, so "
            "lower data.cache_mb or data.workers"
        )
    elif -code == getattr(signal, "SIGBUS", None):
        told += "; as a rule /dev/shm is full: make it larger or lower data.workers"
    return told


def _begin(folder: str, number: int, count: int) -> None:
    """What a worker does first: leaves its id, and sees to it that it ends with its parent."""
    # Ctrl-C and a preemption reach every process of a job; the parent decides what they mean.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    part = Path(folder) / f"part-{number}"
    part.write_text(str(os.getpid()))
    part.replace(part.with_name(f"worker-{number}"))
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


def _let_grain_run_anywhere() -> None:
    """Grain's worker processes want absl's flags parsed, which only absl programs do."""
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
