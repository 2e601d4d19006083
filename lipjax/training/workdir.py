# SPDX-License-Identifier: Apache-2.0
"""A workdir belongs to one run at a time; whether it can be written is known before work starts."""

import contextlib
import errno
import functools
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from lipjax.errors import ConfigError
from lipjax.training.processes import largest

LOCK = "run.lock"
_WRITTEN = ("checkpoints", "tensorboard", "previews", "metrics.jsonl")
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def claims_workdir(run: Callable) -> Callable:
    """Makes a function with the arguments `workdir` and `show` hold its workdir while it runs."""

    @functools.wraps(run)
    def claiming(*args: Any, workdir: Path, **options: Any) -> Any:
        with claimed(Path(workdir), show=options.get("show", print)):
            return run(*args, workdir=workdir, **options)

    return claiming


@contextlib.contextmanager
def claimed(workdir: Path, *, show: Callable[[str], None] = print) -> Iterator[None]:
    """Makes the workdir and holds it, so that no second run writes into it.

    The system drops the lock with the process, however it ends: nothing has to be cleaned up after
    a SIGKILL. Of several processes the first holds it for all.

    Args:
        workdir: of a run.
        show: prints a line.

    Raises:
        ConfigError: another run holds it, or it cannot be made or written.
    """
    with contextlib.ExitStack() as held:
        on_first(lambda: held.enter_context(_locked(workdir, show)))
        yield


def on_first(check: Callable[[], Any]) -> None:
    """Calls something on process 0; where that raises, every process of the run does.

    Args:
        check: what may fail.

    Raises:
        ConfigError: on the other processes.
    """
    failed: Exception | None = None
    if jax.process_index() == 0:
        try:
            check()
        except Exception as error:  # noqa: BLE001 - the others must hear of any
            failed = error
    if largest(failed is not None):
        raise failed or ConfigError("process 0 of this run cannot start; its message says why")


@contextlib.contextmanager
def _locked(workdir: Path, show: Callable[[str], None]) -> Iterator[None]:
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        file = (workdir / LOCK).open("a+")
    except OSError as error:
        raise _unusable(workdir, error) from error
    with file:
        try:
            _lock(file)
        except BlockingIOError:
            raise ConfigError(
                f"{workdir} is in use by {_holder(workdir / LOCK)}; wait until that run ends, stop "
                "it, or choose another --workdir"
            ) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise _unusable(workdir, error) from error
            show(f"{workdir} lies on a file system without locks: see that no second run uses it")
        try:
            _check_writable(workdir)
            file.truncate(0)
            started = time.strftime("%Y-%m-%d %H:%M:%S")
            holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": started}
            file.write(json.dumps(holder) + "\n")
            file.flush()
        except OSError as error:
            raise _unusable(workdir, error) from error
        try:
            yield
        finally:
            # The file stays: were it deleted, two runs could hold two files of that name.
            with contextlib.suppress(OSError):
                file.truncate(0)


def _lock(file: Any) -> None:
    try:
        import fcntl
    except ImportError as error:  # Windows
        raise OSError(errno.ENOSYS, "no flock") from error
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _holder(lock: Path) -> str:
    try:
        told = json.loads(lock.read_text())
        return f"process {told['pid']} on {told['host']} since {told['since']}"
    except (OSError, ValueError, KeyError, TypeError):  # it is just being written
        return "another process"


def _check_writable(workdir: Path) -> None:
    for path in (workdir, *(workdir / name for name in _WRITTEN)):
        if path.exists() and not os.access(path, os.W_OK):
            raise OSError(errno.EACCES, f"no permission to write {path}")


def _unusable(workdir: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{workdir} cannot be written ({error.strerror or error}); choose another --workdir, or "
        "see to its permissions and its disk"
    )


def check_room(workdir: Path, state: Any, *, copies: int) -> None:
    """Refuses to start where the disk cannot take the checkpoints that a run keeps.

    Args:
        workdir: of the run, on process 0.
        state: arrays or their shapes; what a checkpoint holds.
        copies: checkpoints that are still to come before older ones are deleted.

    Raises:
        ConfigError: with what is there and what is needed.
    """
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    free = shutil.disk_usage(workdir).free
    if free < copies * size:
        raise ConfigError(
            f"{workdir}: {_amount(free)} free on its disk, and {copies} checkpoints of up to "
            f"{_amount(size)} each are still to come; make room, or choose another --workdir"
        )


def _amount(size: float | int) -> str:
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


@contextlib.contextmanager
def closing(*parts: Any) -> Iterator[None]:
    """Closes every part at the end, though one of them fails.

    Its error counts only where nothing went wrong before: what did is what people have to read.
    """
    broken, errors = True, []
    try:
        yield
        broken = False
    finally:
        for part in parts:
            try:
                part.close()
            except Exception as error:  # noqa: BLE001 - the others must still be closed
                errors.append(error)
        if errors and not broken:
            raise errors[0]
