# SPDX-License-Identifier: Apache-2.0
"""What sound and video share: opening a file, decoding past damage, writing under a new name."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from typing import Any

from lipjax.errors import ConfigError, MediaError
from lipjax.media.limits import MAX_FRAME_SAMPLES, MAX_PIXELS, MAX_STREAMS
from lipjax.media.mp4_tables import too_many_samples

FORMATS = (
    *("mov", "matroska", "avi", "asf", "asf_o", "flv", "mpeg", "mpegts", "mpegvideo", "mxf", "dv"),
    *("ogg", "gif", "ivf", "h264", "hevc", "m4v", "mjpeg", "yuv4mpegpipe", "wtv", "rm", "nut"),
    *("wav", "w64", "flac", "mp3", "aac", "loas", "ac3", "eac3", "dts", "aiff", "au", "caf", "amr"),
    *("ape", "wv", "tta", "tak", "mpc", "mpc8", "nistsphere", "voc", "sox", "dsf", "shn"),
)
"""FFmpeg's names of the formats that are read, whatever the ending of a file's name.

Not among them are those that name other files or addresses (playlists such as hls, concat, dash
and sdp; numbered pictures), that run scripts, or that hardly anybody uses.
"""


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
def opened(path: str | os.PathLike, *, max_pixels: int = MAX_PIXELS) -> Iterator[Any]:
    """Opens a media file for reading, and no other file that it may name.

    Args:
        path: the file.
        max_pixels: above which the decoder gives up a picture before it takes memory for it.

    Yields:
        The `av` input container.

    Raises:
        MediaError: no such file, an empty one, one in no known format, or with tables that
            declare absurdly many samples.
    """
    av = require_av()
    name = os.fspath(path)
    if not os.path.isfile(name):
        raise MediaError(f"{name}: no such file")
    if os.path.getsize(name) == 0:
        raise MediaError(f"{name}: the file is empty (0 bytes)")
    options = {
        "format_whitelist": ",".join(FORMATS),
        "protocol_whitelist": "file",
        "max_streams": str(MAX_STREAMS),
        # Coded pictures are padded to whole blocks; what is given out is checked to the pixel.
        "max_pixels": str(round(1.1 * max_pixels) + 65_536),
    }
    try:
        count = too_many_samples(name)
        if count is not None:
            raise MediaError(
                f"{name}: its tables declare {count:,} samples, more than it can hold; it is "
                "damaged, or made to fill the memory"
            )
        # The prefix keeps a name such as "http:x" or "concat:a|b" from being taken for a protocol.
        container = av.open(
            "file:" + os.path.abspath(name), metadata_errors="replace", options=options
        )
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise MediaError(
            f"{name}: not a readable sound or video file ({_reason(error)}); is it truncated, or "
            "is its extension wrong?"
        ) from None
    with container:
        for stream in container.streams:
            if stream.codec_context is not None and stream.type in ("video", "audio"):
                stream.codec_context.options = {
                    "max_pixels": options["max_pixels"],
                    "max_samples": str(MAX_FRAME_SAMPLES),
                }
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
    # Not made of the name, which may be as long as names can be.
    temporary = os.path.join(os.path.dirname(name), f"lipjax-{uuid.uuid4().hex[:12]}.part")
    try:
        with contextlib.suppress(FileNotFoundError):
            os.lstat(name)  # a name that is too long is found out before any work
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
