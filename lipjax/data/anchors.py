# SPDX-License-Identifier: Apache-2.0
"""Where views are anchored: this clip, another of its speaker, any other; here or elsewhere."""

from collections.abc import Collection
from functools import partial
from pathlib import Path

import numpy as np
from absl import logging

from lipjax.data import faults
from lipjax.data.cache import ClipCache
from lipjax.data.reading import Corpus
from lipjax.data.ready import ReadyViews, ready_of
from lipjax.data.views import ClipViews, Streams
from lipjax.errors import CorpusError, nearest

_NAMED = 8  # short clips that are named


class Anchors:
    """One corpus's split, and the rules by which anchors are drawn in it.

    Args:
        corpus: prepared corpus.
        split: of it.
        streams: settings of the views.
        length: frames of a window.
        cache_mb: memory for clips in use.
        derived: names of the side corpora that views are cut from.
        max_short_fraction: share of the clips that may be too short for a window.
        ready: where decoded clips are kept on disk (`lipjax.data.ready.ready_of`).

    Raises:
        CorpusError: no such split, too few clips in it are long enough, or a side corpus is
            missing.
    """

    def __init__(
        self,
        corpus: Corpus,
        split: str,
        streams: Streams,
        length: int,
        cache_mb: float,
        derived: Collection[str] = (),
        max_short_fraction: float = 1.0,
        ready: str | Path = "",
    ):
        if split not in corpus.splits:
            raise CorpusError(
                f"{corpus.directory}: no split {split!r}{nearest(split, corpus.splits)}"
            )
        index = corpus.index(split)
        self.name = f"{corpus.directory}:{split}"
        self.frames = np.asarray(index.frames)
        self.speaker = np.asarray(index.speaker)
        self.ids = np.asarray(index.id)
        self.clips = ClipCache(
            corpus.clips(split),
            streams,
            megabytes=cache_mb,
            derived={name: corpus.derived(name, split) for name in derived},
        )
        self._streams = streams
        self._ready = ready_of(corpus, split, self.frames, streams, where=ready, cache_mb=cache_mb)
        self.long_enough = np.flatnonzero(self.frames >= length)
        if not len(self.long_enough):
            raise CorpusError(
                f"{self.name}: none of its {len(self.frames)} clips has {length} frames; "
                "prepare longer clips or ask for a shorter window"
            )
        self.too_short = len(self.frames) - len(self.long_enough)
        self._tell_short(length, max_short_fraction)
        self.length = length
        known = self.speaker[self.long_enough]
        self._by_speaker = {
            name: self.long_enough[known == name] for name in np.unique(known) if name
        }

    def _tell_short(self, length: int, limit: float) -> None:
        """Names and counts the clips that are too short, and ends the work if they are too many."""
        if not self.too_short:
            return
        short = np.flatnonzero(self.frames < length)
        named = ", ".join(f"{self.ids[clip]} {self.frames[clip]}" for clip in short[:_NAMED])
        told = (
            f"{self.name}: {self.too_short} of {len(self.frames)} clips are shorter than a window "
            f"of {length} frames ({named}{', ...' if len(short) > _NAMED else ''})"
        )
        if self.too_short > limit * len(self.frames):
            raise CorpusError(
                f"{told}, more than data.max_short_fraction {limit:g} allows; prepare longer "
                "clips, ask for a shorter window or raise data.max_short_fraction"
            )
        logging.warning("%s; they are left out", told)

    def views(self, clip: int) -> ClipViews:
        """Returns the views of a clip; where decoded clips are kept, it is read when needed.

        Raises:
            ClipFault: it is not the clip that the index tells of.
            CorpusError: it cannot be read.
        """
        if self._ready is None:
            return self._read(clip)
        frames, read = int(self.frames[clip]), partial(self._read, clip)
        return ReadyViews(self._ready, clip, frames, self._streams, read)

    def _read(self, clip: int) -> ClipViews:
        views = self.clips[clip]
        faults.check_index(views.clip, self.ids[clip], int(self.frames[clip]))
        return views

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
