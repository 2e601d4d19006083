# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a prepared clip: named, counted, left out up to a limit."""

import collections
import math
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from absl import logging

from lipjax.data.schema import Clip
from lipjax.errors import CorpusError

UNREADABLE = "unreadable"  # a shard or a record that cannot be read or decoded
INCONSISTENT = "inconsistent"  # a record that does not fit itself or the index
NOT_FINITE = "not_finite"  # numbers that are no numbers: sound, landmarks, flow, clocks
NO_LANDMARKS = "no_landmarks"  # frames without a face where a view needs one
NOT_DERIVED = "not_derived"  # the side corpus has nothing for this clip
OTHER_LENGTH = "other_length"  # what was derived has not the length or shape of the clip
TOO_SHORT = "too_short"  # fewer frames than a window; known from the index

_FEW = 3  # clips that any limit above 0 allows, however small the corpus
_CAUSE = 300  # characters of a cause that are kept
_NAMED = 3  # clips that an error names
_TOLD = 200  # clips that the log names


def told(left_out: Mapping[str, int]) -> str:
    """Returns ", 2 clips left out (2 unreadable)" of counts by kind; nothing without any."""
    if not left_out:
        return ""
    clips = sum(left_out.values())
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(left_out.items()))
    return f", {clips} clip{'s' if clips > 1 else ''} left out ({kinds})"


class ClipFault(CorpusError):
    """A clip, or a part of it, that cannot be used; `kind` is one of this module's names."""

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind

    def __reduce__(self):
        return type(self), (self.kind, str(self))


class Fault(NamedTuple):
    """What was found at one clip: number of the corpus, of the clip in it, kind and cause."""

    corpus: int
    clip: int
    kind: str
    cause: str


def fault_of(corpus: int, clip: int, error: Exception) -> Fault:
    """Returns the fault that an error met at a clip stands for."""
    if isinstance(error, ClipFault):
        kind, cause = error.kind, str(error)
    elif isinstance(error, CorpusError):
        kind, cause = UNREADABLE, str(error)
    else:
        kind, cause = UNREADABLE, f"{type(error).__name__}: {error}"
    return Fault(corpus, clip, kind, cause[:_CAUSE])


def check_clip(clip: Clip) -> None:
    """Checks that a clip's arrays are of one length, as every view of it needs.

    Raises:
        ClipFault: they are not.
    """
    frames = clip.num_frames
    for name in ("landmarks", "landmark_status", "mouth_from_source", "source_times"):
        length = len(getattr(clip, name))
        if length != frames:
            told = f"clip {clip.id}: {frames} mouth crops but {length} {name}"
            raise ClipFault(INCONSISTENT, told)
    if not frames or clip.mouth.shape[1] != clip.mouth.shape[2] or not clip.mouth_size:
        told = f"clip {clip.id}: mouth crops of shape {clip.mouth.shape}"
        raise ClipFault(INCONSISTENT, told)
    offsets = clip.frame_offsets
    inside = offsets.size == frames + 1 and 0 <= offsets[0] and offsets[-1] <= len(clip.frames)
    if not inside or np.any(np.diff(offsets) < 0):
        raise ClipFault(INCONSISTENT, f"clip {clip.id}: frame_offsets lie outside its frames")
    if not 0 < clip.fps < math.inf:
        raise ClipFault(NOT_FINITE, f"clip {clip.id}: fps is {clip.fps}")


def check_index(clip: Clip, name: str, frames: int) -> None:
    """Checks that a clip is the one that the index tells of.

    Raises:
        ClipFault: it is not.
    """
    if (clip.id, clip.num_frames) != (name, frames):
        told = f"the index tells of {name} with {frames} frames, the record is"
        raise ClipFault(INCONSISTENT, f"{told} {clip.id} with {clip.num_frames}")


def check_sound(clip: Clip) -> None:
    """Checks that the clock and the level of a clip's sound are numbers; silence is -inf dB.

    Raises:
        ClipFault: they are not.
    """
    fine = {
        "sound_rate": 0 < clip.sound_rate < math.inf,
        "sound_start": math.isfinite(clip.sound_start),
        "sound_level": clip.sound_level < math.inf,
    }
    for name, value in fine.items():
        if not value:
            raise ClipFault(NOT_FINITE, f"clip {clip.id}: {name} is {getattr(clip, name)}")


class Tally:
    """Counts the clips that cannot be used and ends the work when there are too many.

    A clip counts once towards the limit, however often it is met. Faults are to be noted in the
    order of the batches; then the work ends at the same step whoever made them.

    Args:
        names: of the corpora.
        ids: of each corpus's clips.
        limit: share of a corpus's clips that may be unusable, 0 .. 1; 0 allows none, anything
            above allows a few.
        setting: what the user calls the limit.
    """

    def __init__(
        self,
        names: Sequence[str],
        ids: Sequence[np.ndarray],
        limit: float,
        setting: str = "data.max_bad_fraction",
    ):
        self._names, self._ids, self._limit = tuple(names), tuple(ids), limit
        self._setting = setting
        self._found: dict[tuple[int, int, str], str] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict:
        return {k: v for k, v in self.__dict__.items() if k != "_lock"}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    @property
    def counts(self) -> dict[str, int]:
        """Clips found so far by kind of fault."""
        with self._lock:
            return dict(collections.Counter(kind for _, _, kind in self._found))

    @property
    def clips(self) -> int:
        """Clips found so far."""
        with self._lock:
            return len({(corpus, clip) for corpus, clip, _ in self._found})

    def note(self, faults: Iterable[Fault]) -> None:
        """Takes faults, tells those that are new, and judges.

        Raises:
            CorpusError: more of a corpus's clips cannot be used than the limit allows.
        """
        touched = set()
        for fault in faults:
            with self._lock:
                known = fault[:3] in self._found
                self._found.setdefault(fault[:3], fault.cause)
                number = len(self._found)
            if not known and number > _TOLD:
                logging.log_first_n(logging.WARNING, "further clips are left out untold", 1)
            elif not known:
                place = f"{self._names[fault.corpus]}: clip {self._ids[fault.corpus][fault.clip]}"
                logging.warning("%s left out, %s: %s", place, fault.kind, fault.cause)
            touched.add(fault.corpus)
        for corpus in sorted(touched):
            self._judge(corpus)

    def _judge(self, corpus: int) -> None:
        with self._lock:
            found = [(clip, k, text) for (c, clip, k), text in self._found.items() if c == corpus]
        bad = {clip for clip, _, _ in found}
        total = len(self._ids[corpus])
        allowed = max(_FEW, int(self._limit * total)) if self._limit > 0 else 0
        if len(bad) <= allowed:
            return
        counts = collections.Counter(kind for _, kind, _ in found)
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
        first = "; ".join(
            f"clip {self._ids[corpus][clip]}: {kind}: {cause}"
            for clip, kind, cause in found[:_NAMED]
        )
        raise CorpusError(
            f"{self._names[corpus]}: {len(bad)} of {total} clips cannot be used ({kinds}), "
            f"{allowed} are allowed ({self._setting} {self._limit:g}). The first: {first}. "
            f"Prepare (or derive) the corpus again, or raise {self._setting}"
        )
