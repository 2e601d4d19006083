# SPDX-License-Identifier: Apache-2.0
"""The files of the page: in one temporary folder, and gone when nobody looks at them any more."""

import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

if sys.platform != "win32":
    import fcntl

PREFIX = "lipjax-demo-"
"""What the folder's name begins with."""
LOCK = "served"
"""Name of the file in it that is locked as long as the page's process lives, however it ends."""
OLD = 3600.0
"""Seconds after which a file that no open page shows is removed."""


class Files:
    """The page's temporary folder, and whose each file in it is.

    Attributes:
        folder: everything is below it.
        cache: where gradio puts what is uploaded and what is shown, each in a folder of its own.
        made: for videos in the making.
        examples: for the examples.
    """

    def __init__(self) -> None:
        """Makes the folder, readable to this user alone; removes those of killed pages."""
        remove_left()
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._held = _lock_new(self.folder / LOCK)
        self.cache, self.made = self.folder / "cache", self.folder / "made"
        self.examples = self.folder / "examples"
        for folder in (self.cache, self.made, self.examples):
            folder.mkdir()
        self._lock = threading.Lock()
        self._owners: dict[Path, set[str]] = {}
        self._kept: set[Path] = set()

    def keep(self, path: str | os.PathLike) -> None:
        """Lets a file of the cache stay as long as the page is served."""
        with self._lock:
            self._kept.add(Path(path))

    def give(self, session: str, path: str | os.PathLike | None) -> None:
        """Notes that a session shows a file, which lives no longer than its last session."""
        if path is not None and Path(path).is_relative_to(self.cache):
            with self._lock:
                self._owners.setdefault(Path(path), set()).add(session)
        self.sweep()

    def close(self, session: str) -> None:
        """Removes what only this session shows."""
        with self._lock:
            for path, owners in list(self._owners.items()):
                owners.discard(session)
                if not owners:
                    del self._owners[path]
                    self._remove(path)

    def sweep(self, *, now: float | int | None = None) -> None:
        """Removes old files of nobody, such as an upload whose sender has gone before its end.

        Args:
            now: the time, seconds since 1970; for tests.
        """
        before = (time.time() if now is None else now) - OLD
        with self._lock:
            known = self._kept | set(self._owners)
            for path in [path for path in self.cache.rglob("*") if path.is_file()]:
                try:
                    old = path.stat().st_mtime < before
                except OSError:  # gone meanwhile
                    continue
                if old and path not in known:
                    self._remove(path)

    def remove(self) -> None:
        """Removes everything; may be called more than once."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def _remove(self, path: Path) -> None:
        if path in self._kept:
            return
        path.unlink(missing_ok=True)
        if path.parent != self.cache and not any(path.parent.iterdir()):
            path.parent.rmdir()


def remove_left() -> list[Path]:
    """Removes what pages have left that were killed before they could do so.

    Returns:
        The folders that are gone.
    """
    if sys.platform == "win32":  # knows no such locks
        return []
    gone = []
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            # In a temporary folder that all share, a link or another's file is none of ours.
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
                continue
            number = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:  # gone meanwhile, or has no such file
            continue
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
            gone.append(folder)
        except OSError:  # its page is alive
            pass
        finally:
            os.close(number)
    return gone


def _lock_new(path: Path) -> int | None:
    """Makes a file that appears under its name when it is locked; returns its number."""
    if sys.platform == "win32":
        return None
    making = path.with_suffix(".making")
    number = os.open(making, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        fcntl.flock(number, fcntl.LOCK_EX)
    except OSError:  # a file system without locks: without the file the folder is left alone
        os.close(number)
        return None
    os.rename(making, path)
    return number
