# SPDX-License-Identifier: Apache-2.0
"""What sound and video share: opening a file, decoding past damage, writing under a new name."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from typing import Any

from lipjax.errors import ConfigError, MediaError


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
