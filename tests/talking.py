# SPDX-License-Identifier: Apache-2.0
"""Small videos of drawn talking faces with landmark files beside them, made in a moment."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
from synthetic import face_points

from lipjax.media.audio import Sound
from lipjax.media.video import write_video

RATE = 16_000


def openings(frames: int, seed: int = 0) -> np.ndarray:
    """Lip opening per frame, 0 .. 1, irregular so that only one lag fits."""
    rng = np.random.default_rng(seed)
    knots = rng.uniform(-0.3, 1.0, frames // 3 + 4)
    return np.interp(np.arange(frames) / 3.0, np.arange(len(knots)), knots).clip(0.0, 1.0)


def speech(opening: np.ndarray, *, fps: float = 25.0, seconds: float | None = None) -> Sound:
    """Noise as loud as the mouth is open, as long as the picture unless told otherwise."""
    count = int(RATE * (len(opening) / fps if seconds is None else seconds))
    times = np.arange(count) / RATE
    envelope = np.interp(times, (np.arange(len(opening)) + 0.5) / fps, opening)
    noise = np.random.default_rng(1).normal(size=count)
    return Sound((noise * envelope**2 * 6000).clip(-32768, 32767).astype(np.int16), RATE)


def draw_faces(points: np.ndarray, *, size: tuple[int, int] = (144, 160), skin=(190, 150, 130)):
    """Yields a picture for each frame of landmarks."""
    import cv2

    for shape in points:
        picture = np.full((*size, 3), (70, 80, 90), np.uint8)
        cv2.fillPoly(picture, [np.round(shape[:17]).astype(int)], skin)
        for part, colour in ((slice(36, 42), (255, 255, 255)), (slice(42, 48), (255, 255, 255))):
            cv2.fillPoly(picture, [np.round(shape[part]).astype(int)], colour)
        cv2.fillPoly(picture, [np.round(shape[48:60]).astype(int)], (170, 60, 70))
        cv2.fillPoly(picture, [np.round(shape[60:68]).astype(int)], (40, 5, 10))
        yield picture


def write_talk(
    path: Path,
    *,
    frames: int = 40,
    fps: float = 25.0,
    seed: int = 0,
    sound: Sound | None | str = "speech",
    missing: slice | None = None,
) -> np.ndarray:
    """Writes a video of a drawn face and its landmark file.

    Args:
        path: the video; the landmarks lie beside it.
        frames: pictures.
        fps: pictures per second.
        seed: of the motion.
        sound: "speech" follows the lips; None for a video without sound.
        missing: pictures without a face.

    Returns:
        The lip opening of each picture.
    """
    opening = openings(frames, seed)
    points = face_points(opening)
    path.parent.mkdir(parents=True, exist_ok=True)
    if missing is not None:
        points[missing] = np.nan
    pictures = draw_faces(np.nan_to_num(points, nan=-50.0))
    given = speech(opening, fps=fps) if isinstance(sound, str) else sound
    write_video(path, pictures, fps=fps, sound=given)
    np.save(path.with_name(path.stem + ".landmarks.npy"), points)
    return opening


def remux(path: Path, *, sound_until: float = 1e9, pictures: Collection[int] | None = None) -> None:
    """Rewrites a video with a part of its sound, or some of its pictures at their own times.

    Args:
        path: the video; replaced.
        sound_until: sound from this time on is left out, seconds.
        pictures: numbers of the pictures to keep; these are encoded anew.
    """
    import av

    other = path.with_name("remuxed" + path.suffix)
    with av.open(str(path)) as source, av.open(str(other), "w") as output:
        sound_in, video_in = source.streams.audio[0], source.streams.video[0]
        sound = output.add_stream_from_template(sound_in)
        if pictures is None:
            video = output.add_stream_from_template(video_in)
        else:
            video = output.add_stream("libx264", rate=25)
            video.width, video.height, video.pix_fmt = video_in.width, video_in.height, "yuv420p"
            video.codec_context.time_base = video_in.time_base
        number = 0
        for packet in source.demux(sound_in, video_in):
            if packet.dts is None and packet.size == 0 and pictures is None:
                continue
            if packet.stream is sound_in:
                if packet.dts is not None and packet.pts * sound_in.time_base < sound_until:
                    packet.stream = sound
                    output.mux(packet)
            elif pictures is None:
                packet.stream = video
                output.mux(packet)
            else:
                for frame in packet.decode():
                    if number in pictures:
                        frame.pict_type = 0
                        output.mux(video.encode(frame))
                    number += 1
        if pictures is not None:
            output.mux(video.encode(None))
    other.replace(path)
