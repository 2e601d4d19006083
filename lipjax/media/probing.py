# SPDX-License-Identifier: Apache-2.0
"""What a video file holds: size as displayed, rate, duration, measured rather than declared."""

import array
import contextlib
import dataclasses
import os
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from lipjax.errors import MediaError
from lipjax.media.containers import (
    decoded,
    opened,
    picture_stream,
    require_av,
    sound_stream,
)
from lipjax.media.limits import (
    MAX_HELD_PIXELS,
    MAX_PICTURES_PER_SECOND,
    MAX_PIXELS,
    MAX_SECONDS,
    MAX_SIDE,
)
from lipjax.media.timing import MOST_HELD, stamp_slack, timed

STATES_LENGTH = ("mov", "matroska", "avi", "asf", "flv", "wav", "w64", "mxf", "aiff", "flac", "caf")
"""Formats whose headers state how long a file lasts; of others FFmpeg guesses it."""

LONGEST_PICTURE = 600.0
"""Seconds that a single picture may stay on display."""


@dataclasses.dataclass(frozen=True)
class VideoInfo:
    """What a video file holds, measured rather than declared.

    Attributes:
        path: the file.
        width: pixels as displayed: after rotation, with square pixels.
        height: pixels as displayed.
        fps: average pictures per second.
        duration: seconds from the first picture to the end of the last.
        start: presentation time of the first picture on the file's clock, seconds.
        has_sound: whether there is a sound stream with a known codec.
    """

    path: str
    width: int
    height: int
    fps: float
    duration: float
    start: float
    has_sound: bool


def pictures(container: Any, name: str, max_pixels: int, max_seconds: float | int) -> Any:
    """Returns the picture stream; raises without one, or if declared size or length are absurd."""
    stream = picture_stream(container)
    if stream is None:
        raise MediaError(f"{name}: has no picture, it is no video")
    check_size(name, stream.codec_context.width, stream.codec_context.height, max_pixels)
    check_seconds(name, declared_seconds(container, stream), max_seconds)
    return stream


def check_size(name: str, width: int, height: int, max_pixels: int) -> None:
    """Raises a MediaError that names the file if its pictures are larger than allowed."""
    if width * height > max_pixels or max(width, height) > MAX_SIDE:
        raise MediaError(
            f"{name}: its pictures have {width} x {height} pixels, more than the {max_pixels:,} "
            f"allowed, or than {MAX_SIDE:,} in a row; scale the video down first, or raise "
            "max_pixels"
        )


def check_seconds(name: str, seconds: float, max_seconds: float | int) -> None:
    """Raises a MediaError that names the file if it lasts longer than allowed."""
    if not seconds <= max_seconds:
        raise MediaError(
            f"{name}: lasts {seconds:,.0f} seconds, more than the {max_seconds:,.0f} allowed; is "
            "its clock damaged? Else cut it into parts, or raise max_seconds"
        )


def declared_seconds(container: Any, stream: Any) -> float:
    """Seconds that a file's header states for itself or a stream, 0 where none does."""
    if not set(container.format.name.split(",")) & set(STATES_LENGTH):
        return 0.0
    whole = (container.duration or 0) / require_av().time_base
    return max(whole, float((stream.duration or 0) * (stream.time_base or 0)))


