# SPDX-License-Identifier: Apache-2.0
"""Reading videos by presentation time: any rate in, evenly spaced frames out."""

import math
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from lipjax.errors import ConfigError, MediaError
from lipjax.media.containers import decoded, opened
from lipjax.media.limits import MAX_PIXELS, MAX_SECONDS
from lipjax.media.probing import (
    LONGEST_PICTURE,
    VideoInfo,
    check_seconds,
    check_size,
    most_held,
    nominal_step,
    pictures,
    probe,
    quarter_turns,
    square_size,
)
from lipjax.media.timing import stamp_slack, timed
from lipjax.media.video_writing import write_video

__all__ = [
    "MAX_PIXELS",
    "MAX_SECONDS",
    "VIDEO_EXTENSIONS",
    "Frame",
    "VideoInfo",
    "is_video_name",
    "probe",
    "read_video",
    "write_video",
]

VIDEO_EXTENSIONS = frozenset(
    ".3gp .asf .avi .dv .flv .gif .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .mxf .ogv .ts .vob "
    ".webm .wmv".split()
)
"""File name endings that are taken for videos, lower case."""

# A slot whose middle falls on the change of two pictures shows the later one; rounded timestamps
# (Matroska: whole milliseconds) must not decide that by chance.
_TIE = 5e-4


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


def read_video(
    path: str | os.PathLike,
    *,
    fps: float | int = 25.0,
    max_pixels: int = MAX_PIXELS,
    max_seconds: float | int = MAX_SECONDS,
) -> Iterator[Frame]:
    """Reads a video of any, also varying, frame rate as evenly spaced frames.

    Frame n is the picture on display at start + (n + 1/2) / fps, where start is the time of the
    first picture; the last picture stays up for its duration. Memory does not grow with length.

    Args:
        path: the file; a damaged one gives what can be decoded.
        fps: frames per second to give out.
        max_pixels: per picture; larger ones are refused before they are decoded.
        max_seconds: of video; a longer one is refused, when that is known.

    Returns:
        Iterator of frames; a picture on display over several slots is the same array each time.

    Raises:
        ConfigError: `fps` is not positive.
        MediaError: (on iteration) not a video, absurdly large or long, or nothing in it decodes.
    """
    if not (fps > 0 and math.isfinite(fps)):
        raise ConfigError(f"fps must be positive, got {fps}")
    return _slots(path, fps, max_pixels, max_seconds)


def _slots(
    path: str | os.PathLike, fps: float | int, max_pixels: int, max_seconds: float | int
) -> Iterator[Frame]:
    name = os.fspath(path)
    with opened(path, max_pixels=max_pixels) as container:
        stream = pictures(container, name, max_pixels, max_seconds)
        step, slot = nominal_step(stream), 0
        start, size, shown, index, held = 0.0, (0, 0), step, -1, None
        most = most_held(stream.codec_context.width, stream.codec_context.height)
        slack = stamp_slack(container, step)
        for frame, time in timed(decoded(container, stream), step, slack, most_held=most):
            check_size(name, frame.width, frame.height, max_pixels)
            if held is None:
                start, size = time, square_size(frame.width, frame.height, stream)
                check_size(name, *size, max_pixels)
            check_seconds(name, time - start, max_seconds)
            while held is not None and start + (slot + 0.5) / fps < time - _TIE:
                held = held if isinstance(held, Frame) else _converted(*held, size)
                yield held
                slot += 1
            index += 1
            held = (frame, index, time)
            seconds = float((frame.duration or 0) * (frame.time_base or 0))
            shown = seconds if 0 < seconds <= LONGEST_PICTURE else step
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
    turns = quarter_turns(frame)
    if turns:
        image = np.ascontiguousarray(np.rot90(image, turns))
    return Frame(image, index, time)
