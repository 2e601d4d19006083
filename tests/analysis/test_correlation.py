# SPDX-License-Identifier: Apache-2.0
"""Correlation by offset: signs both ways, against SciPy, and what chance gives."""

import dataclasses

import numpy as np
import pytest
import scipy.stats

from lipjax.analysis import correlation as corr
from lipjax.analysis import null as chance
from lipjax.analysis.result import PUBLISHED_COUNTS, change_and_slope, measure


def smooth(rng: np.random.Generator, clips: int, steps: int, width: int = 5) -> np.ndarray:
    """Series that change slowly, as energy and motion do."""
    noise = rng.normal(size=(clips, steps + width - 1))
    return np.lib.stride_tricks.sliding_window_view(noise, width, axis=1).mean(-1)


def pair(offset: int, *, clips: int = 24, steps: int = 74, seed: int = 0):
    """Sound and motion; the motion is the sound `offset` transitions later, and noise."""
    rng = np.random.default_rng(seed)
    long = rng.normal(size=(clips, steps + 40))
    at = np.arange(steps) + 20
    motion = long[:, at - offset] + 0.5 * rng.normal(size=(clips, steps))
    return long[:, at], motion


def published_by_hand(sound, motion, offset: int) -> float:
    """The published recipe with lists and SciPy."""
    first = [a for a, _ in zip(sound, motion[offset:] if offset >= 0 else motion, strict=False)]
    second = list(motion)[max(offset, 0) :]
    if offset < 0:
        first, second = list(sound)[-offset:], list(motion)[: len(motion) + offset]
    found = []
    for begin in range(0, len(first) - 15, 16):
        found.append(scipy.stats.pearsonr(first[begin : begin + 16], second[begin : begin + 16])[0])
    return float(np.mean(found))


@pytest.mark.parametrize("recipe", corr.RECIPES, ids=lambda recipe: recipe.name)
@pytest.mark.parametrize("offset", [-7, -3, -1, 0, 1, 4, 7])
def test_the_offset_is_found_with_its_sign(recipe, offset):
    sound, motion = pair(offset)
    speakers = ["a"] * 12 + ["b"] * 12
    result = measure(recipe, sound, motion, speakers, shufflings=60, seed=1)
    if offset not in recipe.offsets:  # the paper looks forward only, and finds nothing there
        assert np.max(result.mean) < 0.1 and result.farthest.p > 0.05
        return
    assert recipe.offsets[result.peak] == offset
    assert recipe.offsets[result.farthest.position] == offset
    assert result.farthest.p == 1 / 61 and result.farthest.z > 5
    assert {recipe.offsets[at] for at in result.best} == {offset}
    assert result.peaks[result.peak] == 1
    facts = result.facts()
    assert facts["mean_r"]["peak_offset"] == offset
    assert facts["best_offsets"]["against_shuffled"]["p"] == 1 / 61
    assert f"highest at {offset:+d}" in result.text()


def test_motion_behind_the_sound_is_a_positive_offset():
    sound, motion = np.full((1, 9), np.nan), np.full((1, 9), np.nan)
    sound[0], motion[0] = np.arange(9.0), np.arange(9.0) + 100
    x, y = corr.shifted(sound, motion, 2)
    np.testing.assert_array_equal(y[0] - 100 - x[0], np.full(7, 2.0))
    x, y = corr.shifted(sound, motion, -2)
    np.testing.assert_array_equal(y[0] - 100 - x[0], np.full(7, -2.0))


@pytest.mark.parametrize("offset", [-8, -1, 0, 3, 7])
def test_chunks_equal_scipy_for_clips_of_any_length(offset):
    rng = np.random.default_rng(3)
    lengths = (74, 73, 62, 24)
    sound, motion = np.full((2, 4, 74), np.nan)
    for row, length in enumerate(lengths):
        sound[row, :length], motion[row, :length] = rng.normal(size=(2, length))
    found = corr.correlations(sound, motion, (offset,), chunk=16)[:, 0]
    for row, length in enumerate(lengths):
        expected = published_by_hand(sound[row, :length], motion[row, :length], offset)
        assert found[row] == pytest.approx(expected, abs=1e-12)


def test_whole_clips_equal_scipy_where_both_are_known():
    rng = np.random.default_rng(4)
    sound, motion = rng.normal(size=(2, 3, 50))
    sound[0, 40:], motion[1, :5] = np.nan, np.nan
    found = corr.correlations(sound, motion, (-2, 3))
    assert found[0, 1] == pytest.approx(scipy.stats.pearsonr(sound[0, :40], motion[0, 3:43])[0])
    assert found[1, 0] == pytest.approx(scipy.stats.pearsonr(sound[1, 7:], motion[1, 5:-2])[0])
    assert found[2, 0] == pytest.approx(scipy.stats.pearsonr(sound[2, 2:], motion[2, :-2])[0])


def test_what_does_not_vary_has_no_correlation():
    rng = np.random.default_rng(5)
    sound, motion = rng.normal(size=(2, 2, 48))
    motion[0, 20:40] = 0.1
    sound[1] = 1 / 3
    assert np.isnan(corr.pearson(sound, motion)).tolist() == [False, True]
    chunked = corr.correlations(sound, motion, (0, 4), chunk=16)
    assert np.isnan(chunked[0]).tolist() == [False, True]  # at 4, chunk 1 has motion 20 to 35
    assert np.isnan(corr.correlations(sound[:, :10], motion[:, :10], (0,), chunk=16)).all()


