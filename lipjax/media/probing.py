# SPDX-License-Identifier: Apache-2.0
"""What a video file holds: size as displayed, rate, duration, measured rather than declared."""

import contextlib
import dataclasses
import math
import os
from fractions import Fraction
from typing import Any, NamedTuple

from lipjax.errors import MediaError
from lipjax.media.containers import (
    decoded,
    opened,
    picture_stream,
    require_av,
    sound_stream,
)
from lipjax.media.timing import stamp_slack, timed

MAX_PIXELS = 50_000_000
"""Pixels of a picture above which a file is refused; an 8K picture has 33 million."""

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


def pictures(container: Any, name: str, max_pixels: int) -> Any:
    """Returns the picture stream, or raises if there is none or its declared size is absurd."""
    stream = picture_stream(container)
    if stream is None:
        raise MediaError(f"{name}: has no picture, it is no video")
    check_size(name, stream.codec_context.width, stream.codec_context.height, max_pixels)
    return stream


def check_size(name: str, width: int, height: int, max_pixels: int) -> None:
    """Raises a MediaError that names the file if its pictures are larger than allowed."""
    if width * height > max_pixels:
        raise MediaError(
            f"{name}: its pictures have {width} x {height} pixels, more than the {max_pixels:,} "
            "allowed; scale the video down first, or raise max_pixels"
        )


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


def probe(path: str | os.PathLike) -> VideoInfo:
    """Finds out what a video file holds; decodes one picture, scans the timestamps of all.

    Args:
        path: the file.

    Returns:
        Measured facts, also where the file's header is wrong or cut off.

    Raises:
        MediaError: not a video, no picture in it, or none that can be decoded.
    """
    name = os.fspath(path)
    with opened(path) as container:
        stream = pictures(container, name, MAX_PIXELS)
        has_sound, step = sound_stream(container) is not None, nominal_step(stream)
        slack = stamp_slack(container, step)
        first = next(timed(decoded(container, stream), step, slack), None)
        if first is None:
            raise MediaError(f"{name}: no picture can be decoded (truncated or damaged?)")
        frame, start = first
        width, height = square_size(frame.width, frame.height, stream)
        if quarter_turns(frame) % 2:
            width, height = height, width
    times = [(time, packet) for packet, time in timed(iter(_packets(path)), step, slack)]
    spread = times[-1][0] - times[0][0] if times else 0.0
    fps = (len(times) - 1) / spread if spread > 0 else 1 / step
    duration = round(spread + (times[-1][1].shown or step if times else step), 6)
    return VideoInfo(name, width, height, round(fps, 6), duration, float(start), has_sound)


class _Packet(NamedTuple):
    """What `timed` needs to know of a picture, and how long it is shown (0 if not said)."""

    pts: int | None
    dts: int | None
    time_base: Fraction
    shown: float


def _packets(path: str | os.PathLike) -> list[_Packet]:
    """The packets of all pictures in the order of presentation, without decoding."""
    runs: list[list[_Packet]] = [[]]  # a new one where the file's clock was reset
    with opened(path) as container, contextlib.suppress(require_av().error.FFmpegError):
        last, stamp = None, None
        for packet in container.demux(picture_stream(container)):
            if not packet.size or packet.is_discard:
                continue
            base = packet.time_base
            if packet.dts is not None:
                if last is not None and (packet.dts - last) * base < -0.5:
                    runs.append([])
                last = packet.dts
            stamp = next((s for s in (packet.pts, packet.dts, stamp) if s is not None), None)
            shown = float((packet.duration or 0) * base)
            shown = shown if shown <= LONGEST_PICTURE else 0.0
            runs[-1].append(_Packet(stamp, None, base, shown))
    for run in runs:
        run.sort(key=lambda packet: -math.inf if packet.pts is None else packet.pts)
    return [packet for run in runs for packet in run]
