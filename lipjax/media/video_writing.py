# SPDX-License-Identifier: Apache-2.0
"""Writing videos: H.264 and AAC, checked by reading them back."""

import dataclasses
import os
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import numpy as np
from jaxtyping import UInt8

from lipjax.errors import ConfigError, MediaError, nearest
from lipjax.media.audio import Sound
from lipjax.media.containers import opened, replacing, require_av, sound_stream
from lipjax.media.probing import VideoInfo, probe
from lipjax.media.resampling import resample, to_float, to_int16

_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
_BT709, _LIMITED = 1, 1  # colour tags: without them players guess from the picture's size


def write_video(
    path: str | os.PathLike,
    frames: Iterable[np.ndarray],
    *,
    fps: float | int = 25.0,
    sound: Sound | None = None,
    comment: str | None = None,
    crf: int = 18,
) -> VideoInfo:
    """Writes frames and sound as a video that plays everywhere, and checks the result.

    H.264 (yuv420p, BT.709) and AAC. The file appears under its name only when complete and read
    back well. Memory does not grow with length.

    Args:
        path: ends in .mp4, .m4v, .mov or .mkv.
        frames: uint8 H W 3, RGB, all of one size; odd sizes gain a repeated row or column.
        fps: frames per second.
        sound: on the clock in which frame 0 begins at time 0; cut, or filled with silence, to the
            length of the pictures.
        comment: text for the title and comment tags.
        crf: quality, 0 (best) to 51.

    Returns:
        What `probe` finds in the file.

    Raises:
        ConfigError: an impossible setting, or no encoder; found before any frame is taken.
        MediaError: no frames, frames of different sizes, or a file that does not read back well.

    Example:
        >>> frames = np.zeros((25, 64, 64, 3), np.uint8)
        >>> lipjax.write_video("black.mp4", frames, fps=25).duration
        1.0
    """
    name = os.fspath(path)
    form = _checked(name, fps, crf, sound)
    rate = Fraction(fps).limit_denominator(1001)
    # Encoders know some rates only; what they do not know is brought to one they do.
    if sound is not None and sound.rate not in _sound_rates():
        samples = to_int16(resample(to_float(sound.samples), sound.rate, 48_000))
        sound = type(sound)(samples, 48_000, sound.start)
    with replacing(path) as temporary:
        try:
            with _output(temporary, form, comment) as output:
                count, size = _encode(output, name, frames, rate, sound, crf)
        except require_av().error.FFmpegError as error:
            raise MediaError(f"{name}: writing failed ({error.strerror})") from error
        info = _read_back(name, temporary, count, size, rate, sound is not None)
    return info


def _sound_rates() -> list[int]:
    return require_av().codec.Codec("aac", "w").audio_rates or [48_000]


def _checked(name: str, fps: float | int, crf: int, sound: Sound | None) -> str:
    """Returns the container format after checking everything that can be known before work."""
    av = require_av()
    extension = os.path.splitext(name)[1].lower()
    if extension not in _FORMATS:
        raise ConfigError(
            f"{name}: a video is written as one of {', '.join(_FORMATS)}"
            + nearest(extension or "none", _FORMATS)
        )
    if not 1 <= fps <= 240:
        raise ConfigError(f"fps must be between 1 and 240, got {fps}")
    if not 0 <= crf <= 51:
        raise ConfigError(f"crf must be between 0 and 51, got {crf}")
    for codec in ["libx264"] + (["aac"] if sound is not None else []):
        try:
            av.codec.Codec(codec, "w")
        except (ValueError, av.error.FFmpegError):
            raise ConfigError(
                f"this PyAV has no {codec} encoder; the wheels on PyPI have it: "
                "pip install --force-reinstall --only-binary av av"
            ) from None
    return _FORMATS[extension]


def _even(frame: np.ndarray, name: str, size: tuple[int, int] | None) -> UInt8[np.ndarray, "H W 3"]:
    """The frame with even sides, its last row and column repeated where needed."""
    frame = np.asarray(frame)
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
        raise MediaError(f"{name}: frames must be uint8 H W 3, got {frame.dtype} {frame.shape}")
    if size is not None and frame.shape[:2] != size:
        raise MediaError(f"{name}: frame size changed from {size} to {frame.shape[:2]}")
    height, width = frame.shape[:2]
    if height % 2 or width % 2:
        frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(frame)


