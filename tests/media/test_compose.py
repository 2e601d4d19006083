# SPDX-License-Identifier: Apache-2.0
"""Pasting a mouth: nothing changes where nothing should, and no seam."""

import numpy as np
import pytest
from skimage import data

from lipjax.errors import ConfigError
from lipjax.media import crops
from lipjax.media.compose import paste_mouth


def placed(scale, angle, x, y, size):
    """The crop of `size` whose centre lies on (x, y) of the source."""
    factor = scale * np.exp(-1j * angle)
    shift = (size - 1) / 2 * (1 + 1j) - factor * complex(x, y)
    return np.array(
        [[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]]
    )


def weight_of(frame, transform, size, **options):
    """The blend's weight: a white mouth pasted into black."""
    white = np.full((size, size, 3), 255, np.uint8)
    return paste_mouth(np.zeros_like(frame), white, transform, **options)[..., 0] / 255


@pytest.mark.parametrize("scale", [1.0, 1.7, 0.6])
def test_a_crop_pasted_where_it_was_cut_changes_little_and_nothing_outside(scale):
    frame = data.astronaut()
    transform = placed(scale, 0.15, 222.3, 150.7, 96)
    mouth = crops.warp(frame, transform, 96)
    out = paste_mouth(frame, mouth, transform)
    y, x = np.mgrid[:512, :512]
    inside = crops.apply(transform, np.stack([x.ravel(), y.ravel()], 1).astype(float))
    beyond = ((inside < -0.5) | (inside > 95.5)).any(1).reshape(512, 512)
    np.testing.assert_array_equal(out[beyond], frame[beyond])
    difference = np.abs(out[~beyond].astype(float) - frame[~beyond])
    assert difference.mean() < (2.0 if scale >= 1 else 5.0)
    assert beyond.any() and not np.array_equal(out, paste_mouth(frame, 255 - mouth, transform))


def test_unit_scale_round_trip_is_exact():
    frame = data.astronaut()
    transform = placed(1.0, 0.0, 220.5, 150.5, 96)
    np.testing.assert_array_equal(
        paste_mouth(frame, crops.warp(frame, transform, 96), transform), frame
    )


def test_weight_is_whole_in_the_middle_and_fades_smoothly_to_nothing():
    frame = np.zeros((200, 200, 3), np.uint8)
    weight = weight_of(frame, placed(1.0, 0.0, 99.5, 99.5, 100), 100, feather=0.2)
    profile = weight[100, 50:150]
    assert (profile[20:80] == 1).all() and profile[0] < 0.01 and profile[-1] < 0.01
    assert np.abs(np.diff(weight[100])).max() < 1.6 / 20  # no step anywhere, border included
    assert (np.diff(profile[:20]) >= 0).all()
    np.testing.assert_allclose(weight, weight.T, atol=1e-9)


def test_crops_that_hang_over_the_edge_or_miss_the_picture():
    frame = data.astronaut()[:100, :120].copy()
    mouth = np.full((64, 64, 3), 200, np.uint8)
    out = paste_mouth(frame, mouth, placed(1.0, 0.3, 5.0, 95.0, 64))
    assert (out[95, 5] == 200).all() and np.array_equal(out[:40, 60:], frame[:40, 60:])
    far = paste_mouth(frame, mouth, placed(1.0, 0.0, 900.0, 900.0, 64))
    np.testing.assert_array_equal(far, frame)


def test_the_frame_given_is_not_written_to_and_colours_are_not_matched():
    frame = np.full((128, 128, 3), 30, np.uint8)
    out = paste_mouth(
        frame, np.full((64, 64, 3), (250, 10, 90), np.uint8), placed(1, 0, 64, 64, 64)
    )
    assert (frame == 30).all() and tuple(out[64, 64]) == (250, 10, 90)


@pytest.mark.parametrize("feather", [0.0, 0.6, -1.0])
def test_feather_out_of_range_is_an_error(feather):
    with pytest.raises(ConfigError, match="feather"):
        weight_of(np.zeros((64, 64, 3), np.uint8), placed(1, 0, 32, 32, 32), 32, feather=feather)
