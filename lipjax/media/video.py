# SPDX-License-Identifier: Apache-2.0
"""Reading videos by presentation time: any rate in, evenly spaced frames out."""

import dataclasses
import math
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from lipjax.errors import ConfigError, MediaError
from lipjax.media.containers import decoded, opened, picture_stream, sound_stream, timed
from lipjax.media.video_writing import write_video

__all__ = [
    "MAX_PIXELS",
    "VIDEO_EXTENSIONS",
    "Frame",
    "VideoInfo",
    "is_video_name",
    "probe",
    "read_video",
    "write_video",
]

MAX_PIXELS = 50_000_000
"""Pixels of a picture above which a file is refused; an 8K picture has 33 million."""

VIDEO_EXTENSIONS = frozenset(
    ".3gp .asf .avi .dv .flv .gif .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .mxf .ogv .ts .vob "
    ".webm .wmv".split()
)
"""File name endings that are taken for videos, lower case."""

# A slot whose middle falls on the change of two pictures shows the later one; rounded timestamps
# (Matroska: whole milliseconds) must not decide that by chance.
_TIE = 5e-4
_LONGEST_PICTURE = 600.0  # seconds that a single picture may stay up


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


class Frame(NamedTuple):
    """One picture on display.

    Attributes:
        image: uint8 H W 3, RGB, upright.
        source_index: number of the picture among those decoded from the file.
        source_time: its presentation time on the file's clock, seconds.
    """

    image: np.ndarray
    source_index: int
    source_time: float


def is_video_name(name: str | os.PathLike) -> bool:
    """Returns whether a file name ends like a video's (case does not matter)."""
    return os.path.splitext(os.fspath(name))[1].lower() in VIDEO_EXTENSIONS


def _pictures(container: Any, name: str, max_pixels: int) -> Any:
    """Returns the picture stream, or raises if there is none or its declared size is absurd."""
    stream = picture_stream(container)
    if stream is None:
        raise MediaError(f"{name}: has no picture, it is no video")
    _check_size(name, stream.codec_context.width, stream.codec_context.height, max_pixels)
    return stream


def _check_size(name: str, width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise MediaError(
            f"{name}: its pictures have {width} x {height} pixels, more than the {max_pixels:,} "
            "allowed; scale the video down first, or raise max_pixels"
        )


def _step(stream: Any) -> float:
    """Nominal seconds per picture."""
    rate = stream.average_rate or stream.guessed_rate
    return float(1 / rate) if rate and 0.1 <= rate <= 1000 else 0.04


def _square(width: int, height: int, stream: Any) -> tuple[int, int]:
    """Size with square pixels: the width is stretched where the file's pixels are oblong."""
    aspect = float(stream.sample_aspect_ratio or 1)
    if not 0.25 < aspect < 4 or abs(aspect - 1) < 0.01:
        return width, height
    return max(1, round(width * aspect)), height


def _quarter_turns(frame: Any) -> int:
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
        stream = _pictures(container, name, MAX_PIXELS)
        has_sound, step = sound_stream(container) is not None, _step(stream)
        first = next(timed(decoded(container, stream), step), None)
        if first is None:
            raise MediaError(f"{name}: no picture can be decoded (truncated or damaged?)")
        frame, start = first
        width, height = _square(frame.width, frame.height, stream)
        if _quarter_turns(frame) % 2:
            width, height = height, width
    times = _packet_times(path, step)
    count = max(1, len(times))
    spread = times[-1][0] - times[0][0] if count > 1 else 0.0
    regular = 0 < spread < _LONGEST_PICTURE * count
    fps = (count - 1) / spread if regular else 1 / step
    last = times[-1][1] if count > 1 or times else step
    duration = (spread if regular else (count - 1) * step) + last
    return VideoInfo(name, width, height, float(fps), float(duration), float(start), has_sound)


def _packet_times(path: str | os.PathLike, step: float) -> list[tuple[float, float]]:
    """(time, seconds on display) of every picture's packet, by time, without decoding."""
    from lipjax.media.containers import require_av

    times: list[tuple[float, float]] = []
    with opened(path) as container:
        stream = picture_stream(container)
        try:
            for packet in container.demux(stream):
                if not packet.size or packet.is_discard:
                    continue
                stamp = packet.pts if packet.pts is not None else packet.dts
                time = times[-1][0] + step if times else 0.0
                if stamp is not None:
                    time = float(stamp * packet.time_base)
                shown = float((packet.duration or 0) * packet.time_base)
                times.append((time, shown if 0 < shown < _LONGEST_PICTURE else step))
        except require_av().error.FFmpegError:
            pass  # what came before the damage counts
    return sorted(times)


def read_video(
    path: str | os.PathLike, *, fps: float = 25.0, max_pixels: int = MAX_PIXELS
) -> Iterator[Frame]:
    """Reads a video of any, also varying, frame rate as evenly spaced frames.

    Frame n is the picture on display at start + (n + 1/2) / fps, where start is the time of the
    first picture; the last picture stays up for its duration. Memory does not grow with length.

    Args:
        path: the file; a damaged one gives what can be decoded.
        fps: frames per second to give out.
        max_pixels: per picture; larger ones are refused before they are decoded.

    Returns:
        Iterator of frames; a picture on display over several slots is the same array each time.

    Raises:
        ConfigError: `fps` is not positive.
        MediaError: (on iteration) not a video, absurdly large, or nothing in it decodes.
    """
    if not (fps > 0 and math.isfinite(fps)):
        raise ConfigError(f"fps must be positive, got {fps}")
    return _slots(path, fps, max_pixels)


def _slots(path: str | os.PathLike, fps: float, max_pixels: int) -> Iterator[Frame]:
    name = os.fspath(path)
    with opened(path) as container:
        stream = _pictures(container, name, max_pixels)
        step, size, slot = _step(stream), None, 0
        start, shown, index, held = 0.0, step, -1, None
        for frame, time in timed(decoded(container, stream), step):
            _check_size(name, frame.width, frame.height, max_pixels)
            if held is None:
                start, size = time, _square(frame.width, frame.height, stream)
            while held is not None and start + (slot + 0.5) / fps < time - _TIE:
                held = held if isinstance(held, Frame) else _converted(*held, size)
                yield held
                slot += 1
            index += 1
            held = (frame, index, time)
            seconds = float((frame.duration or 0) * (frame.time_base or 0))
            shown = seconds if 0 < seconds <= _LONGEST_PICTURE else step
        if held is None:
            raise MediaError(f"{name}: no picture can be decoded (truncated or damaged?)")
        end = held[2] + shown
        # A picture too short for a slot's middle still makes one frame if it is the only one.
        while start + (slot + 0.5) / fps < end - _TIE or slot == 0:
            held = held if isinstance(held, Frame) else _converted(*held, size)
            yield held
            slot += 1


def _converted(frame: Any, index: int, time: float, size: tuple[int, int]) -> Frame:
    """The picture as RGB, upright, at the size of the first picture of the file."""
    image: UInt8[np.ndarray, "H W 3"] = frame.to_ndarray(
        format="rgb24", width=size[0], height=size[1]
    )
    turns = _quarter_turns(frame)
    if turns:
        image = np.ascontiguousarray(np.rot90(image, turns))
    return Frame(image, index, time)
