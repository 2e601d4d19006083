# SPDX-License-Identifier: Apache-2.0
"""The released definitions against scikit-image, arithmetic by hand and known facts."""

import io
import math

import numpy as np
import pytest
import skimage
from PIL import Image
from scipy import ndimage
from skimage.feature import canny
from skimage.metrics import structural_similarity

from lipjax.metrics import cpbd, quoting, released


def grey(seed: int, count: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 64, 64), np.uint8)


def test_psnr_wraps():
    """Noise looks better than it is, unrelated pictures have 28 dB, and 16 equals 0."""
    picture = grey(0, 8)
    noise = np.random.default_rng(0).normal(0, 15, picture.shape)
    noisy = np.clip(np.round(picture + noise), 0, 255).astype(np.uint8)
    true = 10 * np.log10(255**2 / np.mean((noisy.astype(float) - picture) ** 2))
    assert true == pytest.approx(24.8, abs=0.15)
    assert released.psnr(noisy, picture).mean() == pytest.approx(29.4, abs=0.15)
    np.testing.assert_allclose(released.psnr(grey(1), grey(2)), 27.95, atol=0.1)
    flat = np.full((4, 64, 64), 128, np.uint8)
    for step in (16, 128):
        assert (released.psnr(flat - np.uint8(step), flat) == 100).all()
    assert (released.psnr(flat, flat) == 100).all()
    # Differences of 3 and -3: squares of 9, and 253^2 = 9 modulo 256.
    expected = 20 * math.log10(255 / 3)
    np.testing.assert_allclose(released.psnr(flat - np.uint8(3), flat), expected)
    np.testing.assert_allclose(released.psnr(flat, flat - np.uint8(3)), expected)


def test_ssim_is_scikit_images_default():
    first = np.stack([cpbd.luma(skimage.data.astronaut()[i : i + 64, 190:254]) for i in (0, 90)])
    for second in (grey(3, 2), ndimage.gaussian_filter(first, (0, 2, 2)), first):
        expected = [
            structural_similarity(a, b, data_range=255) for a, b in zip(first, second, strict=True)
        ]
        np.testing.assert_allclose(released.ssim(first, second), expected, atol=1e-12)


