# SPDX-License-Identifier: Apache-2.0
"""The clips in use, with the streams made of them, kept in memory up to a number of bytes."""

import collections
import functools
import threading
from collections.abc import Mapping, Sequence

from lipjax.data.views import ClipViews, Streams


class ClipCache:
    """The most recently used clips of a corpus, up to a number of bytes; safe in threads.

    Args:
        clips: random access to prepared clips.
        streams: settings of the views.
        megabytes: memory that the kept clips may take; the newest one is always kept.
        derived: name -> random access to what was derived from the same clips.
    """

    def __init__(
        self,
        clips,
        streams: Streams,
        *,
        megabytes: float = 512.0,
        derived: Mapping[str, Sequence] | None = None,
    ):
        self._clips = clips
        self._streams = streams
        self._derived = dict(derived or {})
        self._limit = megabytes * 2**20
        self._kept: collections.OrderedDict[int, ClipViews] = collections.OrderedDict()
        self._lock = threading.Lock()

    def __getitem__(self, index: int) -> ClipViews:
        with self._lock:
            if index in self._kept:
                self._kept.move_to_end(index)
                return self._kept[index]
        derived = {
            name: functools.partial(side.__getitem__, index) for name, side in self._derived.items()
        }
        views = ClipViews(self._clips[index], self._streams, derived)
        with self._lock:
            self._kept[index] = views
            total = sum(kept.nbytes for kept in self._kept.values())
            while total > self._limit and len(self._kept) > 1:
                total -= self._kept.popitem(last=False)[1].nbytes
        return views

    def __getstate__(self) -> Mapping[str, object]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_kept", "_lock")}

    def __setstate__(self, state: Mapping[str, object]) -> None:
        self.__dict__.update(state)
        self._kept = collections.OrderedDict()
        self._lock = threading.Lock()
