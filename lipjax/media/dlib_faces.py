# SPDX-License-Identifier: Apache-2.0
"""Faces and their 68 landmarks by dlib; the predictor's training data is for research use."""

import functools
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, UInt8

from lipjax.errors import ConfigError
from lipjax.media import crops
from lipjax.media.tracking import BOX_RISE, Box, Face, box_of_landmarks, overlap

_Change = tuple[float, float, float]

FIT_WIDTH = 400
"""Width in pixels to which a smaller face is enlarged before its landmarks are fitted."""
FIT_BOXES = ((0.0, 0.0, 0.0), (0.02, -0.02, 0.03), (-0.02, 0.02, -0.03))
"""Shift (in sides of the box) and growth of the boxes whose fits are averaged: less noise."""
LARGE_ROLL = 0.25
"""Radians of tilt above which a first estimate of it is taken again."""
CHECK_WIDTH, CHECK_SCORE = 95.0, -0.3
"""A followed face is looked at by the detector at this width; below this score it is lost."""
PREDICTOR = "models/shape_predictor_68_face_landmarks.dat"


@functools.cache
def models() -> tuple[Any, Any]:
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


def fit_landmarks(
    image: UInt8[np.ndarray, "H W *c"], box: Box, *, roll: float | None = None
) -> Float32[np.ndarray, "68 2"]:
    """Fits the 68 points to a face whose box is known, enlarged to 400 pixels or more.

    Args:
        image: RGB or grey picture.
        box: where dlib's detector would put the face (see `box_of_landmarks`).
        roll: the face's tilt by `fit_roll`, where it is known; that saves a quarter of the work.

    Returns:
        Points (x, y) in pixels of `image`, finer than whole pixels.
    """
    grey = _grey(image)
    if roll is None:
        roll = fit_roll(grey, box)
    return _fit(grey, box, roll, FIT_BOXES).astype(np.float32)


def fit_roll(image: UInt8[np.ndarray, "H W *c"], box: Box) -> float:
    """Finds how a face is tilted: the predictor starts from an upright one.

    Args:
        image: RGB or grey picture.
        box: as for `fit_landmarks`.

    Returns:
        The angle of the line between the eyes in radians, clockwise.
    """
    grey = _grey(image)
    roll = _roll(_fit(grey, box, 0.0, FIT_BOXES[:1]))
    if abs(roll) > LARGE_ROLL:
        roll = _roll(_fit(grey, box, roll, FIT_BOXES[:1]))
    return roll


def _grey(image: np.ndarray) -> np.ndarray:
    import cv2

    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.shape[2:] == (3,) else image


def _fit(grey: np.ndarray, box: Box, roll: float, boxes: tuple[_Change, ...]) -> np.ndarray:
    """The mean of fits to a face of known roll from changed boxes, [68, 2] in the picture."""
    import dlib

    side = box[2] - box[0]
    width = max(side, float(FIT_WIDTH))
    crop, to_crop = _upright(grey, box, roll, width)
    fits = []
    for dx, dy, larger in boxes:
        half = width * (1 + larger) / 2
        cx, cy = (len(crop) - 1) / 2 + width * np.array([dx, dy])
        corners = (cx - half, cy - half, cx + half, cy + half)
        parts = models()[1](crop, dlib.rectangle(*(round(c) for c in corners))).parts()
        fits.append([(part.x, part.y) for part in parts])
    return crops.apply(crops.invert(to_crop), np.mean(np.array(fits, np.float64), axis=0))


def _upright(
    grey: np.ndarray, box: Box, roll: float, width: float
) -> tuple[np.ndarray, np.ndarray]:
    """A square around a face, turned upright, its box `width` wide at the centre; transform."""
    import cv2

    side = box[2] - box[0]
    # The box is centred above the middle of the face, and turns about that middle.
    turn = np.exp(1j * roll)
    centre = complex(box[0] + box[2], box[1] + box[3]) / 2 + (1 - turn) * 1j * BOX_RISE * side
    factor = width / side / turn
    middle = round(0.8 * width)
    shift = middle * (1 + 1j) - factor * centre
    matrix = np.array(
        [[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]]
    )
    method = cv2.INTER_CUBIC if width > side else cv2.INTER_LINEAR
    size = (2 * middle + 1, 2 * middle + 1)
    crop = cv2.warpAffine(grey, matrix, size, flags=method, borderMode=cv2.BORDER_REPLICATE)
    return crop, matrix


def _roll(landmarks: Float[np.ndarray, "68 2"]) -> float:
    """The angle of the line between the eyes in radians."""
    dx, dy = landmarks[42:48].mean(axis=0) - landmarks[36:42].mean(axis=0)
    return float(np.arctan2(dy, dx))


def find(image: UInt8[np.ndarray, "H W 3"], source_index: int, near: Box | None) -> list[Face]:
    """The dlib backend: all faces, or the one near a box if the detector still sees it there."""
    import cv2

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if near is not None:
        landmarks = fit_landmarks(grey, near)
        score = _score(grey, landmarks)
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
        if min(grey.shape) * scale < 16:
            continue  # a strip; the detector's window has 80 pixels
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=method)
        boxes, scores, _ = models()[0].run(small, 0, 0.0)
        if boxes:
            found = [tuple((side + 0.5) / scale - 0.5 for side in _sides(b)) for b in boxes]
            return list(zip(found, map(float, scores), strict=True))
    return []


def _score(grey: np.ndarray, landmarks: np.ndarray) -> float | None:
    """What the detector says of a face with these landmarks; None if it sees none there."""
    crop, _ = _upright(grey, box_of_landmarks(landmarks), _roll(landmarks), CHECK_WIDTH)
    boxes, scores, _ = models()[0].run(crop, 0, CHECK_SCORE)
    middle = (len(crop) - 1) / 2
    half = CHECK_WIDTH / 2
    expected = (middle - half, middle - half, middle + half, middle + half)
    agreeing = [
        float(score)
        for b, score in zip(boxes, scores, strict=True)
        if overlap(expected, _sides(b)) > 0.35
    ]
    return max(agreeing, default=None)


def _sides(rectangle: Any) -> Box:
    sides = (rectangle.left(), rectangle.top(), rectangle.right(), rectangle.bottom())
    left, top, right, bottom = (float(side) for side in sides)
    return left, top, right, bottom
