# SPDX-License-Identifier: Apache-2.0
"""A corpus in memory whose clips can be changed, and windows of it, for tests of faults."""

import copy
import dataclasses
import multiprocessing
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from synthetic import make_clip

from lipjax.data.reading import ClipIndex, Corpus, row_of
from lipjax.data.views import Streams, View
from lipjax.data.windows import Windows
from lipjax.media.audio import LogMel

STREAMS = Streams(mouth_size=32, log_mel=LogMel(bands=40))
INPUTS = {
    "video": View("mouth", 16),
    "log_mel": View("log_mel", 16),
    "other": View("mouth", 16, where="other_clip"),
}
CLIPS = 12


def windows(corpora, inputs=INPUTS, **options):
    corpora = corpora if isinstance(corpora, list) else [corpora]
    options = {"split": "train", "streams": STREAMS, "batch_size": 8, "seed": 2, **options}
    return Windows(corpora, inputs, **options)


@dataclasses.dataclass(frozen=True)
class Changed(Corpus):
    """A corpus in memory; some of its clips are changed, or kill the process that reads them."""

    clips_made: tuple = ()
    changes: dict = dataclasses.field(default_factory=dict)
    deadly: int = -1
    flow: dict = dataclasses.field(default_factory=dict)

    def index(self, split):
        return ClipIndex.from_rows([row_of(clip) for clip in self.clips_made])

    def clips(self, split):
        return Clips(self.clips_made, self.changes, self.deadly)

    def derived(self, name, split):
        return Flows(self.clips_made, self.flow)


@dataclasses.dataclass(frozen=True)
class Clips:
    clips: tuple
    changes: dict
    deadly: int

    def __getitem__(self, position):
        if position == self.deadly and multiprocessing.parent_process() is not None:
            os._exit(0)
        clip = copy.copy(self.clips[position])
        for name, value in self.changes.get(position, {}).items():
            object.__setattr__(clip, name, value)  # no check of shapes on the way
        return clip


@dataclasses.dataclass(frozen=True)
class Flows(Sequence):
    clips: tuple
    odd: dict

    def __len__(self):
        return len(self.clips)

    def __getitem__(self, position):
        if position in self.odd:
            return self.odd[position]
        return np.zeros((self.clips[position].num_frames - 1, 32, 32, 2), np.float16)


MADE = tuple(make_clip(f"c{n:02d}", speaker="s", frames=24, seed=n) for n in range(CLIPS))


def changed(changes=None, *, made=MADE, **rest):
    description = {"splits": {"train": {"clips": len(made)}}}
    return Changed(Path("memory"), description, made, changes or {}, **rest)


def stream_of_workers(count, corpus=None, **options):
    made = windows(corpus or changed(), workers=count, **options)
    before = set(multiprocessing.active_children())
    stream = made.iterate(ahead=1)
    next(stream)
    return stream, sorted(set(multiprocessing.active_children()) - before, key=lambda c: c.pid)
