# SPDX-License-Identifier: Apache-2.0
"""The folder that prepare works in: fit for it, one job at a time, files whole or absent."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from lipjax.data.reading import DESCRIPTION
from lipjax.errors import ConfigError, CorpusError

_OURS = {DESCRIPTION, "work", "report.html", "report.json"}


def check_place(out: Path) -> None:
    """Makes the folder of a corpus, or finds that something else lies there.

    Raises:
        ConfigError: it is a file.
        CorpusError: it holds something else.
    """
    if out.is_file():
        raise ConfigError(f"{out}: is a file; give a folder for the corpus")
    if out.is_dir():
        names = {path.name for path in out.iterdir()}
        if names and not names & _OURS:
            raise CorpusError(f"{out}: is not empty and no corpus; give another folder")
        if (out / "work").is_symlink():
            raise CorpusError(f"{out / 'work'}: is a link, and would be emptied; remove it")
    out.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def alone(out: Path) -> Iterator[None]:
    """Keeps other jobs out of a folder until this one ends, however it ends.

    Where a file system knows no locks, or on Windows, it keeps nobody out.

    Raises:
        CorpusError: another job is at work there.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    descriptor = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CorpusError(
                f"{out}: another prepare is at work there; wait for it or give another folder"
            ) from None
        except OSError:
            pass
        yield
    finally:
        os.close(descriptor)


def write_whole(path: Path, text: str) -> None:
    """Writes a text file that is there whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)  # never through a link that someone left there
    part.write_text(text, encoding="utf-8")
    part.replace(path)
