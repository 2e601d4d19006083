# SPDX-License-Identifier: Apache-2.0
"""Landmark backends: dlib (default), landmark files beside the videos, MediaPipe.

A backend is one function, (picture, source frame number, box or None) -> faces; `track` and
`face_in_image` take any. The 68 points are those of the iBUG 300-W data set.
"""

import importlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, UInt8

from lipjax.errors import ConfigError, FaceNotFoundError, MediaError, nearest
from lipjax.media import dlib_faces
from lipjax.media.arrays import load_array
from lipjax.media.crops import MOUTH
from lipjax.media.dlib_faces import fit_landmarks, fit_roll
from lipjax.media.tracking import (
    MAX_FACES,
    Backend,
    Box,
    Face,
    Track,
    box_of_landmarks,
    overlap,
    track,
)

__all__ = [
    "Backend",
    "Box",
    "Face",
    "Track",
    "box_of_landmarks",
    "face_in_image",
    "fit_landmarks",
    "fit_roll",
    "landmark_file",
    "load_backend",
    "track",
]


def load_backend(name: str = "auto", *, video: str | Path | None = None) -> Backend:
    """Returns the function that finds faces.

    Args:
        name: "dlib"; "files" for landmarks that lie beside the video; "mediapipe:FILE.task";
            "auto" for files where they exist and dlib elsewhere.
        video: the video or picture, needed by "files" and "auto".

    Raises:
        ConfigError: no such backend, or what it needs is not installed or not there.
        MediaError: the landmark file cannot be read.
    """
    kind, _, argument = name.partition(":")
    if kind == "auto" and not argument:
        kind = "files" if video is not None and landmark_file(video).exists() else "dlib"
    if kind == "dlib" and not argument:
        dlib_faces.models()
        return dlib_faces.find
    if kind == "files" and not argument:
        if video is None:
            raise ConfigError("landmarks 'files' needs the name of the video they belong to")
        return _file_backend(landmark_file(video))
    if kind == "mediapipe":
        return _mediapipe_backend(argument)
    raise ConfigError(
        f"there is no landmark backend {name!r}"
        + nearest(name, ["auto", "dlib", "files", "mediapipe:FILE.task"])
    )


def landmark_file(video_path: str | Path) -> Path:
    """Returns where landmarks of a video or picture lie: clip.mp4 -> clip.landmarks.npy."""
    path = Path(video_path)
    return path.with_name(path.stem + ".landmarks.npy")


def face_in_image(image: UInt8[np.ndarray, "H W 3"], backend: Backend) -> Face:
    """Returns the largest face of a picture.

    Raises:
        FaceNotFoundError: there is none.
    """
    faces = backend(image, 0, None)
    if not faces:
        height, width = image.shape[:2]
        raise FaceNotFoundError(
            f"no face found in the picture of {width}x{height} pixels; give one in which an "
            "upright face looks into the camera and is at least 40 pixels wide"
        )
    return max(faces, key=lambda face: face.box[2] - face.box[0])


_OUTSIDE = 3
"""Landmarks from a file that lie further out, in longer sides of the picture, are no face's."""


def _file_backend(path: Path) -> Backend:
    """Landmarks of every source frame from a file: float [frames, 68, 2], NaN where missing."""
    try:
        points = load_array(path)
    except ValueError as error:
        raise MediaError(
            f"{path}: no landmarks can be read ({error}); remove or repair it"
        ) from error
    if points.ndim != 3 or points.shape[1:] != (68, 2) or points.dtype.kind != "f":
        raise MediaError(
            f"{path}: landmarks are float [frames, 68, 2], not {points.dtype} {list(points.shape)}"
        )

    def faces(image: np.ndarray, source_index: int, near: Box | None) -> list[Face]:
        if source_index >= len(points):
            return []
        landmarks = points[source_index].astype(np.float32)
        # NaN: there is no face. Far outside the picture, or all in one place: none to crop.
        within = (np.abs(landmarks) <= _OUTSIDE * max(image.shape[:2])).all()
        if not within or np.ptp(landmarks, axis=0).min() < 1 or np.ptp(landmarks[MOUTH, 0]) < 1:
            return []
        return [Face(landmarks, box_of_landmarks(landmarks), 1.0)]

    return faces


