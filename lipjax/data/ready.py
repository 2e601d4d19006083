# SPDX-License-Identifier: Apache-2.0
"""Streams ready to be cut, on disk, for corpora that memory cannot hold.

A window of a shuffled corpus needs two clips that nobody has asked for lately. Decoding a whole
record and its sound for 16 frames costs a hundred times what cutting them costs, so each clip's
streams are kept as they are cut, once, in files of one slot per clip that windows are copied out
of. The batches are the same to the bit. Filled as clips come by, by any number of processes;
damaged or half-written slots are noticed by their checksum and made anew. It may be deleted at
any time.
"""

import functools
import hashlib
import io
import json
import mmap
import os
import shutil
import threading
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from absl import logging
from jaxtyping import Shaped

from lipjax.data.metadata import NAME
from lipjax.data.reading import Corpus
from lipjax.data.schema import Clip
from lipjax.data.views import ClipViews, Streams, columns_of

FOLDER = "ready"
_SPARE = 2 << 30  # bytes that are left free
_VERSION = 1  # of the files and of what the streams are computed by
_SLOT = np.dtype([("length", "<u4"), ("checksum", "<u4")])


def key_of(identity: str, records: Mapping[str, tuple[int, int]], streams: Streams) -> str:
    """Returns a name that changes with whatever the streams are made of.

    Args:
        identity: of the split's clips (`Corpus.identity`).
        records: size and time of change of each file of the split.
        streams: settings.
    """
    facts = [_VERSION, identity, sorted(records.items()), repr(streams)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def ready_of(
    corpus: Corpus,
    split: str,
    frames: Shaped[np.ndarray, "clips"],
    streams: Streams,
    *,
    where: str | Path,
    cache_mb: float,
) -> "Ready | None":
    """Returns what keeps a split's streams on disk, or None where that is not wanted.

    Args:
        corpus: prepared.
        split: of it.
        frames: of every clip.
        streams: settings.
        where: a folder, or "auto": in the corpus's own folder, if the clips need more memory
            than they may take and the disk has room; or "": nowhere.
        cache_mb: memory that clips in use may take.
    """
    if not where or not hasattr(os, "pwrite"):  # Windows has none
        return None
    files = sorted(Path(corpus.directory).glob(f"{NAME}-{split}.array_record*"))
    facts = {path.name: (path.stat().st_size, path.stat().st_mtime_ns) for path in files}
    size = sum(kind.nbytes for kind in _kinds(frames, streams).values())
    if where == "auto":
        memory = sum(size for size, _ in facts.values()) + size
        if memory <= cache_mb * 2**20 or not os.access(corpus.directory, os.W_OK):
            return None
        where = Path(corpus.directory) / FOLDER
    directory = Path(where) / f"{split}-{key_of(corpus.identity(split), facts, streams)}"
    if not directory.is_dir() and _free(directory) < size + _SPARE:
        logging.warning(
            "%s: decoded clips do not fit into memory (data.cache_mb) nor on the disk, which has "
            "no room for %.1f GB: batches will be slow",
            directory,
            size / 1e9,
        )
        return None
    logging.warning(
        "%s: decoded clips are kept here, %.1f GB when all are (data.ready= another folder, or "
        "nothing, for nowhere)",
        directory,
        size / 1e9,
    )
    return Ready(directory, frames, streams)


def _free(directory: Path) -> int:
    """Bytes free where a folder is to be made; 0 where that cannot be known."""
    there = next((path for path in directory.parents if path.is_dir()), None)
    return shutil.disk_usage(there).free if there else 0


class _Kind:
    """Shape of one stream's rows, and where each clip's slot begins."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype, rows: np.ndarray):
        self.shape, self.dtype, self.rows = shape, dtype, rows
        self.row_bytes = int(np.prod(shape)) * dtype.itemsize
        self.starts = np.concatenate([[0], np.cumsum(rows * self.row_bytes)])

    @property
    def nbytes(self) -> int:
        """Of all slots."""
        return int(self.starts[-1])


def _kinds(frames: np.ndarray, streams: Streams) -> dict[str, _Kind]:
    size, most = streams.mouth_size, [columns_of(int(n), streams) for n in frames]
    return {
        "mouth": _Kind((size, size, 3), np.dtype(np.uint8), np.asarray(frames, np.int64)),
        "log_mel": _Kind((streams.log_mel.bands,), np.dtype("<f4"), np.array(most, np.int64)),
    }


class Ready:
    """Slots of a split's mouth crops and sound feature in files.

    Args:
        directory: of this split at these settings; made when the first clip is kept.
        frames: of every clip.
        streams: settings.
    """

    def __init__(self, directory: Path, frames: Shaped[np.ndarray, "clips"], streams: Streams):
        self.directory = Path(directory)
        self._kinds = _kinds(frames, streams)
        self._lock = threading.Lock()
        self._files: dict[str, _File] | None = None
        self._off = False

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_lock": None, "_files": None}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of the streams that are kept."""
        return tuple(self._kinds)

    def get(self, name: str, clip: int) -> Shaped[np.ndarray, "..."] | None:
        """Returns a clip's stream, to read only; None if it is not there or damaged."""
        files = self._opened()
        return files[name].get(clip) if files else None

    def put(self, name: str, clip: int, values: Shaped[np.ndarray, "..."]) -> None:
        """Keeps a clip's stream. A disk that is full or fails ends the keeping, nothing else."""
        files = self._opened()
        if not files:
            return
        try:
            files[name].put(clip, values)
        except OSError as error:
            self._give_up(error)

    def _opened(self) -> "dict[str, _File] | None":
        if self._files is None and not self._off:
            with self._lock:
                if self._files is None and not self._off:
                    try:
                        self.directory.mkdir(parents=True, exist_ok=True)
                        opened = {
                            name: _File(self.directory / name, kind)
                            for name, kind in self._kinds.items()
                        }
                        self._files = opened
                    except (OSError, ValueError) as error:
                        self._give_up(error)
        return self._files

    def _give_up(self, error: Exception) -> None:
        if not self._off:
            logging.warning("%s: no further clips are kept (%s)", self.directory, error)
        self._off = True


class _File:
    """One stream of all clips: values, and beside them how many and their checksum."""

    def __init__(self, path: Path, kind: _Kind):
        self._kind = kind
        self._values, self._map = _mapped(path.with_suffix(".values"), int(kind.starts[-1]))
        slots = path.with_suffix(".slots")
        self._slots, table = _mapped(slots, len(kind.rows) * _SLOT.itemsize)
        self._table = np.frombuffer(table, _SLOT)
        self._checked = np.zeros(len(kind.rows), bool)

    def get(self, clip: int) -> np.ndarray | None:
        kind = self._kind
        length, checksum = (int(value) for value in self._table[clip])
        if not 0 < length <= kind.rows[clip]:
            return None
        count = length * kind.row_bytes // kind.dtype.itemsize
        flat = np.frombuffer(self._map, kind.dtype, count, int(kind.starts[clip]))
        if not self._checked[clip]:
            if zlib.crc32(flat.data) != checksum:
                return None
            self._checked[clip] = True
        return flat.reshape(length, *kind.shape)

    def put(self, clip: int, values: np.ndarray) -> None:
        kind = self._kind
        fits = values.dtype == kind.dtype and values.shape[1:] == kind.shape
        if not fits or not 0 < len(values) <= kind.rows[clip]:
            return
        stored = np.ascontiguousarray(values).data
        # The slot's facts come last; until then it counts as empty. Writing instead of storing
        # into the map, because a full disk would kill a process that stores.
        _write(self._values, stored.cast("B"), int(kind.starts[clip]))
        slot = np.array([(len(values), zlib.crc32(stored))], _SLOT)
        _write(self._slots, memoryview(slot.tobytes()), clip * _SLOT.itemsize)


def _mapped(path: Path, size: int) -> tuple[io.FileIO, mmap.mmap]:
    """Opens a file of a fixed size, made of holes where it is new, and maps it for reading."""
    file = io.FileIO(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+")
    if os.fstat(file.fileno()).st_size != size:
        os.ftruncate(file.fileno(), size)
    return file, mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)


def _write(file: io.FileIO, values: memoryview, offset: int) -> None:
    while values:
        written = os.pwrite(file.fileno(), values, offset)
        values, offset = values[written:], offset + written


class ReadyViews(ClipViews):
    """Views of a clip whose record is read only if something is asked that is not ready.

    Args:
        ready: what is kept of its split.
        clip: number in the split.
        num_frames: of the clip.
        streams: settings.
        load: reads the clip's record.
    """

    def __init__(
        self,
        ready: Ready,
        clip: int,
        num_frames: int,
        streams: Streams,
        load: Callable[[], ClipViews],
    ):
        self._ready, self._number, self._frames = ready, clip, num_frames
        self._streams, self._load = streams, load

    @functools.cached_property
    def _loaded(self) -> ClipViews:
        return self._load()

    @property
    def clip(self) -> Clip:
        """The clip itself; reads its record."""
        return self._loaded.clip

    @property
    def num_frames(self) -> int:
        """Frames of the clip."""
        return self._frames

    def stream(self, name: str) -> Shaped[np.ndarray, "..."]:
        """Returns the whole stream of that name."""
        if name not in self._ready.kinds:
            return self._loaded.stream(name)
        values = self._ready.get(name, self._number)
        if values is None:
            values = self._loaded.stream(name)
            self._ready.put(name, self._number, values)
        return values