def most_held(width: int, height: int) -> int:
    """Pictures of a size that may wait in memory for a timestamp."""
    return max(2, min(MOST_HELD, MAX_HELD_PIXELS // max(1, width * height)))


def nominal_step(stream: Any) -> float:
    """Nominal seconds per picture."""
    rate = stream.average_rate or stream.guessed_rate
    return float(1 / rate) if rate and 0.1 <= rate <= 1000 else 0.04


def square_size(width: int, height: int, stream: Any) -> tuple[int, int]:
    """Size with square pixels: the width is stretched where the file's pixels are oblong."""
    aspect = float(stream.sample_aspect_ratio or 1)
    if not 0.25 < aspect < 4 or abs(aspect - 1) < 0.01:
        return width, height
    return max(1, round(width * aspect)), height


def quarter_turns(frame: Any) -> int:
    """Quarter turns counter-clockwise that set the picture upright."""
    return round((frame.rotation or 0) / 90) % 4


def probe(
    path: str | os.PathLike,
    *,
    max_pixels: int = MAX_PIXELS,
    max_seconds: float | int = MAX_SECONDS,
) -> VideoInfo:
    """Finds out what a video file holds; decodes one picture, scans the timestamps of all.

    Args:
        path: the file.
        max_pixels: per picture; larger ones are refused before they are decoded.
        max_seconds: of the pictures; a longer file is refused.

    Returns:
        Measured facts, also where the file's header is wrong or cut off.

    Raises:
        MediaError: not a video, no picture in it, none that can be decoded, absurdly large or
            long.
    """
    name = os.fspath(path)
    with opened(path, max_pixels=max_pixels) as container:
        stream = pictures(container, name, max_pixels, max_seconds)
        has_sound, step = sound_stream(container) is not None, nominal_step(stream)
        slack = stamp_slack(container, step)
        held = most_held(stream.codec_context.width, stream.codec_context.height)
        first = next(timed(decoded(container, stream), step, slack, most_held=held), None)
        if first is None:
            raise MediaError(f"{name}: no picture can be decoded (truncated or damaged?)")
        frame, start = first
        check_size(name, frame.width, frame.height, max_pixels)
        width, height = square_size(frame.width, frame.height, stream)
        check_size(name, width, height, max_pixels)
        if quarter_turns(frame) % 2:
            width, height = height, width
    begin, end, shown, count = 0.0, 0.0, step, 0
    for packet, time in timed(_packets(path, max_seconds), step, slack):
        begin, end = (time, time) if not count else (begin, time)
        shown, count = packet.shown or step, count + 1
        check_seconds(name, end - begin, max_seconds)
    fps = (count - 1) / (end - begin) if end > begin else 1 / step
    duration = round(end - begin + shown, 6)
    return VideoInfo(name, width, height, round(fps, 6), duration, float(start), has_sound)


class _Packet(NamedTuple):
    """What `timed` needs to know of a picture, and how long it is shown (0 if not said)."""

    pts: int | None
    dts: int | None
    time_base: Fraction
    shown: float


_NO_STAMP = -(1 << 63)


class _Run:
    """Stamps and lengths of the pictures between two resets of a file's clock."""

    def __init__(self) -> None:
        self.stamps, self.shown = array.array("q"), array.array("d")

    def in_order(self, base: Fraction) -> Iterator[_Packet]:
        """The pictures in the order of presentation, those without a stamp first."""
        stamps, shown = np.array(self.stamps), np.array(self.shown)
        for at in np.argsort(stamps, kind="stable"):
            stamp = None if stamps[at] == _NO_STAMP else int(stamps[at])
            yield _Packet(stamp, None, base, float(shown[at]))


def _packets(path: str | os.PathLike, max_seconds: float | int) -> Iterator[_Packet]:
    """The packets of all pictures in the order of presentation, without decoding."""
    runs, base, count = [_Run()], Fraction(1), 0
    with opened(path) as container, contextlib.suppress(require_av().error.FFmpegError):
        last, stamp = None, None
        for packet in container.demux(picture_stream(container)):
            if not packet.size or packet.is_discard:
                continue
            count += 1
            if count > max(1000, max_seconds * MAX_PICTURES_PER_SECOND):
                raise MediaError(
                    f"{os.fspath(path)}: has more than {count - 1:,} pictures, "
                    f"{MAX_PICTURES_PER_SECOND} for each of the {max_seconds:,.0f} seconds "
                    "allowed; cut it into parts, or raise max_seconds"
                )
            base = packet.time_base
            if packet.dts is not None:
                if last is not None and (packet.dts - last) * base < -0.5:
                    runs.append(_Run())
                last = packet.dts
            stamp = next((s for s in (packet.pts, packet.dts, stamp) if s is not None), None)
            shown = float((packet.duration or 0) * base)
            runs[-1].stamps.append(_NO_STAMP if stamp is None else stamp)
            runs[-1].shown.append(shown if shown <= LONGEST_PICTURE else 0.0)
    for run in runs:
        yield from run.in_order(base)