MEDIAPIPE_POINTS = (
    *(127, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 356),  # jaw
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),  # eyebrows
    *(168, 197, 195, 4, 75, 97, 2, 326, 305),  # nose
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),  # eyes
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),  # outer lips
    *(78, 82, 13, 312, 308, 317, 14, 87),  # inner lips
)
"""Which of MediaPipe's 468 points stand for the 68.

On seven people the lips lie 3 % of the distance between the eyes away from dlib's, eyes and nose
2 to 5 %, the eyebrows 7 % and the jaw 9 %: there the two draw other lines.
"""


def points_of_mesh(mesh: Float[np.ndarray, "points 2"]) -> Float32[np.ndarray, "68 2"]:
    """Picks the 68 points out of MediaPipe's 468 (or 478) points."""
    return mesh[list(MEDIAPIPE_POINTS)].astype(np.float32)


MEDIAPIPE_LOOK = 3.0
"""Side of the square that MediaPipe gets to see of a face, in sides of the face's box."""


def _mediapipe_backend(file: str) -> Backend:
    """Landmarks by MediaPipe's face landmarker, whose task file the user gives.

    Its detector takes what it sees down to 128 x 128 pixels. So each face is looked at a second
    time from near, which halves the noise of a face that is small in the picture; one narrower
    than about a tenth of the picture's longer side is not found at all.
    """
    mediapipe, landmarker = _landmarker(file)

    def look(image: np.ndarray, x: int, y: int) -> list[Face]:
        """All faces of a part of the picture whose first pixel is (x, y)."""
        if not image.size:
            return []
        part = mediapipe.Image(
            image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image)
        )
        size = np.array([image.shape[1], image.shape[0]])
        found = []
        for points in landmarker.detect(part).face_landmarks:
            # In units of the picture's size, but counted from the centre of its first pixel, as
            # ours: with every pixel doubled the points move by the quarter pixel that this gives.
            mesh = np.array([(point.x, point.y) for point in points]) * size + [x, y]
            landmarks = points_of_mesh(mesh)
            found.append(Face(landmarks, box_of_landmarks(landmarks), 1.0))
        return found

    def closest(image: np.ndarray, box: Box) -> list[Face]:
        """The face at a box, seen from near; none if there is none."""
        middle = np.array([box[0] + box[2], box[1] + box[3]]) / 2
        half = MEDIAPIPE_LOOK * (box[2] - box[0]) / 2
        x0, y0 = np.maximum(np.floor(middle - half), 0).astype(int)
        x1, y1 = np.maximum(np.ceil(middle + half), 0).astype(int)
        found = look(image[y0:y1, x0:x1], int(x0), int(y0))
        there = [face for face in found if overlap(face.box, box) > 0.3]
        return sorted(there, key=lambda face: overlap(face.box, box))[-1:]

    def faces(image: np.ndarray, source_index: int, near: Box | None) -> list[Face]:
        if near is not None:
            return closest(image, near)
        return [f for first in look(image, 0, 0) for f in closest(image, first.box) or [first]]

    return faces


def _landmarker(file: str) -> tuple[Any, Any]:
    """MediaPipe and its face landmarker for single pictures, made from a task file."""
    if not file or not Path(file).is_file():
        raise ConfigError(
            f"landmarks 'mediapipe:FILE.task' need a face landmarker task file; {file!r} is no file"
        )
    try:
        # In a thread of its own: where PortAudio is missing, MediaPipe keeps the error and with it
        # the frames that import it, hence the landmarker, up to a traceback when Python ends.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(importlib.import_module, "mediapipe.tasks.python.vision").result()
        import mediapipe
        from mediapipe.tasks.python import BaseOptions, vision
    except ImportError as error:
        raise ConfigError("landmarks 'mediapipe' need it: pip install mediapipe") from error
    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=file),
        running_mode=vision.RunningMode.IMAGE,
        num_faces=MAX_FACES,
    )
    try:
        return mediapipe, vision.FaceLandmarker.create_from_options(options)
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"{file}: MediaPipe cannot load it as a face landmarker ({error}); give the "
            "face_landmarker.task that MediaPipe's makers publish"
        ) from error
