# SPDX-License-Identifier: Apache-2.0
"""Disks that fail while training: told in one line, whichever library ran into them."""

import contextlib
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

from lipjax.errors import WorkdirError


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tells what a disk has against writing a file; other errors pass.

    Args:
        path: of what is written.

    Raises:
        WorkdirError: with the path, the reason and the way out.
    """
    try:
        yield
    except Exception as error:
        reason = disk_error(error)
        if reason is None:
            raise
        logging.getLogger("asyncio").addFilter(_no_disk_error)
        raise WorkdirError(
            f"{path} could not be written: {reason}; what was saved before is whole: make room, "
            "or see to the disk, and give the same command again"
        ) from error


def disk_error(error: BaseException) -> str | None:
    """Returns what a disk had against it, None if something else went wrong."""
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, OSError) and chain.strerror:
            return chain.strerror
        code = re.search(r"os_error_code='(\d+)'", str(chain))  # how TensorStore tells it
        if code:
            return os.strerror(int(code[1]))
        chain = chain.__cause__ or chain.__context__
    return None


def _no_disk_error(record: logging.LogRecord) -> bool:
    """Leaves out the other writes that failed with the one that was told."""
    return not (record.exc_info and record.exc_info[1] and disk_error(record.exc_info[1]))


def first_line(error: BaseException | None) -> str:
    """Returns an error's type and the beginning of its message."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"


def without_orbax(record: logging.LogRecord) -> bool:
    """Leaves out what Orbax logs: pages of tracebacks for an error that is told in one line."""
    return f"{os.sep}orbax{os.sep}" not in record.pathname
