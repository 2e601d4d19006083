# SPDX-License-Identifier: Apache-2.0
"""Landmark backends: dlib (default), landmark files beside the videos, MediaPipe.

A backend is one function, (picture, source frame number, box or None) -> faces; `track` and
`face_in_image` take any. The 68 points are those of the iBUG 300-W data set.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, UInt8

from lipjax.errors import ConfigError, FaceNotFoundError, MediaError, nearest
from lipjax.media import dlib_faces
from lipjax.media.dlib_faces import fit_landmarks
from lipjax.media.tracking import Backend, Box, Face, Track, box_of_landmarks, track

__all__ = [
    "Backend",
    "Box",
    "Face",
    "Track",
    "box_of_landmarks",
    "face_in_image",
    "fit_landmarks",
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
            f"no face found in the picture of {width}x{height} pixels; give one in which a face "
            "looks into the camera and is at least 40 pixels wide"
        )
    return max(faces, key=lambda face: face.box[2] - face.box[0])


def _file_backend(path: Path) -> Backend:
    """Landmarks of every source frame from a file: float [frames, 68, 2], NaN where missing."""
    try:
        points = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise MediaError(
            f"{path}: no landmarks can be read ({error}); remove or repair it"
        ) from error
    if points.ndim != 3 or points.shape[1:] != (68, 2) or points.dtype.kind != "f":
        raise MediaError(
            f"{path}: landmarks are float [frames, 68, 2], not {points.dtype} {list(points.shape)}"
        )

    def faces(image: np.ndarray, source_index: int, near: Box | None) -> list[Face]:
        if source_index >= len(points) or not np.isfinite(points[source_index]).all():
            return []
        landmarks = points[source_index].astype(np.float32)
        return [Face(landmarks, box_of_landmarks(landmarks), 1.0)]

    return faces


MEDIAPIPE_POINTS = (
    *(162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389),  # jaw
    *(71, 63, 105, 66, 107, 336, 296, 334, 293, 301),  # eyebrows
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),  # nose
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),  # eyes
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),  # outer lips
    *(78, 82, 13, 312, 308, 317, 14, 87),  # inner lips
)
"""Which of MediaPipe's 468 points stand for the 68; the jaw is only near dlib's."""


def points_of_mesh(mesh: Float[np.ndarray, "points 2"]) -> Float32[np.ndarray, "68 2"]:
    """Picks the 68 points out of MediaPipe's 468 (or 478) points."""
    return mesh[list(MEDIAPIPE_POINTS)].astype(np.float32)


def _mediapipe_backend(file: str) -> Backend:
    """Landmarks by MediaPipe's face landmarker, whose task file the user gives."""
    if not file or not Path(file).is_file():
        raise ConfigError(
            f"landmarks 'mediapipe:FILE.task' need a face landmarker task file; {file!r} is no file"
        )
    try:
        import mediapipe
        from mediapipe.tasks.python import BaseOptions, vision
    except ImportError as error:
        raise ConfigError("landmarks 'mediapipe' need it: pip install mediapipe") from error
    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=file),
        running_mode=vision.RunningMode.IMAGE,
        num_faces=4,
    )
    landmarker = vision.FaceLandmarker.create_from_options(options)

    def faces(image: np.ndarray, source_index: int, near: Box | None) -> list[Face]:
        picture = mediapipe.Image(
            image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image)
        )
        size = np.array([image.shape[1], image.shape[0]])
        found = []
        for points in landmarker.detect(picture).face_landmarks:
            # MediaPipe counts from the corner of the picture in units of its size.
            mesh = np.array([(point.x, point.y) for point in points]) * size - 0.5
            landmarks = points_of_mesh(mesh)
            found.append(Face(landmarks, box_of_landmarks(landmarks), 1.0))
        return found

    return faces
