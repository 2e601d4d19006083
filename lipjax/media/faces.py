# SPDX-License-Identifier: Apache-2.0
"""Landmark backends: dlib (default), landmark files beside the videos, MediaPipe.

A backend is one function, (picture, source frame number, box or None) -> faces; `track` and
`face_in_image` take any. The 68 points are those of the iBUG 300-W data set.
"""

import functools
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, UInt8

from lipjax.errors import ConfigError, FaceNotFoundError, MediaError, nearest
from lipjax.media.tracking import Backend, Box, Face, Track, box_of_landmarks, overlap, track

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

FIT_WIDTH = 400
"""Width in pixels to which a smaller face is enlarged before its landmarks are fitted."""
FIT_BOXES = (
    (0, 0, 0),
    (0.02, 0.02, 0.03),
    (-0.02, -0.02, 0.03),
    (0.02, -0.02, -0.03),
    (-0.02, 0.02, -0.03),
)
"""Shift (of the face's width) and growth of the boxes whose fits are averaged.

Five fits have 0.7 times the error of one fit; they cost 1 ms each.
"""
CHECK_WIDTH, CHECK_SCORE = 95, -0.3
"""A followed face is looked at by the detector at this width; below this score it is lost."""
PREDICTOR = "models/shape_predictor_68_face_landmarks.dat"


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
        _models()
        return _dlib_faces
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


@functools.cache
def _models() -> tuple[Any, Any]:
    """dlib's face detector and 68-point predictor, loaded once per process."""
    hint = "install lipjax[landmarks], or give landmark files beside the videos"
    try:
        import dlib
    except ImportError as error:
        raise ConfigError(f"landmarks by dlib need dlib-bin: {hint}") from error
    # Importing face_recognition_models fails with a new setuptools; only its file is wanted.
    spec = importlib.util.find_spec("face_recognition_models")
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    files = [Path(folder) / PREDICTOR for folder in folders]
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        raise ConfigError(f"landmarks by dlib need face_recognition_models: {hint}")
    return dlib.get_frontal_face_detector(), dlib.shape_predictor(str(found))


def fit_landmarks(image: UInt8[np.ndarray, "H W *c"], box: Box) -> Float32[np.ndarray, "68 2"]:
    """Fits the 68 points to a face whose box is known, enlarged to 400 pixels or more.

    Args:
        image: RGB or grey picture.
        box: where dlib's detector would put the face (see `box_of_landmarks`).

    Returns:
        Points (x, y) in pixels of `image`, finer than whole pixels.
    """
    import cv2
    import dlib

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.shape[2:] == (3,) else image
    side = box[2] - box[0]
    scale = max(1.0, FIT_WIDTH / side)
    middle = round(0.8 * scale * side)
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    crop = _enlarged(grey, x, y, scale, middle)
    fits = []
    for dx, dy, larger in FIT_BOXES:
        half = scale * side * (1 + larger) / 2
        cx, cy = middle + scale * side * dx, middle + scale * side * dy
        corners = (cx - half, cy - half, cx + half, cy + half)
        parts = _models()[1](crop, dlib.rectangle(*(round(c) for c in corners))).parts()
        fits.append([(part.x, part.y) for part in parts])
    points = np.mean(np.array(fits, np.float64), axis=0)
    return ((points - middle) / scale + [x, y]).astype(np.float32)


def _enlarged(grey: np.ndarray, x: float, y: float, scale: float, middle: int) -> np.ndarray:
    """A square of side 2 * middle + 1 with (x, y) of the picture at its centre."""
    import cv2

    matrix = np.array([[scale, 0, middle - scale * x], [0, scale, middle - scale * y]])
    side = 2 * middle + 1
    return cv2.warpAffine(
        grey, matrix, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )


def _dlib_faces(
    image: UInt8[np.ndarray, "H W 3"], source_index: int, near: Box | None
) -> list[Face]:
    """The dlib backend."""
    import cv2

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if near is not None:
        landmarks = fit_landmarks(grey, near)
        score = _score(grey, box_of_landmarks(landmarks))
        return [] if score is None else [Face(landmarks, box_of_landmarks(landmarks), score)]
    faces = []
    # Frames far and wide without a face should not cost the finest search each.
    for box, score in _search(grey, thorough=source_index % 5 == 0):
        # The second fit starts where following the face would start.
        landmarks = fit_landmarks(grey, box_of_landmarks(fit_landmarks(grey, box)))
        faces.append(Face(landmarks, box_of_landmarks(landmarks), score))
    return faces


def _search(grey: np.ndarray, *, thorough: bool) -> list[tuple[Box, float]]:
    """Searches the whole picture, coarse first, finer only while nothing is found."""
    import cv2

    longest = max(grey.shape)
    scales = [min(1.0, 640 / longest), min(2.0, 1280 / longest), min(2.0, 2560 / longest)]
    for scale in sorted(set(scales))[: None if thorough else 1]:
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=method)
        boxes, scores, _ = _models()[0].run(small, 0, 0.0)
        if boxes:
            sides = [(b.left(), b.top(), b.right(), b.bottom()) for b in boxes]
            found = [tuple((side + 0.5) / scale - 0.5 for side in box) for box in sides]
            return list(zip(found, map(float, scores), strict=True))
    return []


def _score(grey: np.ndarray, box: Box) -> float | None:
    """What the detector says of a face that should be at `box`; None if it sees none there."""
    scale = CHECK_WIDTH / max(box[2] - box[0], 1.0)
    middle = round(0.8 * CHECK_WIDTH)
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    boxes, scores, _ = _models()[0].run(_enlarged(grey, x, y, scale, middle), 0, CHECK_SCORE)
    half = CHECK_WIDTH / 2
    expected = (middle - half, middle - half, middle + half, middle + half)
    agreeing = [
        float(score)
        for b, score in zip(boxes, scores, strict=True)
        if overlap(expected, (b.left(), b.top(), b.right(), b.bottom())) > 0.35
    ]
    return max(agreeing, default=None)


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