def test_pictures_are_stretched_one_by_one():
    picture = np.zeros((2, 2, 3), np.uint8)
    picture[0, 0], picture[1, 1] = (60, 60, 110), (76, 60, 60)
    picture[picture == 0] = 60
    out = released.stretched(picture)
    # 16 of 50 is 81.6, which is rounded.
    assert out[0, 0].tolist() == [0, 0, 255] and out[1, 1].tolist() == [82, 0, 0]
    brighter = np.clip(picture.astype(int) * 2 - 30, 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(released.stretched(brighter), out)  # light and contrast are lost
    assert not released.stretched(np.full((2, 2, 3), 90, np.uint8)).any()


def test_what_is_compared_went_through_jpeg():
    photo = skimage.data.astronaut()[90:154, 190:254]
    (saved,) = released.as_saved(photo[None])
    buffer = io.BytesIO()
    Image.fromarray(released.stretched(photo)).save(buffer, "JPEG", quality=75)
    np.testing.assert_array_equal(saved, np.asarray(Image.open(buffer).convert("L")))


def slow_cpbd(image: np.ndarray) -> float:
    """The released convention pixel by pixel, written down from its description."""
    grey = image.astype(float)
    if canny(grey).sum() <= 0.002 * 64 * 64:
        return 0.0
    padded = np.pad(grey, 1, mode="symmetric")
    count = sharp = 0
    for y in range(1, 63):
        for x in range(1, 63):
            near = padded[y : y + 3, x : x + 3]
            if (((near[:, 0] - near[:, 2]) * [1, 2, 1]).sum() / 8) ** 2 <= 4:
                continue
            along = (grey[y, x + 1] - grey[y, x - 1]) / 2
            across = (grey[y + 1, x] - grey[y - 1, x]) / 2
            turn = round(math.degrees(math.atan2(across, along)) / 45) if along else 0
            if turn not in (0, 4, -4):
                continue
            row, left, right = grey[y], x - 1, x + 1
            if turn == 0:
                while left > 0 and row[left - 1] < row[left]:
                    left -= 1
                while right < 63 and row[right + 1] > row[right]:
                    right += 1
            else:
                while left > 0 and row[left - 1] > row[left]:
                    left -= 1
                while right < 63 and row[right + 1] <= row[right]:
                    right += 1
            limit = 5 if grey.max() - grey.min() <= 50 else 3
            count += 1
            blur = 1 - math.exp(-(((right - left) / limit) ** 3.6))
            sharp += math.floor(100 * blur + 0.5) <= 62
    return sharp / count if count else 0.0


def test_cpbd_as_released():
    photo = cpbd.luma(skimage.data.astronaut()[90:154, 190:254])
    steps = np.zeros((64, 64), np.uint8)
    steps[:, 20:40] = 90
    pictures = {
        "photo": photo,
        "soft": ndimage.gaussian_filter(photo, 0.7),
        "pale": photo // 6 + 90,
        "noise": grey(4)[0],
        "soft noise": ndimage.gaussian_filter(grey(5)[0], 1),
        "steps": steps,
        "flat": np.full((64, 64), 7, np.uint8),
    }
    values = {name: released.cpbd(picture) for name, picture in pictures.items()}
    for name, picture in pictures.items():
        assert values[name] == pytest.approx(slow_cpbd(picture), abs=1e-12), name
    assert values["flat"] == 0 < values["soft"] < values["photo"] < values["noise"]
    assert abs(values["photo"] - cpbd.cpbd(photo)) > 1e-3  # another convention, another number


def test_lmd_is_the_sum_over_the_points():
    """Each point 3-4-5 away from its place, in opposite directions by halves; crops of 32."""
    rng = np.random.default_rng(0)
    true = rng.uniform(0, 32, (2, 68, 2))
    moved = true + 7.0  # a shift of the whole mouth does not count
    moved[:, 48:58] += (1.5, 2.0)
    moved[:, 58:68] -= (1.5, 2.0)
    np.testing.assert_allclose(released.lmd_sum(moved, true, size=32), 20 * 2.5 * 2)


def test_row_of_a_clip():
    crops = np.stack([skimage.data.astronaut()[90 + t : 154 + t, 190:254] for t in range(3)])
    saved, points = released.as_saved(crops), np.random.default_rng(0).uniform(0, 64, (3, 68, 2))
    scored = np.array([True, False, True])
    shifted = points.copy()
    shifted[1] += np.random.default_rng(1).normal(size=(68, 2))  # a frame that does not count
    row = released.score_row(saved, saved, shifted, points, size=64, scored=scored)
    assert (row["psnr"], row["lmd_sum"]) == (100, 0) and row["ssim"] == pytest.approx(1)
    assert row["cpbd"] == pytest.approx(np.mean([released.cpbd(saved[0]), released.cpbd(saved[2])]))
    truth = released.score_row(saved, saved, points, points, size=64, scored=scored, is_truth=True)
    assert truth["cpbd"] == row["cpbd"] and math.isnan(truth["psnr"] + truth["lmd_sum"])
    bare = released.score_row(None, saved, points + shifted, points, size=64, scored=~scored)
    assert math.isnan(bare["cpbd"]) and bare["lmd_mean"] == pytest.approx(bare["lmd_sum"] / 20)


def test_quoted_means_count_frames_and_name_the_data_set():
    clips = [{"model": dict.fromkeys(released.COLUMNS, value)} for value in (1.0, 4.0)]
    quoted = quoting.quote(clips, [30, 10], ["model"], layout="grid")
    assert quoted.table["model"]["lmd_sum"].mean == pytest.approx(1.75)
    assert quoted.paper["full model (Table 3)"]["psnr"] == 29.89
    assert quoted.paper["full model, row (e) (Table 2)"]["psnr"] == 29.98
    assert quoted.paper["Chung et al. (Table 3)"]["lmd_mean"] == 1.35
    lines = quoting.text(quoted).splitlines()
    assert "for quoting the paper only" in lines[0] and "27.9 dB" in quoting.text(quoted)
    last = [line.split()[-1] for line in lines[2:8]]
    assert last == ["1.750", "0.00", "2.38", "1.35", "1.18", "1.18"]
    lrw = quoting.quote(clips, [1, 1], ["model"], layout="lrw")
    assert lrw.data_set == "LRW" and "Table 2" not in quoting.text(lrw)
    nowhere = quoting.quote(clips, [30, 10], ["model"], layout="folder")
    assert not nowhere.paper and "neither GRID, LDC nor LRW" in quoting.text(nowhere)
