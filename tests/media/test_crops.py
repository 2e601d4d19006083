# SPDX-License-Identifier: Apache-2.0
"""Transforms against skimage, warps against scipy, and what alignment keeps and removes."""

import numpy as np
import pytest
from scipy import ndimage
from skimage import data, measure
from skimage.transform import SimilarityTransform

from lipjax.data.schema import INTERPOLATED, MEASURED, MISSING
from lipjax.errors import ConfigError, FaceNotFoundError
from lipjax.media import crops


def similar(scale, angle, x, y):
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, x], [s, c, y]])


def face(opening=0.0, spread=0.0):
    """A made-up upright face with a 40 px mouth centred below the nose."""
    rng = np.random.default_rng(3)
    points = rng.uniform(40, 140, (68, 2))
    points[27:31] = np.stack([np.full(4, 90.0), np.linspace(60, 85, 4)], 1)
    points[31:36] = np.stack([np.linspace(80, 100, 5), np.full(5, 92.0)], 1)
    for first, x in ((36, 65.0), (42, 115.0)):
        turn = np.pi + np.arange(6) * np.pi / 3
        points[first : first + 6] = np.stack([x + 10 * np.cos(turn), 60 + 4 * np.sin(turn)], 1)
    turn = np.pi + np.arange(12) * np.pi / 6
    points[48:60] = np.stack([90 + 20 * np.cos(turn), 112 + 7 * np.sin(turn)], 1)
    turn = np.pi + np.arange(8) * np.pi / 4
    points[60:68] = np.stack([90 + 16 * np.cos(turn), 112 + 2 * np.sin(turn)], 1)
    lips = points[48:68] - [90, 112]
    points[48:68] += np.stack([spread * lips[:, 0] / 20, opening * (lips[:, 1] > 0)], 1)
    return points


def test_invert_and_compose_act_as_on_points():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 5, 2, 3))
    points = rng.normal(size=(5, 7, 2))
    np.testing.assert_allclose(crops.apply(crops.invert(a), crops.apply(a, points)), points)
    both = crops.apply(a, crops.apply(b, points))
    np.testing.assert_allclose(crops.apply(crops.compose(a, b), points), both)
    np.testing.assert_allclose(crops.apply(a, points[0])[2], points[0] @ a[2, :, :2].T + a[2, :, 2])


def test_similarity_is_the_least_squares_one_of_skimage():
    rng = np.random.default_rng(1)
    source = rng.normal(size=(13, 2)) * 30
    target = crops.apply(similar(1.4, 0.6, 5, -9), source) + rng.normal(size=(13, 2))
    reference = SimilarityTransform.from_estimate(source, target)
    np.testing.assert_allclose(crops.similarity(source, target), reference.params[:2], atol=1e-9)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_warp_equals_scipy_to_half_a_level(dtype):
    image = np.random.default_rng(2).integers(0, 256, (70, 90, 3)).astype(dtype)
    transform = similar(1.6, 0.3, -20.3, 7.9)
    got = crops.warp(image, transform, (64, 80))
    y, x = np.mgrid[:64, :80]
    grid = np.stack([x.ravel(), y.ravel()], 1).astype(float)
    places = crops.apply(crops.invert(transform), grid)[:, ::-1].T
    want = [
        ndimage.map_coordinates(image[..., c].astype(float), places, order=1, mode="nearest")
        for c in range(3)
    ]
    error = np.abs(got - np.stack(want, -1).reshape(64, 80, 3))
    assert got.dtype == dtype and got.shape == (64, 80, 3)
    assert error.max() < (0.51 if dtype == np.uint8 else 0.01)


def test_identity_is_exact_and_grey_keeps_its_shape():
    image = data.astronaut()
    identity = similar(1, 0, 0, 0)
    np.testing.assert_array_equal(crops.warp(image, identity, (512, 512)), image)
    assert crops.warp(image[..., 0], identity, 96).shape == (96, 96)


@pytest.mark.parametrize("factor", [3, 4, 7])
def test_shrinking_averages_whole_blocks(factor):
    image = data.astronaut()[: 60 * factor, : 50 * factor].astype(np.float32)
    shift = (1 - factor) / (2 * factor)
    got = crops.warp(image, similar(1 / factor, 0, shift, shift), (60, 50))
    want = measure.block_reduce(image, (factor, factor, 1), np.mean)
    np.testing.assert_allclose(got, want, atol=0.01)


def test_shrinking_a_fine_grating_gives_grey_not_moire():
    stripes = np.zeros((300, 300, 3), np.uint8)
    stripes[:, ::2] = 255
    small = crops.warp(stripes, similar(1 / 3.7, 0.2, 10, 0), 64)
    middle = small[16:48, 16:48].astype(float)
    assert abs(middle.mean() - 127.5) < 2 and middle.std() < 25


def talking(noise=0.0, blink=0.0, frames=60):
    """A head that moves, turns and comes closer while its mouth opens and spreads."""
    t = np.arange(frames)
    opening, spread = 6 + 6 * np.sin(t * 1.1), 3 * np.sin(t * 0.7)
    still = np.stack([face(o, s) for o, s in zip(opening, spread, strict=True)])
    still[:, [37, 38, 43, 44], 1] += blink * (t % 15 < 3)[:, None]
    heads = np.stack(
        [
            similar(
                1.3 + 0.1 * np.sin(n / 12), 0.2 * np.sin(n / 15), 30 + 0.8 * n, 8 * np.sin(n / 11)
            )
            for n in t
        ]
    )
    moved = crops.apply(heads, still)
    moved += noise * np.random.default_rng(0).normal(size=moved.shape)
    return moved.astype(np.float32), np.full(frames, MEASURED, np.uint8), still, heads


