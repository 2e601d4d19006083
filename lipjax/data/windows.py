# SPDX-License-Identifier: Apache-2.0
"""From prepared clips to batches: `batch(step)` is a pure function of (seed, step).

Every window of every clip is an index; grain shuffles the indices anew each pass, so a batch
mixes all clips, and the same global batch comes out for any number of workers and processes.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lipjax.data import faults
from lipjax.data.anchors import Anchors
from lipjax.data.augment import Augment
from lipjax.data.cutting import BadWindow, Cutter
from lipjax.data.reading import Corpus
from lipjax.data.views import DERIVED, Streams, View
from lipjax.data.workers import from_workers
from lipjax.errors import ConfigError, CorpusError

Batch = dict[str, np.ndarray]
Found = tuple[faults.Fault, ...]
UNCHANGED = Augment()
_RETRIES = 64  # draws after which a corpus counts as broken, whatever the limit on bad clips


class Windows:
    """Batches of windows for a task's table of inputs.

    Args:
        corpora: prepared corpora; several are mixed by `weights`.
        inputs: the task's table, name -> view.
        split: "train", "val" or "test".
        streams: settings of the views.
        batch_size: windows of a global batch.
        seed: of the order, the draws and the augmentation.
        weights: share of each corpus in the mix; by number of windows if not given.
        augment: changes of pictures; none by default.
        process: (index, count): this process gets the index-th part of every global batch.
        cache_mb: memory per corpus for clips in use, in every process that makes batches.
        workers: processes that make batches ahead of time; 0 leaves it to threads of this one.
        max_bad_fraction: share of a corpus's clips that may turn out to be unusable, 0 .. 1; a
            few always may unless it is 0.
        max_short_fraction: share of a corpus's clips that may be shorter than a window, 0 .. 1.
        ready: where decoded clips are kept on disk, for corpora that memory cannot hold: a
            folder, "auto" (with the corpus, if it does not fit) or "" (nowhere).
        patience: seconds without a batch after which worker processes count as hanging.

    Raises:
        ConfigError: an input table or a setting that cannot work.
        CorpusError: too few clips are long enough, the split does not exist, or a view is of
            what was not derived from the corpus.

    Example:
        >>> inputs = {"video": lipjax.View("mouth", 8), "sound": lipjax.View("log_mel", 8)}
        >>> streams = lipjax.Streams(mouth_size=32, log_mel=lipjax.LogMel())
        >>> corpora = [lipjax.open_corpus("corpus")]
        >>> windows = lipjax.Windows(corpora, inputs, split="train", streams=streams, batch_size=2)
        >>> {name: value.shape for name, value in windows.batch(0).items()}
        {'video': (2, 8, 32, 32, 3), 'sound': (2, 32, 128)}
    """

    def __init__(
        self,
        corpora: Sequence[Corpus],
        inputs: Mapping[str, View],
        *,
        split: str,
        streams: Streams,
        batch_size: int,
        seed: int = 0,
        weights: Sequence[float] | None = None,
        augment: Augment = UNCHANGED,
        process: tuple[int, int] = (0, 1),
        cache_mb: float = 512.0,
        workers: int = 0,
        max_bad_fraction: float = 0.05,
        max_short_fraction: float = 0.5,
        patience: float = 600.0,
        ready: str | Path = "auto",
    ):
        import grain

        anchored = [view for view in inputs.values() if view.where == "window"]
        if not anchored:
            raise ConfigError("no input is cut from the window itself; give one where='window'")
        if batch_size % process[1]:
            raise ConfigError(f"batch_size {batch_size} does not divide by {process[1]} processes")
        if weights is not None and len(weights) != len(corpora):
            raise ConfigError(f"{len(weights)} weights for {len(corpora)} corpora")
        for name, share in (("bad", max_bad_fraction), ("short", max_short_fraction)):
            if not 0 <= share <= 1:
                raise ConfigError(f"max_{name}_fraction must be from 0 to 1, not {share}")
        if not patience > 0:
            raise ConfigError(f"patience must be above 0 seconds, not {patience}")
        self.inputs = dict(inputs)
        pictures = [view for view in anchored if view.stream != "log_mel"]
        self.length = max(view.offset + view.frames for view in pictures or anchored)
        self.batch_size = batch_size
        self._augment = augment
        self._workers, self._patience = workers, patience
        derived = sorted({view.stream for view in inputs.values()} & set(DERIVED))
        self._splits = [
            Anchors(c, split, streams, self.length, cache_mb, derived, max_short_fraction, ready)
            for c in corpora
        ]
        self._cutter = Cutter(self._splits, self.inputs, self.length, streams.mouth_size)
        self._tally = faults.Tally(
            [s.name for s in self._splits], [s.ids for s in self._splits], max_bad_fraction
        )
        self._starts = [np.cumsum(s.frames[s.long_enough] - self.length + 1) for s in self._splits]
        self.num_windows = sum(int(starts[-1]) for starts in self._starts)
        parts = [
            grain.MapDataset.range(int(starts[-1]))
            .seed(seed + 7919 * number)
            .shuffle()
            .repeat()
            .random_map(_Element(self, number))
            for number, starts in enumerate(self._starts)
        ]
        shares = weights if weights is not None else [float(s[-1]) for s in self._starts]
        mixed = parts[0] if len(parts) == 1 else grain.MapDataset.mix(parts, list(shares))
        index, count = process
        if count > 1:
            rows = _Rows(mixed, batch_size, index, count)
            mixed = grain.MapDataset.range(len(mixed) // count).map(rows)
        self._dataset = mixed.batch(batch_size // count, batch_fn=_stacked)

    def __getstate__(self) -> dict:
        # For worker processes, which call `element` alone.
        return {k: v for k, v in self.__dict__.items() if k != "_dataset"}

    @property
    def faults(self) -> dict[str, int]:
        """Clips left out so far, by kind of fault (names of `lipjax.data.faults`).

        Those too short for a window are known from the start; the others are counted when a
        batch that would have held them is handed out, whichever process made it.
        """
        short = sum(split.too_short for split in self._splits)
        return ({faults.TOO_SHORT: short} if short else {}) | self._tally.counts

    @property
    def skipped(self) -> int:
        """Clips found unusable so far; a deterministic draw stands in for each."""
        return self._tally.clips

    def batch(self, step: int) -> Batch:
        """Returns this process's part of the global batch of a step, each input stacked.

        Raises:
            CorpusError: too many clips cannot be used.
        """
        return self._noted(*self._dataset[step])

    def _noted(self, batch: Batch, found: Found) -> Batch:
        self._tally.note(found)
        return batch

    def iterate(self, start: int = 0, *, threads: int = 2, ahead: int = 4) -> Iterator[Batch]:
        """Yields `batch(start)`, `batch(start + 1)`, ... made ahead of time.

        They are made by threads of this process or, with `workers`, by processes; the batches
        are the same, and so is what is counted.

        Args:
            start: step of the first batch.
            threads: of each process.
            ahead: batches made ahead by each process.

        Raises:
            CorpusError: too many clips cannot be used.
            WorkerError: a worker process died or hangs.
        """
        import grain

        options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead)
        dataset = self._dataset[start:].to_iter_dataset(options)
        made = (
            from_workers(dataset, self._workers, ahead=ahead, patience=self._patience)
            if self._workers
            else iter(dataset)
        )
        try:
            for batch, found in made:
                yield self._noted(batch, found)
        finally:
            if hasattr(made, "close"):
                made.close()  # else grain goes on making batches

    def examples(self, count: int) -> list[Batch]:
        """Returns fixed batches for evaluation: windows spread evenly over the split's clips.

        Args:
            count: windows wanted; fewer come if the clips hold fewer without overlap, and a
                window that cannot be made is left out. The last batch may be smaller than the
                others.

        Raises:
            CorpusError: too many clips cannot be used.
        """
        places = [
            (number, int(clip), start)
            for number, split in enumerate(self._splits)
            for clip in split.long_enough
            for start in range(0, int(split.frames[clip]) - self.length + 1, self.length)
        ]
        chosen = np.unique(np.linspace(0, len(places) - 1, min(count, len(places))).astype(int))
        rows = [row for i in chosen if (row := self._example(int(i), *places[i])) is not None]
        if not rows:
            raise CorpusError(f"{self._splits[0].name}: none of {len(chosen)} windows can be made")
        groups = [rows[i : i + self.batch_size] for i in range(0, len(rows), self.batch_size)]
        return [{name: np.stack([row[name] for row in g]) for name in self.inputs} for g in groups]

    def _example(self, place: int, number: int, clip: int, start: int) -> Batch | None:
        """Returns a window for evaluation; None where its own clip cannot be used."""
        rng = np.random.default_rng([2024, place])
        for _ in range(_RETRIES):
            try:
                return self._cutter.cut(number, clip, start, rng, UNCHANGED)
            except BadWindow as bad:
                self._tally.note([bad.fault])
                if bad.fault.clip == clip:
                    return None
        return None

    def element(self, number: int, index: int, rng: np.random.Generator) -> tuple[Batch, Found]:
        """Returns the window with that index in corpus `number`, and the faults met on the way.

        Args:
            number: of the corpus.
            index: of the window; where it cannot be made, another one is drawn.
            rng: makes the draws.
        """
        split, starts = self._splits[number], self._starts[number]
        found: list[faults.Fault] = []
        for _ in range(_RETRIES):
            row = int(np.searchsorted(starts, index, side="right"))
            clip = int(split.long_enough[row])
            start = int(index - (starts[row - 1] if row else 0))
            try:
                return self._cutter.cut(number, clip, start, rng, self._augment), tuple(found)
            except BadWindow as bad:
                found.append(bad.fault)
            index = int(rng.integers(starts[-1]))
        self._tally.note(found)  # says which clips, and by how far they are too many
        raise CorpusError(
            f"{split.name}: {_RETRIES} windows in a row could not be made; the first: clip "
            f"{split.ids[found[0].clip]}: {found[0].kind}: {found[0].cause}"
        )


def _stacked(rows: Sequence[tuple[Batch, Found]]) -> tuple[Batch, Found]:
    """Returns rows as a batch, with the faults met at any of them."""
    batch = {name: np.stack([row[name] for row, _ in rows]) for name in rows[0][0]}
    return batch, tuple(fault for _, found in rows for fault in found)


@dataclasses.dataclass(frozen=True)
class _Element:
    """The element function of one corpus, in a form that grain can send to workers."""

    windows: Windows
    number: int

    def __call__(self, index: int, rng: np.random.Generator) -> tuple[Batch, Found]:
        return self.windows.element(self.number, int(index), rng)


@dataclasses.dataclass(frozen=True)
class _Rows:
    """Row by row, one process's part of every global batch."""

    rows: Any  # grain.MapDataset
    batch_size: int
    index: int
    count: int

    def __call__(self, number: int) -> tuple[Batch, Found]:
        step, row = divmod(int(number), self.batch_size // self.count)
        return self.rows[step * self.batch_size + self.index * self.batch_size // self.count + row]
