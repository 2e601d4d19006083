# SPDX-License-Identifier: Apache-2.0
"""Tracking with made-up backends: which face, gaps, cuts, and when the picture is searched."""

import numpy as np
import pytest

from lipjax.data.schema import INTERPOLATED, MEASURED, MISSING
from lipjax.media.tracking import Face, box_of_landmarks, overlap, plausible, track


def shape(x, y, size):
    """A made-up face of 68 points around (x, y)."""
    points = np.random.default_rng(5).uniform(-0.5, 0.5, (68, 2))
    return ((points - points.mean(0)) * size + [x, y]).astype(np.float32)


class Scene:
    """People who stand at places at times; counts how often it is asked to search."""

    def __init__(self, people, frames, pictures=None):
        self.people, self.searched = people, []
        shade = pictures or [60] * frames
        self.frames = [
            (np.full((48, 64, 3), level, np.uint8), 2 * n, 0.04 * n + 0.1)
            for n, level in enumerate(shade)
        ]

    def __call__(self, image, source_index, near):
        number = source_index // 2
        shapes = [p(number) for p in self.people if p(number) is not None]
        faces = [Face(s, box_of_landmarks(s), 1.0) for s in shapes]
        if near is None:
            self.searched.append(number)
            return faces
        return [face for face in faces if overlap(face.box, near) > 0.2]

    def track(self):
        return track(iter(self.frames), self)


def seen(frames, x=100, size=60.0, speed=0.5):
    return lambda n: shape(x + speed * n, 80, size) if n in frames else None


def test_one_face_is_followed_and_searched_only_now_and_then():
    scene = Scene([seen(range(60))], 60)
    found = scene.track()
    assert (found.status == MEASURED).all() and (found.faces == 1).all() and found.cuts == ()
    np.testing.assert_array_equal(found.landmarks[31], shape(115.5, 80, 60.0))
    assert scene.searched == [0, 25, 50]
    assert (found.width, found.height) == (64, 48)
    np.testing.assert_array_equal(found.source_index[:3], [0, 2, 4])
    np.testing.assert_allclose(found.source_time[:2], [0.1, 0.14])


@pytest.mark.parametrize("gap, filled", [(1, True), (5, True), (6, False)])
def test_short_gaps_are_interpolated_linearly_and_long_ones_stay_missing(gap, filled):
    hidden = set(range(10, 10 + gap))
    found = Scene([seen(set(range(40)) - hidden)], 40).track()
    inside = found.status[10 : 10 + gap]
    assert (inside == (INTERPOLATED if filled else MISSING)).all()
    assert (np.delete(found.status, sorted(hidden)) == MEASURED).all()
    if filled:
        np.testing.assert_allclose(found.landmarks[10], shape(105, 80, 60.0), atol=1e-3)
    else:
        assert np.isnan(found.landmarks[10 : 10 + gap]).all()


def test_gaps_at_the_ends_are_never_filled():
    found = Scene([seen(range(3, 17))], 20).track()
    assert (found.status[:3] == MISSING).all() and (found.status[17:] == MISSING).all()
    np.testing.assert_array_equal(np.isnan(found.landmarks).all((1, 2)), found.status == MISSING)


def test_the_larger_of_two_steady_faces_and_the_steadier_of_two_alike():
    small, large = seen(range(40), 40, 40.0, 0), seen(range(40), 150, 60.0, 0)
    found = Scene([small, large], 40).track()
    np.testing.assert_allclose(found.landmarks[:, :, 0].mean(1), 150, atol=1e-3)
    assert (found.faces == 2).all()
    brief = seen(range(10, 20), 150, 60.0, 0)
    found = Scene([brief, small], 40).track()
    np.testing.assert_allclose(found.landmarks[:, :, 0].mean(1), 40, atol=1e-3)


def test_a_cut_is_found_and_not_bridged_and_the_face_after_it_is_new():
    first, second = seen(range(20), 40, 40.0, 0), seen(range(20, 40), 60, 60.0, 0)
    scene = Scene([first, second], 40, [60] * 20 + [120] * 20)
    found = scene.track()
    assert found.cuts == (20,) and scene.searched[:2] == [0, 20]
    np.testing.assert_allclose(
        np.ptp(found.landmarks[20], axis=0) / np.ptp(found.landmarks[19], axis=0), 1.5, atol=1e-3
    )
    hidden = seen(set(range(40)) - {19, 20, 21}, 40, 40.0, 0)
    found = Scene([hidden], 40, [60] * 20 + [120] * 20).track()
    assert (found.status[19:22] == MISSING).all()


def test_slow_change_of_light_is_no_cut_and_a_flash_is_bridged():
    fade = [40 + 3 * n for n in range(40)]
    assert Scene([seen(range(40))], 40, fade).track().cuts == ()
    flash = [60] * 15 + [250, 250] + [60] * 23
    scene = Scene([seen(set(range(40)) - {15, 16})], 40, flash)
    found = scene.track()
    assert found.cuts == () and (found.status[15:17] == INTERPOLATED).all()
    assert (np.delete(found.status, [15, 16]) == MEASURED).all()


def test_a_jump_of_the_face_without_a_change_of_picture_is_a_cut():
    person = lambda n: shape(60 if n < 20 else 200, 80, 60.0)  # noqa: E731
    found = Scene([person], 40).track()
    assert found.cuts == (20,) and (found.status == MEASURED).all()


def test_an_implausible_shape_makes_it_search_again():
    def person(n):
        points = shape(100, 80, 60.0)
        return points if n != 12 else points[::-1].copy()

    scene = Scene([person], 30)
    scene.track()
    assert 12 in scene.searched


def test_no_frames_and_no_faces_give_empty_tracks():
    found = track(iter(()), Scene([], 0))
    assert found.landmarks.shape == (0, 68, 2) and found.width == 0
    found = Scene([], 7).track()
    assert (found.status == MISSING).all() and (found.faces == 0).all()


def test_overlap_and_plausibility():
    assert overlap((0.0, 0.0, 2.0, 2.0), (0.0, 0.0, 2.0, 2.0)) == pytest.approx(1)
    assert overlap((0.0, 0.0, 2.0, 2.0), (1.0, 1.0, 3.0, 3.0)) == pytest.approx(1 / 7)
    assert overlap((0.0, 0.0, 1.0, 1.0), (2.0, 2.0, 3.0, 3.0)) == 0
    face = shape(100, 80, 60.0)
    assert plausible(face, face + np.float32(4))
    assert not plausible(face, face * np.float32(1.6))
    assert not plausible(face, face + np.float32(60))
