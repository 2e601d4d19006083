# SPDX-License-Identifier: Apache-2.0
"""Whom to animate: a mouth crop, a photo of a face, or a video to dub.

A target gives the pictures that a speaker looks at, and puts the mouths that it makes back. Only
what is needed for one frame is in memory; a video is decoded twice, to track it and to paint it.
"""

import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from lipjax.errors import ConfigError, FaceNotFoundError, MediaError, nearest
from lipjax.generation.dubbing import Mouth, Tick, VideoToDub
from lipjax.media import crops
from lipjax.media.compose import paste_mouth
from lipjax.media.faces import face_in_image, load_backend
from lipjax.media.image import read_image
from lipjax.media.video import is_video_name, probe
from lipjax.speakers.contract import Needs

KINDS = ("auto", "mouth", "face", "video")
MAX_SIDE = 1280
"""Longest side of the video made of a photo, pixels; larger photos are scaled down."""
WATCHABLE = 256
"""A mouth crop is enlarged by a whole factor to at least this side, pixels."""
SQUARE, SMALL = 1.1, 384
"""A picture without a face is taken for a mouth crop if its sides differ by no more than this
factor and have no more than so many pixels."""
_AROUND, _MOUTH_AT = 3.2, 0.68  # of a portrait: its side in mouth crops, the mouth's height in it


@runtime_checkable
class Target(Protocol):
    """Whom to animate.

    Attributes:
        kind: "mouth", "face" or "video".
        identity: the aligned mouth crop that the speaker gets to see first.
        untracked: numbers of the frames that pass through as they are, for want of a face.
        notes: what the user should know.
    """

    kind: str
    identity: Mouth
    untracked: tuple[int, ...]
    notes: tuple[str, ...]

    def crops(self) -> Iterator[Mouth]:
        """The target's own aligned mouth at each frame."""

    def paint(self, mouths: Iterable[Mouth]) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        """Puts made mouths in place, one frame each."""


class MouthCrop:
    """A picture that is all mouth; the video is the crop itself, enlarged."""

    kind = "mouth"
    untracked: tuple[int, ...] = ()

    def __init__(self, image: UInt8[np.ndarray, "H W 3"], needs: Needs) -> None:
        """Takes the middle square of the picture."""
        side = min(image.shape[:2])
        y, x = ((length - side) // 2 for length in image.shape[:2])
        size = needs.mouth_size
        self.identity = _resized(image[y : y + side, x : x + side], size)
        self._side = size * max(1, -(-WATCHABLE // size))
        self.notes: tuple[str, ...] = ()

    def crops(self) -> Iterator[Mouth]:
        """The picture, over and over."""
        return itertools.repeat(self.identity)

    def paint(self, mouths: Iterable[Mouth]) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        """Enlarges each mouth."""
        return (_resized(mouth, self._side) for mouth in mouths)


class FacePhoto:
    """A photo of a face, in which only the mouth moves."""

    kind = "face"
    untracked: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    def __init__(
        self, image: UInt8[np.ndarray, "H W 3"], path: Path, needs: Needs, landmarks: str
    ) -> None:
        """Finds the face.

        Raises:
            FaceNotFoundError: there is none.
        """
        try:
            face = face_in_image(image, load_backend(landmarks, video=path))
        except FaceNotFoundError as error:
            raise FaceNotFoundError(f"{path}: {error}") from None
        # Found at full size, because landmarks beside the photo are in its own pixels.
        scale = min(1.0, MAX_SIDE / max(image.shape[:2]))
        height, width = (max(1, round(length * scale)) for length in image.shape[:2])
        factors = np.array([width / image.shape[1], height / image.shape[0]])
        points = (face.landmarks.astype(np.float64) + 0.5) * factors - 0.5
        self._photo = image
        if scale < 1:
            small = Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS)
            self._photo = np.asarray(small)
        self._transform = crops.single_mouth_transform(
            points, size=needs.mouth_size, margin=needs.margin
        )
        self.identity = crops.warp(self._photo, self._transform, needs.mouth_size)

    def portrait(self, side: int) -> UInt8[np.ndarray, "S S 3"]:
        """The face alone, upright, as a square picture of so many pixels."""
        size = self.identity.shape[0]
        scale = side / (_AROUND * size)
        middle = np.array([0.5, _MOUTH_AT]) * (side - 1) - scale * (size - 1) / 2
        transform = scale * self._transform
        transform[:, 2] += middle
        return crops.warp(self._photo, transform, side)

    def crops(self) -> Iterator[Mouth]:
        """The photo's mouth, over and over."""
        return itertools.repeat(self.identity)

    def paint(self, mouths: Iterable[Mouth]) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        """Blends each mouth into the photo."""
        return (paste_mouth(self._photo, mouth, self._transform) for mouth in mouths)


def open_target(
    path: str | os.PathLike,
    needs: Needs,
    *,
    frames: int,
    kind: str = "auto",
    landmarks: str = "auto",
    tick: Tick | None = None,
) -> Target:
    """Opens a picture or video and finds the mouth in it.

    Args:
        path: the file.
        needs: of the speaker.
        frames: that will be made.
        kind: "mouth", "face", "video", or "auto": by the file's name a video, else a picture; a
            small and roughly square picture without a face is a mouth crop.
        landmarks: backend that finds faces.
        tick: called while a video is tracked.

    Raises:
        ConfigError: no such kind, or what it needs is not installed.
        FaceNotFoundError: there is no face.
        MediaError: the file cannot be read.
    """
    path = Path(path)
    if kind not in KINDS:
        raise ConfigError(f"there is no kind of face {kind!r}" + nearest(kind, KINDS))
    if kind == "video" or (kind == "auto" and is_video_name(path)):
        return VideoToDub(path, needs, landmarks, frames=frames, tick=tick)
    try:
        image = read_image(path)
    except MediaError:
        if kind == "auto" and _is_video(path):
            return VideoToDub(path, needs, landmarks, frames=frames, tick=tick)
        raise
    if kind == "mouth":
        return MouthCrop(image, needs)
    try:
        return FacePhoto(image, path, needs, landmarks)
    except FaceNotFoundError as error:
        longer, shorter = max(image.shape[:2]), min(image.shape[:2])
        if kind == "face":
            raise
        if longer > SMALL or longer > SQUARE * shorter:
            hint = "if it is a mouth crop, say so: --face-kind mouth (face_kind='mouth')"
            raise FaceNotFoundError(f"{error}; {hint}") from None
    target = MouthCrop(image, needs)
    target.notes = ("no face found in the square picture: it was taken for a mouth crop",)
    return target


def _resized(image: UInt8[np.ndarray, "h w 3"], side: int) -> UInt8[np.ndarray, "S S 3"]:
    """The picture as a square, enlarged smoothly or shrunk without aliasing."""
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.LANCZOS))


def _is_video(path: Path) -> bool:
    try:
        probe(path)
    except MediaError:
        return False
    return True
