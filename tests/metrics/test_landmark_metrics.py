# SPDX-License-Identifier: Apache-2.0
"""Landmark metrics against independent arithmetic."""

import math
import warnings

import numpy as np
import pytest
import scipy.stats

from lipjax.data.schema import Span
from lipjax.metrics import landmarks as metrics


def points(frames=30, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(100, 10, (frames, 68, 2)).astype(np.float32)


def lmd_by_loops(prediction, target):
    values = []
    for first, second in zip(prediction, target, strict=True):
        total = 0.0
        mean_1, mean_2 = first.mean(0), second.mean(0)
        for p, q in zip(first, second, strict=True):
            total += math.dist(p - mean_1, q - mean_2)
        values.append(total / len(first))
    return np.array(values)


def test_lmd_equals_loops_and_ignores_place():
    first, second = points(seed=1)[:, metrics.MOUTH], points(seed=2)[:, metrics.MOUTH]
    expected = lmd_by_loops(first.astype(float), second.astype(float))
    np.testing.assert_allclose(metrics.lmd(first, second), expected, rtol=1e-6)
    moved = second + np.array([40, -7], np.float32)
    np.testing.assert_allclose(metrics.lmd(first, moved), expected, rtol=1e-5)
    assert metrics.lmd(first, first).max() == 0
    np.testing.assert_allclose(metrics.lmd(first, second, unit=0.5), 2 * expected, rtol=1e-6)


def test_lmd_unit_makes_the_size_of_the_face_vanish():
    face, other = points(seed=3), points(seed=4)
    values = []
    for scale in (1.0, 3.7):
        unit = metrics.lmd_unit(metrics.mouth_width(face * np.float32(scale)))
        first, second = (x[:, metrics.MOUTH] * np.float32(scale) for x in (face, other))
        values.append(metrics.lmd(second, first, unit=unit).mean())
    assert values[0] == pytest.approx(values[1], rel=1e-5)
    assert metrics.lmd_unit(64 / 1.3) == pytest.approx(1.0)


def test_mouth_width_skips_missing_frames():
    face = points(9)
    width = np.median([math.dist(frame[48], frame[54]) for frame in face[3:]])
    face[:3] = np.nan
    assert metrics.mouth_width(face) == pytest.approx(width, rel=1e-6)
    assert math.isnan(metrics.mouth_width(face[:3]))


def test_missing_points_give_nan_not_zero():
    first, second = points(seed=1)[:, metrics.MOUTH], points(seed=2)[:, metrics.MOUTH]
    first[4, 3] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        distance = metrics.lmd(first, second)
    assert np.isnan(distance[4]) and np.isfinite(np.delete(distance, 4)).all()


def test_opening_grows_downwards():
    face = np.zeros((2, 68, 2), np.float32)
    face[1, 66, 1], face[1, 62, 1] = 9.0, 4.0
    np.testing.assert_array_equal(metrics.opening(face), [0, 5])


def test_correlation_equals_scipy():
    first, second = points(50, 1)[:, 5, 0], points(50, 2)[:, 5, 0]
    second = second + first
    expected = scipy.stats.pearsonr(first.astype(float), second.astype(float))[0]
    assert metrics.correlation(first, second) == pytest.approx(expected, abs=1e-9)
    holed = first.copy()
    holed[::7] = np.nan
    kept = np.isfinite(holed)
    expected = scipy.stats.pearsonr(first[kept].astype(float), second[kept].astype(float))[0]
    assert metrics.correlation(holed, second) == pytest.approx(expected, abs=1e-9)
    assert metrics.correlation(first, -3 * first + 2) == pytest.approx(-1)


def test_a_still_mouth_has_no_correlation():
    moving = points(50)[:, 5, 0]
    assert math.isnan(metrics.correlation(np.full(50, 3.3, np.float32), moving))
    assert math.isnan(metrics.correlation(moving[:2], moving[:2]))


def test_silence_is_in_mouth_widths():
    face = np.zeros((4, 68, 2), np.float32)
    face[:, 66, 1] = [1, 3, 1, 3]
    mean, spread = metrics.silence(face, width=10.0)
    assert (mean, spread) == pytest.approx((0.2, 0.1))


def test_closures():
    openings = np.array([0.3, 0.3, 0.02, 0.3, 0.3, np.nan, 0.3, 0.3, 0.3, 0.01])
    spans = [
        Span("phone", "b", 0.08, 0.12),  # frame 2: closed
        Span("phone", "m", 0.25, 0.28),  # frame 6: open
        Span("phone", "ˈP", 0.20, 0.24),  # frame 5 alone, not known: not counted
        Span("phone", "a", 0.08, 0.12),
        Span("word", "b", 0.08, 0.12),
        Span("phone", "p", 0.37, 0.375),  # shorter than a frame, still sees frame 9
    ]
    # Slack would reach frames 4 and 6 beside the unknown frame 5; without it none is known.
    result = metrics.closure(openings, spans, fps=25.0, threshold=0.05, slack=0.25)
    assert result.tolist() == [True, False, True]
