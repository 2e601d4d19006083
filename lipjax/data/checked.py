# SPDX-License-Identifier: Apache-2.0
"""Whole clips for work that looks at each of them: what cannot be used is left out and counted."""

from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np

from lipjax.data import faults
from lipjax.data.reading import Corpus
from lipjax.data.schema import MISSING, Clip
from lipjax.errors import CorpusError

Made = TypeVar("Made")
MAX_BAD_FRACTION = 0.05
SETTING = "--max-bad-fraction"


class CheckedClips:
    """The clips of a split, checked when read, under a limit on those that cannot be used.

    Args:
        corpus: prepared corpus.
        split: of it.
        max_bad_fraction: share of the split's clips that may turn out to be unusable, 0 .. 1; a
            few always may unless it is 0.
        log: gets a line for every clip that is left out, as the program's log does.

    Raises:
        CorpusError: there is no such split.
    """

    def __init__(
        self,
        corpus: Corpus,
        split: str,
        *,
        max_bad_fraction: float = MAX_BAD_FRACTION,
        log: Callable[[str], None] | None = None,
    ):
        self.corpus, self.split = corpus, split
        self.index = corpus.index(split)
        self._clips = corpus.clips(split)
        self._bad: dict[int, faults.Fault] = {}
        self._log = log or (lambda line: None)
        name = f"{corpus.directory} {split}"
        self._tally = faults.Tally([name], [self.index.id], max_bad_fraction, SETTING)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def bad(self) -> frozenset[int]:
        """Numbers of the clips found unusable so far."""
        return frozenset(self._bad)

    @property
    def left_out(self) -> dict[str, int]:
        """Clips found unusable so far, by kind of fault."""
        return self._tally.counts

    def get(self, number: int) -> Clip | None:
        """Returns a clip; None where it cannot be used.

        Raises:
            CorpusError: more clips cannot be used than the limit allows.
        """
        return self.use(number, lambda clip: clip)

    def first(self, numbers: Iterable[int]) -> Clip | None:
        """Returns the first of some clips that can be used; None if there is none."""
        return next((clip for number in numbers if (clip := self.get(number)) is not None), None)

    def use(self, number: int, function: Callable[[Clip], Made]) -> Made | None:
        """Returns what a function makes of a clip; None where the clip cannot be used.

        Args:
            number: of the clip.
            function: a `CorpusError` that it raises is the clip's fault.

        Raises:
            CorpusError: more clips cannot be used than the limit allows.
        """
        if number in self._bad:
            return None
        try:
            clip = self._clips[number]
            faults.check_index(clip, self.index.id[number], int(self.index.frames[number]))
            check_numbers(clip)
            return function(clip)
        except CorpusError as error:
            self._bad[number] = fault = faults.fault_of(0, number, error)
            self._log(f"left out: clip {self.index.id[number]}: {fault.kind}: {fault.cause}")
            self._tally.note([fault])
            return None


def check_numbers(clip: Clip) -> None:
    """Checks a whole clip: lengths, sound, and that landmarks, crops and times are numbers.

    Raises:
        ClipFault: something of it cannot be used.
    """
    faults.check_clip(clip)
    faults.check_sound(clip)
    seen = clip.landmark_status != MISSING
    for name, values in (
        ("landmarks", clip.landmarks[seen]),
        ("mouth_from_source", clip.mouth_from_source),
        ("source_times", clip.source_times),
    ):
        if not np.isfinite(values).all():
            raise faults.ClipFault(faults.NOT_FINITE, f"clip {clip.id}: {name} is not finite")
