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

from lipjax.data.anchors import Anchors
from lipjax.data.augment import Augment
from lipjax.data.reading import Corpus
from lipjax.data.views import DERIVED, ClipViews, Streams, View
from lipjax.errors import ConfigError, CorpusError

Batch = dict[str, np.ndarray]
UNCHANGED = Augment()
_RETRIES = 20  # draws after which a corpus counts as broken rather than a record as bad


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
        CorpusError: no clip is long enough, the split does not exist, or a view is of what was
            not derived from the corpus.
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
        self.length = max(view.offset + view.frames for view in pictures or anchored)
        self.batch_size = batch_size
        self._augment = augment
        self._workers = workers
        derived = sorted({view.stream for view in inputs.values()} & set(DERIVED))
        self._splits = [Anchors(c, split, streams, self.length, cache_mb, derived) for c in corpora]
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

    def _report(self, split: Anchors, clip: int, error: Exception) -> None:
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
            elif view.stream == "flow":
                cut = changes[source].flow(cut)
            elif view.stream == "log_mel":
                cut = augment.sound(cut, rng)
            row[name] = cut
        return row

    def _anchor(
        self, split: Anchors, clip: int, start: int, view: View, rng: np.random.Generator
    ) -> tuple[int, int]:
        """Draws (clip, frame) for a view that is not cut from the window itself."""
        length = max(
            other.frames
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
