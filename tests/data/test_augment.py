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
    points = np.random.default_rng(1).normal(7, 3, (3, 68, 2)).astype(np.float32)
    np.testing.assert_array_equal(change.landmarks(points, 16), points)


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


def test_zoom_moves_pictures_landmarks_and_flow_alike():
    """A blob lies where its landmark lies, and the flow between two blobs leads from one to the
    other, also where the crop is zoomed, mirrored and shifted."""
    size = 64
    y, x = np.mgrid[:size, :size]
    centres = np.array([[20.0, 24.0], [25.0, 27.0]])
    blobs = [np.exp(-((x - u) ** 2 + (y - v) ** 2) / 18) for u, v in centres]
    images = np.round(255 * np.stack(blobs)[..., None].repeat(3, 3)).astype(np.uint8)
    points = np.repeat(centres[:, None], 68, axis=1).astype(np.float32)
    flow = np.broadcast_to(np.float32(centres[1] - centres[0]), (1, size, size, 2))
    for change in (
        Change(False, 1.0, 0.0, 0.0, 0.0, zoom=1.25),
        Change(True, 1.0, 0.0, 0.05, -0.05, zoom=0.8),
    ):
        moved = change.pictures(images).astype(float)[..., 0]
        seen = np.stack([(moved * x).sum((1, 2)), (moved * y).sum((1, 2))], 1)
        seen /= moved.sum((1, 2))[:, None]
        told = change.landmarks(points, size)[:, 0]
        np.testing.assert_allclose(seen, told, atol=0.05)
        np.testing.assert_allclose(change.flow(flow)[0, 30, 30], told[1] - told[0], rtol=1e-5)


def test_colour_is_a_gain_of_each_channel():
    images = np.full((2, 4, 4, 3), 100, np.uint8)
    out = Change(False, 1.0, 0.0, 0.0, 0.0, colour=(1.2, 1.0, 0.7)).pictures(images)
    np.testing.assert_array_equal(out, np.broadcast_to(np.uint8([120, 100, 70]), out.shape))


def test_blur_has_its_deviation():
    images = np.zeros((1, 65, 65, 3), np.uint8)
    images[0, 32, 32] = 255
    images[0, :, 40:] = 200  # an edge: its slope has the deviation of the blur
    out = Change(False, 1.0, 0.0, 0.0, 0.0, blur=2 / 65).pictures(images)[0, 10, :, 0]
    slope = np.diff(out.astype(float))
    place = np.arange(len(slope))
    mean = (slope * place).sum() / slope.sum()
    assert abs(np.sqrt((slope * (place - mean) ** 2).sum() / slope.sum()) - 2.0) < 0.1


def test_draws_keep_to_their_bounds():
    augment = Augment(brightness=0.2, colour=0.3, zoom=0.1, shift=0.05, blur=0.02)
    drawn = [augment.draw(np.random.default_rng(seed)) for seed in range(300)]
    for name, low, high in (("zoom", 0.9, 1.1), ("blur", 0.0, 0.02), ("gain", 0.8, 1.2)):
        values = [getattr(change, name) for change in drawn]
        assert low <= min(values) < low + (high - low) / 20
        assert high - (high - low) / 20 < max(values) <= high
    colours = np.array([change.colour for change in drawn])
    assert 0.7 <= colours.min() < 0.72 and 1.28 < colours.max() <= 1.3
    assert np.std(colours, axis=1).min() > 0  # each channel for itself
