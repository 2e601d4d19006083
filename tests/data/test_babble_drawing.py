# SPDX-License-Identifier: Apache-2.0
"""The drawn mouth shows what the landmarks say, at the size that networks see."""

import dataclasses

import numpy as np
import pytest

from lipjax.data.babble.drawing import Painter
from lipjax.data.babble.face import MOUTH_Y, draw_face
from lipjax.data.babble.shape import landmarks, mouth_curves

cv2 = pytest.importorskip("cv2")

SIZE, UNIT = (160, 160), 48.0
PLACE = np.array([[UNIT, 0.0, 80.0], [0.0, UNIT, 74.0]])
#         aperture jaw spread protrude tongue tuck press
REST = (0.0, 0.0, 0.0, 0.0, 0.2, 0.0, 0.0)
SLIGHT = (0.06, 0.03, 0.0, 0.0, 0.2, 0.0, 0.0)
OPEN = (0.4, 0.28, 0.0, 0.0, 0.1, 0.0, 0.0)
TONGUE = (0.2, 0.12, 0.0, 0.0, 1.0, 0.0, 0.0)
SMILE = (0.13, 0.05, 0.8, 0.0, 0.6, 0.0, 0.0)


@pytest.fixture(scope="module", params=range(4))
def painter(request):
    face = draw_face(np.random.default_rng([request.param, 9]), female=request.param % 2 == 0)
    return Painter(face, size=SIZE, unit=UNIT)


def draw(painter, controls, place=PLACE, blink=0.0):
    mouth = mouth_curves(painter.face, np.array(controls))
    image = painter.frame(mouth, blink=blink, placement=place)
    points = landmarks(painter.face, mouth, blink=blink)
    return image, points @ place[:, :2].T + place[:, 2]


def crop64(painter, image):
    """The mouth as prepare crops it: 1.5 mouth widths, 64 pixels."""
    scale = 64 / (1.5 * painter.face.mouth_width * UNIT)
    matrix = np.array([[scale, 0, 32 - scale * 80], [0, scale, 32 - scale * (74 + UNIT * MOUTH_Y)]])
    return cv2.warpAffine(image, matrix, (64, 64)).astype(float)


def at(image, point):
    x, y = np.round(point).astype(int)
    return image[y, x].astype(float)


def test_lips_are_where_the_landmarks_are(painter):
    image, points = draw(painter, OPEN)
    lips = np.asarray(painter.face.lips)
    lower = at(image, (points[66] + points[57]) / 2)
    hue = lower / lower.sum() - lips / lips.sum()
    assert np.abs(hue).max() < 0.08
    teeth = at(image, points[62] + (0, 4))
    cavity = at(image, 0.45 * points[62] + 0.55 * points[66])
    assert teeth.min() > 1.5 * cavity.max() or teeth.mean() > cavity.mean() + 60
    assert cavity.mean() < 0.6 * lower.mean()


def test_a_little_opening_shows_at_64_pixels(painter):
    shut, slight, wide = (crop64(painter, draw(painter, c)[0]) for c in (REST, SLIGHT, OPEN))
    middle = np.s_[26:40, 22:42]
    assert np.abs(shut - slight)[middle].mean() > 4
    assert np.abs(shut - wide)[middle].mean() > 2 * np.abs(shut - slight)[middle].mean()


def test_teeth_and_tongue_show_at_64_pixels(painter):
    toothless = dataclasses.replace(painter.face, teeth=(46.0, 16.0, 18.0))
    dark = Painter(toothless, size=SIZE, unit=UNIT)
    for controls, pixels in ((REST, 0), (SMILE, 60), (OPEN, 60)):
        with_teeth, without = (crop64(p, draw(p, controls)[0]) for p in (painter, dark))
        seen = np.abs(with_teeth - without).mean(axis=2) > 40
        assert seen.sum() >= pixels
        assert pixels or not seen.any()
    high, low = (draw(painter, (*TONGUE[:4], tongue, 0.0, 0.0))[0] for tongue in (1.0, 0.0))
    redder = (crop64(painter, high) - crop64(painter, low))[..., 0] > 30
    assert redder.sum() > 12


def test_motion_of_the_head_moves_picture_and_landmarks_together(painter):
    image, points = draw(painter, SMILE)
    angle = 0.05
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    place = np.concatenate([1.03 * UNIT * turn, [[83.0], [72.0]]], axis=1)
    moved, moved_points = draw(painter, SMILE, place)
    linear = place[:, :2] @ np.linalg.inv(PLACE[:, :2])
    matrix = np.column_stack([linear, place[:, 2] - linear @ PLACE[:, 2]])
    expected = cv2.warpAffine(image, matrix, SIZE, flags=cv2.INTER_CUBIC).astype(float)
    x0, y0 = moved_points[48:].min(axis=0).astype(int) - 2
    x1, y1 = moved_points[48:].max(axis=0).astype(int) + 3
    assert np.abs(expected - moved)[y0:y1, x0:x1].mean() < 7
    shifted = np.roll(expected, 2, axis=0)
    error = np.abs(shifted - moved)[y0:y1, x0:x1].mean()
    assert error > 1.5 * np.abs(expected - moved)[y0:y1, x0:x1].mean()


def test_drawing_repeats_itself_and_blinks(painter):
    image, points = draw(painter, REST)
    again = draw(Painter(painter.face, size=SIZE, unit=UNIT), REST)[0]
    np.testing.assert_array_equal(image, again)
    closed = draw(painter, REST, blink=1.0)[0]
    changed = np.argwhere(np.abs(closed.astype(int) - image).max(axis=2) > 20)[:, ::-1]
    assert len(changed)
    low, high = points[36:48].min(axis=0) - 6, points[36:48].max(axis=0) + 6
    assert np.all((changed >= low) & (changed <= high))
