# SPDX-License-Identifier: Apache-2.0
"""Bootstrap intervals."""

import math

import numpy as np
import pytest
import scipy.stats

from lipjax.metrics.intervals import bootstrap


def test_agrees_with_scipy():
    values = np.random.default_rng(0).gamma(2.0, 1.0, 60)
    ours = bootstrap(values)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=4000, rng=np.random.default_rng(9)
    ).confidence_interval
    assert ours.mean == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.03)


def test_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        interval = bootstrap(rng.normal(0, 1, 40), resamples=400)
        hits += interval.low <= 0 <= interval.high
    assert 176 <= hits <= 198


def test_frames_count_once():
    values, frames = np.array([1.0, 4.0]), np.array([30, 10])
    interval = bootstrap(values, weights=frames)
    assert interval.mean == pytest.approx((30 * 1 + 10 * 4) / 40)
    assert (interval.low, interval.high) == pytest.approx((1, 4))


def test_paired_differences_are_narrower_than_the_rows():
    rng = np.random.default_rng(2)
    clips = rng.normal(0, 1, 50)
    right, wrong = clips + 0.3, clips + rng.normal(0, 0.05, 50)
    difference = bootstrap(right - wrong)
    assert difference.low > 0.25
    assert bootstrap(right).low < 0.25


def test_unknown_clips_do_not_count():
    interval = bootstrap(np.array([1.0, np.nan, 3.0]))
    assert (interval.mean, interval.clips) == (2.0, 2)
    nothing = bootstrap(np.array([np.nan]))
    assert math.isnan(nothing.mean) and nothing.clips == 0
    alone = bootstrap(np.array([2.0]))
    assert alone.mean == 2.0 and math.isnan(alone.low)