def test_head_motion_goes_and_the_motion_of_the_mouth_stays():
    moved, status, still, heads = talking()
    transforms = crops.mouth_transforms(moved, status, size=96, margin=1.5)
    seen = crops.apply(transforms, moved.astype(np.float64))
    # Upright, and the same place and scale at all times: only a fixed zoom of the still face.
    fixed = crops.similarity(still[0][list(crops.STABLE)], seen[0][list(crops.STABLE)])
    np.testing.assert_allclose(seen, crops.apply(fixed, still), atol=0.5)
    assert abs(np.arctan2(fixed[1, 0], fixed[0, 0])) < 0.005
    opening = seen[:, 66, 1] - seen[:, 62, 1]
    want = still[:, 66, 1] - still[:, 62, 1]
    np.testing.assert_allclose(opening / opening.mean(), want / want.mean(), atol=0.01)
    width = np.linalg.norm(seen[:, 48] - seen[:, 54], axis=-1)
    assert np.median(width) == pytest.approx(64, rel=0.005)
    assert np.corrcoef(width, np.linalg.norm(still[:, 48] - still[:, 54], axis=-1))[0, 1] > 0.999
    np.testing.assert_allclose(np.median(seen[:, crops.MOUTH].mean(1), axis=0), 47.5, atol=0.6)


def test_a_still_head_keeps_mouth_motion_exactly():
    moved, status, still, _ = talking()
    still = still.astype(np.float32)
    transforms = crops.mouth_transforms(still, status)
    np.testing.assert_allclose(transforms - transforms[:1], 0, atol=1e-4)


def test_noise_of_landmarks_and_blinks_do_not_shake_the_crop():
    clean, status, _, _ = talking()
    noisy, _, _, _ = talking(noise=0.5)
    middle = np.array([[47.5, 47.5]])

    def shake(landmarks):
        back = crops.invert(crops.mouth_transforms(landmarks, status))
        difference = crops.apply(back, middle) - crops.apply(
            crops.invert(crops.mouth_transforms(clean, status)), middle
        )
        return np.sqrt(np.mean(np.diff(difference[:, 0], axis=0) ** 2))

    assert shake(noisy) < 0.16
    assert shake(talking(blink=6.0)[0]) == 0.0


def test_smoothing_has_no_delay_and_passes_steady_motion():
    times = np.array([0, 1, 2, 3, 4, 5, 9, 10, 11, 12, 13, 14])
    line = np.stack([2.0 + 0.5 * times, -times], 1)
    np.testing.assert_allclose(crops.smooth_in_time(line, times, deviation=1.0), line, atol=1e-9)
    wave = np.sin(np.arange(100) / 4)[:, None]
    smooth = crops.smooth_in_time(wave, np.arange(100), deviation=1.5)[10:90, 0]
    lags = [np.corrcoef(smooth, wave[10 + k : 90 + k, 0])[0, 1] for k in (-1, 0, 1)]
    assert np.argmax(lags) == 1 and lags[0] == pytest.approx(lags[2], abs=1e-3)


def test_missing_frames_take_their_place_from_neighbours_and_one_frame_works():
    moved, status, _, _ = talking()
    whole = crops.mouth_transforms(moved, status)
    moved[20:24], status[20:24] = np.nan, MISSING
    moved[40], status[40] = 0.0, INTERPOLATED
    gap = crops.mouth_transforms(moved, status)
    middle = np.array([[47.5, 47.5]])
    moves = crops.apply(whole, crops.apply(crops.invert(gap), middle))[:, 0] - 47.5
    assert np.abs(moves[[20, 21, 22, 23, 40]]).max() < 1.5
    one = crops.single_mouth_transform(moved[0], size=64)
    corners = crops.apply(one, moved[0].astype(float))[[48, 54]]
    assert np.linalg.norm(corners[0] - corners[1]) == pytest.approx(64 / 1.5, rel=1e-5)


def test_no_landmarks_and_no_size_are_errors():
    moved, status, _, _ = talking(frames=3)
    with pytest.raises(FaceNotFoundError):
        crops.mouth_transforms(moved, np.zeros(3, np.uint8))
    with pytest.raises(FaceNotFoundError):
        crops.fixed_box(moved, np.zeros(3, np.uint8), 360, 288)
    with pytest.raises(ConfigError):
        crops.mouth_transforms(moved, status, size=0)


@pytest.mark.parametrize(
    "width, height, zoom", [(360, 288, 1.0), (1920, 1080, 4.0), (150, 120, 0.7)]
)
def test_fixed_box_holds_the_face_inside_the_picture(width, height, zoom):
    moved, status, _, _ = talking()
    moved = zoom * moved
    transform, (h, w) = crops.fixed_box(moved, status, width, height)
    scale = transform[0, 0]
    assert max(h, w) <= 256 and scale <= 1 and transform[0, 1] == 0
    corners = crops.apply(crops.invert(transform), np.array([[-0.5, -0.5], [w - 0.5, h - 0.5]]))
    assert (corners >= -0.5 - 1e-6).all()
    assert (corners[1] <= np.array([width, height]) - 0.5 + 0.6 / scale).all()
    inside = crops.apply(transform, moved.astype(float))
    fits = (moved >= 0).all(-1) & (moved <= np.array([width, height]) - 1).all(-1)
    assert (inside[fits] > -0.6).all() and (inside[fits] < np.array([w, h]) - 0.4).all()
    if scale == 1.0:  # native pixels are copied, not resampled
        np.testing.assert_array_equal(transform[:, 2] % 1, 0)