def _output(temporary: str, form: str, comment: str | None) -> Any:
    options = {"movflags": "+faststart"} if form != "matroska" else {}
    output = require_av().open("file:" + temporary, "w", format=form, options=options)
    if comment:
        output.metadata.update(title=comment, comment=comment)
    return output


def _encode(
    output: Any,
    name: str,
    frames: Iterable[np.ndarray],
    rate: Fraction,
    sound: Sound | None,
    crf: int,
) -> tuple[int, tuple[int, int]]:
    """Encodes everything; returns the number of frames and (width, height) of the pictures."""
    av = require_av()
    count, size, video, audio = 0, None, None, None
    for frame in frames:
        even = _even(frame, name, size)
        if video is None:
            # Streams are made here: only now is the size known.
            size = frame.shape[:2]
            video = _video_stream(output, rate, even.shape, crf)
            audio = _audio_stream(output, sound.rate) if sound is not None else None
        picture = av.VideoFrame.from_ndarray(even, format="rgb24").reformat(
            format="yuv420p", dst_colorspace=_BT709, dst_color_range=_LIMITED
        )
        picture.pts, picture.time_base = count, 1 / rate
        output.mux(video.encode(picture))
        if sound is not None:
            output.mux(_encode_sound(audio, sound, count, rate))
        count += 1
    if video is None:
        raise MediaError(f"{name}: there are no frames to write")
    output.mux(video.encode())
    if audio is not None:
        output.mux(audio.encode())
    return count, (video.width, video.height)


def _video_stream(output: Any, rate: Fraction, shape: tuple[int, ...], crf: int) -> Any:
    # With its macroblock tree x264 makes other files of the same pictures, run by run, on CPUs with
    # AVX-512; what is made from a seed has to stay the same.
    options = {"crf": str(crf), "preset": "fast", "mbtree": "0"}
    stream = output.add_stream("libx264", rate=rate, options=options)
    stream.width, stream.height, stream.pix_fmt = shape[1], shape[0], "yuv420p"
    context = stream.codec_context
    context.colorspace, context.color_range = _BT709, _LIMITED
    context.color_primaries, context.color_trc = _BT709, _BT709
    return stream


def _audio_stream(output: Any, rate: int) -> Any:
    stream = output.add_stream("aac", rate=rate)
    stream.layout = "mono"
    stream.bit_rate = 128_000 if rate >= 32_000 else 64_000
    return stream


def _encode_sound(stream: Any, sound: Sound, index: int, rate: Fraction) -> list[Any]:
    """Packets of the sound that belongs to one frame; borders are counted from time 0."""
    av = require_av()
    begin, end = (round(n * sound.rate / rate) for n in (index, index + 1))
    samples = sound.between(begin / sound.rate, end / sound.rate)
    if not len(samples):
        return []
    frame = av.AudioFrame.from_ndarray(to_float(samples)[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = sound.rate, begin, Fraction(1, sound.rate)
    return stream.encode(frame)


def _read_back(
    name: str, temporary: str, count: int, size: tuple[int, int], rate: Fraction, has_sound: bool
) -> VideoInfo:
    """Opens the written file and compares it with what was meant."""
    info = probe(temporary)
    expected = float(count / rate)
    problems = []
    if (info.width, info.height) != size:
        problems.append(f"size {info.width} x {info.height} instead of {size[0]} x {size[1]}")
    if abs(info.duration - expected) > 0.5 / rate:
        problems.append(f"pictures last {info.duration:.3f} s instead of {expected:.3f} s")
    if round(info.duration * info.fps) != count:
        problems.append(f"{info.duration * info.fps:.1f} pictures instead of {count}")
    if has_sound:
        with opened(temporary) as container:
            stream = sound_stream(container)
            seconds = 0.0 if stream is None else _packet_seconds(container, stream)
        if not -0.01 <= seconds - expected <= 0.25:
            problems.append(f"sound lasts {seconds:.3f} s instead of {expected:.3f} s")
    if problems:
        raise MediaError(f"{name}: the written file does not read back: {'; '.join(problems)}")
    return dataclasses.replace(info, path=name)


def _packet_seconds(container: Any, stream: Any) -> float:
    """Seconds from time 0 to the end of the last packet of a stream."""
    end = 0.0
    for packet in container.demux(stream):
        if packet.pts is not None and packet.size:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    return end