def test_published_clips_without_a_positive_r_are_dropped():
    r = np.array([[-0.2, -0.1], [-0.2, 0.1], [np.nan, 0.3], [np.nan, np.nan], [0.4, 0.4]])
    assert corr.best_offsets(r, only_positive=True).tolist() == [corr.NONE, 1, 1, corr.NONE, 0]
    assert corr.best_offsets(r).tolist() == [1, 1, 1, corr.NONE, 0]
    assert corr.histogram(corr.best_offsets(r), 3).tolist() == [1, 3, 0]
    np.testing.assert_allclose(corr.means(r), [0.0, 0.175])


def test_flatness_equals_scipy_and_finds_the_released_histogram_flat():
    released, drawn = (np.array(counts) for counts in PUBLISHED_COUNTS.values())
    assert released.sum() == 3260
    for counts in (released, drawn, np.array([3, 0, 9])):
        expected = scipy.stats.chisquare(counts)
        found = chance.flatness(counts)
        assert found.chi_square == pytest.approx(expected.statistic)
        assert found.p == pytest.approx(expected.pvalue)
    assert round(chance.flatness(released).chi_square, 1) == 11.1
    assert chance.flatness(released).p > 0.8 and chance.flatness(drawn).p < 1e-3


def test_power_equals_simulation():
    shape, rng = np.array([30, 10, 10, 10]), np.random.default_rng(6)
    draws = rng.multinomial(60, shape / shape.sum(), size=4000)
    noticed = np.mean([chance.flatness(draw).p < 0.05 for draw in draws])
    assert chance.power(tuple(shape.tolist()), 60) == pytest.approx(noticed, abs=0.03)


def test_shuffles_stay_within_speakers_and_move_the_lone_ones():
    speakers = ["a", "b", "a", "c", "a", "d"]
    orders = list(chance.shuffles(speakers, 400, 0))
    assert all(sorted(order) == list(range(6)) for order in orders)
    for group in ((0, 2, 4), (1, 3, 5)):
        seen = {tuple(order[list(group)]) for order in orders}
        assert len(seen) == 6 and all(set(some) == set(group) for some in seen)
    again = list(chance.shuffles(speakers, 400, 0))
    assert np.array_equal(orders, again)
    assert not np.array_equal(orders, list(chance.shuffles(speakers, 400, 1)))


def test_unrelated_pairs_are_called_different_as_rarely_as_the_p_says():
    recipe = dataclasses.replace(corr.ENERGY, offsets=tuple(range(-4, 5)))
    p_mean, p_counts = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        sound, motion = smooth(rng, 10, 40), smooth(rng, 10, 40)
        result = measure(recipe, sound, motion, ["a"] * 10, shufflings=29, seed=seed)
        p_mean.append(result.farthest.p)
        p_counts.append(chance.against_null(result.counts, result.null.counts).p)
    for p in (p_mean, p_counts):
        noticed = np.sum(np.array(p) <= 0.2)
        assert 3 <= noticed <= 23  # 99.9 % of binomial(60, 0.2)


def test_slow_series_win_at_the_ends_so_that_even_is_the_wrong_expectation():
    rng = np.random.default_rng(7)
    sound, motion = smooth(rng, 60, 74, 15), smooth(rng, 60, 74, 15)
    null = chance.shuffled(sound, motion, ["a"] * 60, corr.ENERGY, count=40, seed=0)
    average = null.counts.mean(axis=0)
    assert min(average[0], average[-1]) > 2 * average[1:-1].max()
    assert chance.flatness(null.counts[0]).p < 1e-3
    assert chance.against_null(null.counts[0], null.counts[1:]).p > 0.02


def test_own_above_other_equals_counting():
    rng = np.random.default_rng(8)
    r, other = rng.integers(0, 5, (6, 2)).astype(float), rng.integers(0, 5, (9, 2)).astype(float)
    r[0, 0], other[3, 0] = np.nan, np.nan
    expected = []
    for column in range(2):
        won = [
            1.0 if a > b else 0.5 if a == b else 0.0
            for a in r[:, column]
            for b in other[:, column]
            if np.isfinite(a) and np.isfinite(b)
        ]
        expected.append(np.mean(won))
    np.testing.assert_allclose(chance.own_above_other(r, other), expected)


def test_the_change_of_a_synchronous_energy_is_its_slope():
    rng = np.random.default_rng(9)
    energy = smooth(rng, 40, 75, 7)
    motion = (energy[:, 1:] + energy[:, :-1]) / 2 + 0.2 * rng.normal(size=(40, 74))
    level = (energy[:, 1:] + energy[:, :-1]) / 2
    speakers = ["a"] * 40
    of_level = measure(corr.ENERGY, level, motion, speakers, shufflings=30, seed=0)
    of_change = measure(corr.CHANGE, np.diff(energy), motion, speakers, shufflings=30, seed=0)
    assert of_level.recipe.offsets[of_level.peak] == 0
    assert of_change.recipe.offsets[of_change.peak] > 0  # though nothing is delayed
    assert change_and_slope(of_change, of_level) > 0.95
    other = measure(corr.CHANGE, smooth(rng, 40, 74), motion, speakers, shufflings=30, seed=0)
    assert change_and_slope(other, of_level) < 0.8
