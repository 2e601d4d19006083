# SPDX-License-Identifier: Apache-2.0
"""What sound and video reading share: opening a file, decoding past damage, honest timestamps."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from typing import Any

from lipjax.errors import ConfigError, MediaError

# A step back in time by more than this, or forward by more than the second, is taken for a clock
# that was reset (joined recordings), not for a picture that stayed up.
_BACK, _FORWARD = 0.5, 600.0
_HELD = 32  # frames without a usable timestamp that are kept in memory before giving up on one


def require_av() -> Any:
    """Returns the PyAV module.

    Raises:
        ConfigError: PyAV is not installed.
    """
    try:
        import av
    except ImportError:
        raise ConfigError(
            "reading and writing media needs PyAV: pip install 'lipjax[media]'"
        ) from None
    return av


@contextlib.contextmanager
def opened(path: str | os.PathLike) -> Iterator[Any]:
    """Opens a media file for reading.

    Args:
        path: the file.

    Yields:
        The `av` input container.

    Raises:
        MediaError: no such file, an empty one, or one in no known format.
    """
    av = require_av()
    name = os.fspath(path)
    if not os.path.isfile(name):
        raise MediaError(f"{name}: no such file")
    if os.path.getsize(name) == 0:
        raise MediaError(f"{name}: the file is empty (0 bytes)")
    try:
        # The prefix keeps a name such as "http:x" or "concat:a|b" from being taken for a protocol.
        container = av.open("file:" + os.path.abspath(name), metadata_errors="replace")
    except (av.error.FFmpegError, ValueError) as error:
        raise MediaError(
            f"{name}: not a readable sound or video file ({_reason(error)}); is it truncated, or "
            "is its extension wrong?"
        ) from None
    with container:
        yield container


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[str]:
    """Gives a temporary name beside `path`, which takes the place of `path` if all went well.

    Args:
        path: the file to write.

    Yields:
        The temporary name; it is removed if the block raises.

    Raises:
        MediaError: the folder does not exist or cannot be written.
    """
    name = os.path.abspath(os.fspath(path))
    if os.path.isdir(name):
        raise MediaError(f"{os.fspath(path)}: cannot be written, a folder has that name")
    temporary = f"{name}.{uuid.uuid4().hex[:8]}.part"
    try:
        open(temporary, "xb").close()
    except OSError as error:
        raise MediaError(f"{os.fspath(path)}: cannot be written ({error.strerror})") from None
    try:
        yield temporary
        os.replace(temporary, name)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def picture_stream(container: Any) -> Any | None:
    """Returns the video stream with the largest picture, or None; cover art does not count."""
    av = require_av()
    art = av.stream.Disposition.attached_pic
    streams = [
        s
        for s in container.streams.video
        if not s.disposition & art and s.codec_context is not None
    ]
    return max(streams, key=lambda s: s.codec_context.width * s.codec_context.height, default=None)


def sound_stream(container: Any) -> Any | None:
    """Returns the sound stream that a player would choose, or None."""
    if not container.streams.audio:
        return None
    stream = container.streams.best("audio") or container.streams.audio[0]
    return None if stream.codec_context is None else stream


def decoded(container: Any, stream: Any) -> Iterator[Any]:
    """Decodes one stream; damaged packets are skipped and a truncated file simply ends.

    Args:
        container: an open input container.
        stream: one of its streams.

    Yields:
        The frames in the order of presentation.
    """
    failure = require_av().error.FFmpegError
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except failure:
            break
        with contextlib.suppress(failure):
            yield from packet.decode()
    with contextlib.suppress(failure):
        yield from stream.codec_context.decode(None)


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


def stamp_slack(container: Any, step: float) -> float:
    """Returns by how much the stamps of pictures may be wrong in this kind of file, seconds.

    An MPEG program stream stamps its 2-KB packs, and several small pictures share one: a stamp
    then lands on a neighbour. MPEG-1 and 2 have a fixed rate, so counting is the better clock.
    """
    return 1.25 * step if container.format.name == "mpeg" else 0.0


def timed(frames: Iterator[Any], step: float, slack: float = 0.0) -> Iterator[tuple[Any, float]]:
    """Gives every picture a time later than that of the picture before.

    Pictures without a timestamp, or with one that does not advance, are spread evenly up to the
    next one that does: streams with stamps on some pictures only (MPEG program streams, field
    pairs) then play evenly.

    Args:
        frames: decoded pictures in the order of presentation.
        step: nominal seconds per picture, used where nothing better is known.
        slack: a stamp this near to the regular beat (`stamp_slack`) is moved onto it.

    Yields:
        (picture, presentation time in seconds).
    """
    clock, last = Clock(), None
    held: list[Any] = []  # the first has time `last`, or none is known yet
    for frame in frames:
        time = frame_time(frame)
        if time is not None:
            beat = (last or 0.0) + step * len(held)
            time = clock.fold(time, last, beat)
            if last is None:
                last = time - step * len(held)
            elif abs(time - beat) <= slack:
                time = beat
        if time is None or (held and time <= last + 1e-6):
            held.append(frame)
            if len(held) < _HELD:
                continue
            last = last or 0.0
            time = last + step * len(held)
            frame = None
        if held:
            spacing = (time - last) / len(held)
            for index, earlier in enumerate(held):
                yield earlier, last + index * spacing
        held, last = ([frame] if frame is not None else []), time
    for index, frame in enumerate(held):
        yield frame, (last or 0.0) + index * step
