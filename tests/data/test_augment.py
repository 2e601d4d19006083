# SPDX-License-Identifier: Apache-2.0
import numpy as np

from lipjax.data.augment import MIRRORED, Augment, Change


def _marked(points, size):
    """A picture per frame with one bright pixel at each whole landmark."""
    images = np.zeros((len(points), size, size, 3), np.uint8)
    for t, frame in enumerate(points.astype(int)):
        images[t, frame[:, 1], frame[:, 0]] = 255
    return images


def test_landmarks_move_with_the_pictures():
    rng = np.random.default_rng(0)
    points = rng.integers(8, 24, (2, 68, 2)).astype(np.float32)
    for change in (
        Change(True, 1.0, 0.0, 0.0, 0.0),
        Change(False, 1.0, 0.0, 0.1, -0.06),
        Change(True, 1.0, 0.0, -0.1, 0.09),
    ):
        moved = change.pictures(_marked(points, 32))
        expected = _marked(change.landmarks(points, 32), 32)
        np.testing.assert_array_equal(moved, expected)


def test_mirror_order_is_its_own_inverse_and_swaps_mouth_corners():
    np.testing.assert_array_equal(MIRRORED[MIRRORED], np.arange(68))
    assert MIRRORED[48] == 54 and MIRRORED[62] == 62 and MIRRORED[36] == 45


def test_off_changes_nothing():
    images = np.random.default_rng(0).integers(0, 255, (3, 16, 16, 3)).astype(np.uint8)
    change = Augment().draw(np.random.default_rng(1))
    np.testing.assert_array_equal(change.pictures(images), images)


def test_brightness_is_one_gain_for_the_whole_clip():
    change = Augment(brightness=0.2).draw(np.random.default_rng(3))
    images = np.full((4, 8, 8, 3), 100, np.uint8)
    out = change.pictures(images)
    assert len(np.unique(out)) == 1 and out[0, 0, 0, 0] != 100


def test_hiss_is_noise_of_its_deviation_on_the_sound():
    silent, rng = np.zeros((400, 80), np.float32), np.random.default_rng(0)
    assert Augment().sound(silent, rng) is silent
    noise = Augment(hiss=0.2).sound(silent, rng)
    assert noise.dtype == np.float32
    assert abs(noise.std() - 0.2) < 0.005 and abs(noise.mean()) < 0.005
