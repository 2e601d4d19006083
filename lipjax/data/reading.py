# SPDX-License-Identifier: Apache-2.0
"""Reading a prepared corpus: any clip at random, and an index that needs no clip decoded."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from lipjax.data import schema, side
from lipjax.data.records import SPLITS, RecordSequence
from lipjax.errors import CorpusError
from lipjax.media.arrays import load_arrays
from lipjax.media.text import is_text

DESCRIPTION = "corpus.json"
_INDEX = "index-{split}.npz"


def index_path(directory: Path, split: str) -> Path:
    """Returns the file that holds the index of a split."""
    return Path(directory) / _INDEX.format(split=split)


@dataclasses.dataclass(frozen=True)
class ClipIndex:
    """Facts of every clip of a split, one array per fact, in record order.

    Attributes:
        id: names of the clips.
        speaker: names of the speakers, "" if unknown.
        sentence: what is said, "" if unknown.
        source: video of each clip, relative to the prepared folder.
        frames: number of frames.
        start: time of the clip's frame 0 in its source, seconds.
        lag: frames by which the sound comes late, NaN if unknown.
        lag_correlation: height of the peak behind `lag`.
    """

    id: np.ndarray
    speaker: np.ndarray
    sentence: np.ndarray
    source: np.ndarray
    frames: np.ndarray
    start: np.ndarray
    lag: np.ndarray
    lag_correlation: np.ndarray

    def __len__(self) -> int:
        return len(self.id)

    def rows(self) -> list[dict[str, Any]]:
        """Returns the same facts clip by clip."""
        names = [field.name for field in dataclasses.fields(self)]
        columns = [getattr(self, name).tolist() for name in names]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]

    @classmethod
    def from_rows(cls, rows: Sequence[dict[str, Any]]) -> "ClipIndex":
        """Returns the index of rows as `rows` gives and `row_of` makes them."""
        kinds = {"frames": np.int64, "start": float, "lag": float, "lag_correlation": float}
        return cls(
            **{
                field.name: np.array([row[field.name] for row in rows], kinds.get(field.name, str))
                for field in dataclasses.fields(cls)
            }
        )


def row_of(clip: schema.Clip) -> dict[str, Any]:
    """Returns the row of the index that describes a clip."""
    return {
        "id": clip.id,
        "speaker": clip.speaker,
        "sentence": clip.sentence,
        "source": clip.source,
        "frames": clip.num_frames,
        "start": float(clip.source_times[0]),
        "lag": clip.lag,
        "lag_correlation": clip.lag_correlation,
    }


class ClipSequence(RecordSequence):
    """The clips of one split, decoded when read."""

    def __init__(self, directory: Path, split: str, length: int):
        super().__init__(directory, split, length, remedy="prepare the corpus again")

    def decode(self, example: dict[str, Any]) -> schema.Clip:
        """Returns the clip of an example."""
        return schema.decode(example)

    if TYPE_CHECKING:

        def __iter__(self) -> Iterator[schema.Clip]: ...
        @overload
        def __getitem__(self, position: int) -> schema.Clip: ...
        @overload
        def __getitem__(self, position: slice) -> list[schema.Clip]: ...
        def __getitem__(self, position): ...


@dataclasses.dataclass(frozen=True)
class Corpus:
    """A prepared corpus on disk.

    Attributes:
        directory: where it lies.
        description: what `corpus.json` holds: schema version, settings, splits, assignment.

    Example:
        >>> corpus = lipjax.open_corpus("corpus")
        >>> isinstance(corpus, lipjax.Corpus), sorted(corpus.splits)
        (True, ['test', 'train', 'val'])
    """

    directory: Path
    description: dict[str, Any]

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that hold at least one clip."""
        return tuple(self.description["splits"])

    @property
    def settings(self) -> dict[str, Any]:
        """The settings it was prepared with."""
        return self.description["settings"]

    def _known(self, split: str) -> str:
        if split not in self.splits:
            raise CorpusError(
                f"{self.directory}: no split {split!r} (there is: {', '.join(self.splits)})"
            )
        return split

    def index(self, split: str) -> ClipIndex:
        """Reads the index of a split; no clip is decoded."""
        path = index_path(self.directory, self._known(split))
        try:
            stored = load_arrays(path)
            index = ClipIndex(**{field.name: stored[field.name] for field in _FIELDS})
            _check_index(index, self.description["splits"][split]["clips"])
            return index
        except (ValueError, KeyError) as error:
            raise CorpusError(f"{path}: damaged index ({error}); prepare again") from error

    def clips(self, split: str) -> ClipSequence:
        """Returns the clips of a split in index order, decoded when read."""
        return ClipSequence(
            self.directory, self._known(split), self.description["splits"][split]["clips"]
        )

    def identity(self, split: str) -> str:
        """Returns a hash that changes with the clips of a split, their order and their cut."""
        index = self.index(split)
        rows = [index.id.tolist(), index.frames.tolist(), index.start.tolist()]
        text = json.dumps([self.settings, rows], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def derived(self, name: str, split: str) -> side.SideSequence:
        """Returns what was derived from the clips of a split, in index order, read at random.

        Args:
            name: of the side corpus, e.g. "flow".
            split: of the corpus.

        Raises:
            CorpusError: it was not derived here, or from other clips than there are now.
        """
        return side.open_side(self.directory, name, split, self.identity(split))


_FIELDS = dataclasses.fields(ClipIndex)
_KINDS = {"frames": "iu", "start": "f", "lag": "f", "lag_correlation": "f"}


def _check_index(index: ClipIndex, clips: int) -> None:
    """Checks that every fact is there once for every clip, and of its kind."""
    for field in _FIELDS:
        column = getattr(index, field.name)
        if column.shape != (clips,) or column.dtype.kind not in _KINDS.get(field.name, "U"):
            raise ValueError(f"{field.name} is {column.dtype} {column.shape}, for {clips} clips")
        if column.dtype.kind == "U" and not all(map(is_text, column.tolist())):
            raise ValueError(f"{field.name} is no Unicode")
    if np.any(index.frames < 1) or not np.isfinite(index.start).all():
        raise ValueError("a clip without frames, or without a time")


def _check_description(description: dict[str, Any]) -> None:
    """Checks what other parts rely on; names of splits become names of files."""
    if not isinstance(description["settings"], dict):
        raise TypeError("settings are no table")
    for split, facts in description["splits"].items():
        if split not in SPLITS:
            raise ValueError(f"split {split!r} is none of {', '.join(SPLITS)}")
        if not (type(facts["clips"]) is int and 0 < facts["clips"] < 1 << 40):
            raise ValueError(f"split {split!r} of {facts['clips']!r} clips")


def open_corpus(directory: Path | str) -> Corpus:
    """Opens a corpus that `lipjax prepare` wrote.

    Args:
        directory: the folder given as `--out`.

    Returns:
        The corpus; no clip has been read.

    Raises:
        CorpusError: no corpus there, an unfinished one, or one of another schema version.

    Example:
        >>> corpus = lipjax.open_corpus("corpus")
        >>> corpus.description["settings"]["fps"]
        25.0
    """
    directory = Path(directory)
    path = directory / DESCRIPTION
    if not path.is_file():
        state = "no such folder" if not directory.is_dir() else "not a prepared corpus"
        if (directory / "work").is_dir():
            state = "prepare has not finished here; run the same command again"
        raise CorpusError(f"{directory}: {state} (make one with: lipjax prepare VIDEOS --out ...)")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        version = description["schema_version"]
        complete = {"settings", "splits"} <= set(description)
        if complete and version == schema.SCHEMA_VERSION:
            _check_description(description)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorpusError(f"{path}: damaged ({error}); prepare the corpus again") from error
    if version != schema.SCHEMA_VERSION or not complete:
        raise CorpusError(
            f"{directory}: schema version {version}, this lipjax reads "
            f"{schema.SCHEMA_VERSION}; prepare the corpus again"
        )
    return Corpus(directory, description)
