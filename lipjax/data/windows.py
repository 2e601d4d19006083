# SPDX-License-Identifier: Apache-2.0
"""From prepared clips to batches: `batch(step)` is a pure function of (seed, step).

Every window of every clip is an index; grain shuffles the indices anew each pass, so a batch
mixes all clips, and the same global batch comes out for any number of workers and processes.
"""

import dataclasses
import threading
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from absl import logging

from lipjax.data.augment import Augment
from lipjax.data.reading import Corpus
from lipjax.data.views import ClipCache, ClipViews, Streams, View
from lipjax.errors import ConfigError, CorpusError, nearest

Batch = dict[str, np.ndarray]
UNCHANGED = Augment()
_RETRIES = 20  # draws after which a corpus counts as broken rather than a record as bad


class _Split:
    """One corpus's split, and the rules by which anchors are drawn in it."""

    def __init__(self, corpus: Corpus, split: str, streams: Streams, length: int, cache_mb: float):
        if split not in corpus.splits:
            raise CorpusError(
                f"{corpus.directory}: no split {split!r}{nearest(split, corpus.splits)}"
            )
        index = corpus.index(split)
        self.name = f"{corpus.directory}:{split}"
        self.frames = np.asarray(index.frames)
        self.speaker = np.asarray(index.speaker)
        self.ids = np.asarray(index.id)
        self.clips = ClipCache(corpus.clips(split), streams, megabytes=cache_mb)
        self.long_enough = np.flatnonzero(self.frames >= length)
        if not len(self.long_enough):
            raise CorpusError(
                f"{self.name}: none of its {len(self.frames)} clips has {length} frames; "
                "prepare longer clips or ask for a shorter window"
            )
        self.too_short = len(self.frames) - len(self.long_enough)
        self.length = length
        known = self.speaker[self.long_enough]
        self._by_speaker = {
            name: self.long_enough[known == name] for name in np.unique(known) if name
        }

    def other_clip(self, clip: int, rng: np.random.Generator) -> int:
        """Any other clip that is long enough; this one if there is no other."""
        pool = self.long_enough[self.long_enough != clip]
        return int(rng.choice(pool)) if len(pool) else clip

    def clip_of_speaker(self, clip: int, rng: np.random.Generator) -> int:
        """Another clip of the same speaker; this one if the speaker is unknown or has no other."""
        pool = self._by_speaker.get(self.speaker[clip], np.array([], int))
        pool = pool[pool != clip]
        return int(rng.choice(pool)) if len(pool) else clip

    def other_start(self, clip: int, start: int, length: int, rng: np.random.Generator) -> int:
        """A start for `length` frames elsewhere in the clip: apart from the window if possible."""
        starts = np.arange(self.frames[clip] - length + 1)
        apart = (starts + length <= start) | (starts >= start + self.length)
        if apart.any():
            return int(rng.choice(starts[apart]))
        distance = np.abs(starts - start)
        return int(rng.choice(starts[distance == distance.max()]))


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
        process: (index, count): this process gets every count-th row of a global batch.
        cache_mb: memory per corpus for clips in use, in every process that makes batches.
        workers: processes that make batches ahead of time; 0 leaves it to threads of this one.

    Raises:
        ConfigError: an input table or a setting that cannot work.
        CorpusError: no clip is long enough, or the split does not exist.
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
    ):
        import grain

        anchored = [view for view in inputs.values() if view.where == "window"]
        if not anchored:
            raise ConfigError("no input is cut from the window itself; give one where='window'")
        if batch_size % process[1]:
            raise ConfigError(f"batch_size {batch_size} does not divide by {process[1]} processes")
        if weights is not None and len(weights) != len(corpora):
            raise ConfigError(f"{len(weights)} weights for {len(corpora)} corpora")
        self.inputs = dict(inputs)
        pictures = [view for view in anchored if view.stream != "log_mel"]
        self.length = max(view.offset + view.length for view in pictures or anchored)
        self.batch_size = batch_size
        self._augment = augment
        self._workers = workers
        self._splits = [_Split(c, split, streams, self.length, cache_mb) for c in corpora]
        self._skipped: set[tuple[str, int]] = set()
        self._lock = threading.Lock()
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
        self._dataset = mixed[index::count].batch(batch_size // count)

    def __getstate__(self) -> dict:
        # For worker processes, which call `element` alone.
        return {k: v for k, v in self.__dict__.items() if k not in ("_lock", "_dataset")}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    @property
    def skipped(self) -> int:
        """Records that could not be read so far; a deterministic draw stands in for each."""
        return len(self._skipped)

    def batch(self, step: int) -> Batch:
        """Returns this process's part of the global batch of a step, each input stacked."""
        return self._dataset[step]

    def iterate(self, start: int = 0, *, threads: int = 2, ahead: int = 4) -> Iterator[Batch]:
        """Yields `batch(start)`, `batch(start + 1)`, ... made ahead of time.

        They are made by threads of this process or, with `workers`, by processes; the batches
        are the same. What a process skips it reports itself; `skipped` does not count it.

        Args:
            start: step of the first batch.
            threads: of each process.
            ahead: batches made ahead by each process.
        """
        import grain

        options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead)
        batches = self._dataset[start:].to_iter_dataset(options)
        if self._workers:
            _let_grain_run_anywhere()
            batches = batches.mp_prefetch(
                grain.MultiprocessingOptions(self._workers, per_worker_buffer_size=ahead)
            )
        iterator = iter(batches)
        try:
            yield from iterator
        finally:
            if hasattr(iterator, "close"):
                iterator.close()  # else grain goes on making batches

    def examples(self, count: int) -> list[Batch]:
        """Returns fixed batches for evaluation: windows spread evenly over the split's clips.

        Args:
            count: windows wanted; fewer come if the clips hold fewer without overlap. The last
                batch may be smaller than the others.
        """
        places = [
            (number, int(clip), start)
            for number, split in enumerate(self._splits)
            for clip in split.long_enough
            for start in range(0, int(split.frames[clip]) - self.length + 1, self.length)
        ]
        chosen = np.unique(np.linspace(0, len(places) - 1, min(count, len(places))).astype(int))
        rows = [
            self._cut(*places[i], np.random.default_rng([2024, int(i)]), UNCHANGED) for i in chosen
        ]
        groups = [rows[i : i + self.batch_size] for i in range(0, len(rows), self.batch_size)]
        return [{name: np.stack([row[name] for row in g]) for name in self.inputs} for g in groups]

    def element(self, number: int, index: int, rng: np.random.Generator) -> Batch:
        """Returns the window with that index in corpus `number`; `rng` makes its draws."""
        split, starts = self._splits[number], self._starts[number]
        for _ in range(_RETRIES):
            row = int(np.searchsorted(starts, index, side="right"))
            clip = int(split.long_enough[row])
            start = int(index - (starts[row - 1] if row else 0))
            try:
                return self._cut(number, clip, start, rng, self._augment)
            except ConfigError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever a bad record raises costs one draw
                self._report(split, clip, error)
            index = int(rng.integers(starts[-1]))
        raise CorpusError(f"{split.name}: {_RETRIES} records in a row could not be read")

    def _report(self, split: _Split, clip: int, error: Exception) -> None:
        with self._lock:
            if (split.name, clip) in self._skipped:
                return
            self._skipped.add((split.name, clip))
        logging.warning("%s: clip %s skipped: %s", split.name, split.ids[clip], error)

    def _cut(
        self, number: int, clip: int, start: int, rng: np.random.Generator, augment: Augment
    ) -> Batch:
        split = self._splits[number]
        anchors: dict[tuple[str, int], tuple[int, int]] = {("window", 0): (clip, start)}
        changes = {clip: augment.draw(rng)}
        row = {}
        for name, view in self.inputs.items():
            key = ("window", 0) if view.where == "window" else (view.where, view.draw)
            if key not in anchors:
                anchors[key] = self._anchor(split, clip, start, view, rng)
            source, anchor = anchors[key]
            if source not in changes:
                changes[source] = augment.draw(rng)
            views: ClipViews = split.clips[source]
            cut = views.cut(view, anchor)
            if view.stream in ("mouth", "frames"):
                cut = changes[source].pictures(cut)
            elif view.stream == "landmarks":
                size = views.stream("mouth").shape[1]
                cut = changes[source].landmarks(cut, size)
            elif view.stream == "log_mel":
                cut = augment.sound(cut, rng)
            row[name] = cut
        return row

    def _anchor(
        self, split: _Split, clip: int, start: int, view: View, rng: np.random.Generator
    ) -> tuple[int, int]:
        """Draws (clip, frame) for a view that is not cut from the window itself."""
        length = max(
            other.length
            for other in self.inputs.values()
            if (other.where, other.draw) == (view.where, view.draw)
        )
        length = min(length, self.length)
        source = clip
        if view.where == "same_speaker":
            source = split.clip_of_speaker(clip, rng)
        elif view.where == "other_clip":
            source = split.other_clip(clip, rng)
        if source == clip:
            return clip, split.other_start(clip, start, length, rng)
        return source, int(rng.integers(split.frames[source] - length + 1))


def _let_grain_run_anywhere() -> None:
    """Grain's worker processes want absl's flags parsed, which only absl programs do."""
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()


@dataclasses.dataclass(frozen=True)
class _Element:
    """The element function of one corpus, in a form that grain can send to workers."""

    windows: Windows
    number: int

    def __call__(self, index: int, rng: np.random.Generator) -> Batch:
        return self.windows.element(self.number, int(index), rng)
