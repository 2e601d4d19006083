# SPDX-License-Identifier: Apache-2.0
"""Honest presentation times from the stamps that files really carry."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

# A step back in time by more than this, or forward by more than the second, is taken for a clock
# that was reset (joined recordings), not for a picture that stayed up.
_BACK, _FORWARD = 0.5, 600.0
MOST_HELD = 32
"""Frames without a usable timestamp that are kept in memory before giving up on one."""
_AHEAD = 8  # pictures after a jump of the clock that say whether to believe it


class Clock:
    """Presentation times that never jump back: folds the resets of a clock into one line."""

    def __init__(self) -> None:
        self._shift = 0.0

    def fold(self, time: float, last: float | None, expected: float) -> float:
        """Returns `time` moved onto the line that earlier times made.

        Args:
            time: seconds as stated by the file.
            last: the time before, on the line; None at the beginning.
            expected: seconds at which the frame would begin if it followed at once.

        Returns:
            Seconds; equal to `time` unless the clock was reset on the way.
        """
        time += self._shift
        if last is not None and not -_BACK <= time - last <= _FORWARD:
            self._shift += expected - time
            time = expected
        return time


def frame_time(frame: Any) -> float | None:
    """Returns the presentation time of a decoded frame in seconds, None if the file has none."""
    stamp = frame.pts if frame.pts is not None else frame.dts
    if stamp is None or not frame.time_base:
        return None
    return float(stamp * frame.time_base)


def believed(
    frames: Iterable[Any], seconds: Callable[[Any], float], *, ahead: int
) -> Iterator[tuple[Any, float | None]]:
    """Drops stamps that are far off for a moment, as damage makes them.

    A jump counts only if the stamps after it agree: none may fall back behind a jump forward, or
    return to the old line after a jump back. (One damaged pack stamps several frames wrongly.)

    Args:
        frames: decoded frames in the order of presentation.
        seconds: gives the duration of a frame.
        ahead: frames after a jump that are asked.

    Yields:
        (frame, stated presentation time in seconds or None).
    """
    last: float | None = None  # time of the frame before
    after = 0.0  # where the next one is expected
    waiting: deque[tuple[Any, float | None]] = deque()
    for item in itertools.chain(((f, frame_time(f)) for f in frames), [None] * ahead):
        if item is not None:
            waiting.append(item)
            if len(waiting) <= ahead:
                continue
        if not waiting:
            return
        frame, time = waiting.popleft()
        if time is not None and last is not None:
            later = [t for _, t in waiting if t is not None]
            if time - after > _BACK and (not later or min(later) < time):
                time = None
            elif time - last < -_BACK and (not later or max(later) >= after - _BACK):
                time = None
        if time is not None or last is not None:
            last = after if time is None else time
            after = last + seconds(frame)
        yield frame, time


def stamp_slack(container: Any, step: float) -> float:
    """Returns by how much the stamps of pictures may be wrong in this kind of file, seconds.

    An MPEG program stream stamps its 2-KB packs, and several small pictures share one: a stamp
    then lands on a neighbour. MPEG-1 and 2 have a fixed rate, so counting is the better clock.
    """
    return 1.25 * step if container.format.name == "mpeg" else 0.0


def timed(
    frames: Iterator[Any], step: float, slack: float = 0.0, *, most_held: int = MOST_HELD
) -> Iterator[tuple[Any, float]]:
    """Gives every picture a time later than that of the picture before.

    Pictures without a timestamp, or with one that does not advance, are spread evenly up to the
    next one that does: streams with stamps on some pictures only (MPEG program streams, field
    pairs) then play evenly.

    Args:
        frames: decoded pictures in the order of presentation.
        step: nominal seconds per picture, used where nothing better is known.
        slack: a stamp this near to the regular beat (`stamp_slack`) is moved onto it.
        most_held: frames kept in memory for want of a timestamp; fewer also look ahead.

    Yields:
        (picture, presentation time in seconds).
    """
    clock, last = Clock(), None
    held: list[Any] = []  # the first has time `last`, or none is known yet
    for frame, time in believed(frames, lambda _: step, ahead=min(_AHEAD, most_held)):
        if time is not None:
            beat = (last or 0.0) + step * len(held)
            time = clock.fold(time, last, beat)
            if last is None:
                last = time - step * len(held)
            elif abs(time - beat) <= slack:
                time = beat
        if time is None or (held and last is not None and time <= last + 1e-6):
            held.append(frame)
            if len(held) < most_held:
                continue
            last = last or 0.0
            time = last + step * len(held)
            frame = None
        if held:
            assert last is not None  # the time of the first one held
            spacing = (time - last) / len(held)
            for index, earlier in enumerate(held):
                yield earlier, last + index * spacing
        held, last = ([frame] if frame is not None else []), time
    for index, frame in enumerate(held):
        yield frame, (last or 0.0) + index * step
