# SPDX-License-Identifier: Apache-2.0
"""The lag between lips and sound: right number, right sign, and silence about what is unknown."""

import math

import numpy as np
import pytest
from synthetic import face_points
from talking import openings

from lipjax.data.prepare import lag
from lipjax.data.schema import MEASURED, MISSING

RATE, FPS = 16_000, 25.0


def sound_of(opening, late, seed=0):
    """Noise as loud as the mouth is open, `late` frames late, with half a second around."""
    times = np.arange(int(RATE * (len(opening) / FPS + 1.0))) / RATE - 0.5
    centres = (np.arange(len(opening)) + 0.5 + late) / FPS
    loud = np.interp(times, centres, opening) ** 2
    noise = np.random.default_rng(seed).normal(size=len(times))
    return (noise * loud * 5000).clip(-32768, 32767).astype(np.int16)


@pytest.mark.parametrize("late", [-8.0, -5.0, 0.0, 1.5, 5.0, 8.0])
@pytest.mark.parametrize("seed", range(3))
def test_sound_that_was_moved_is_found(late, seed):
    opening = openings(75, seed)
    found = lag.estimate(opening, sound_of(opening, late, seed), RATE, -0.5, fps=FPS)
    assert found.lag == pytest.approx(late, abs=0.7)
    assert found.correlation > 0.5 and found.margin > lag.CLEAR


def test_moving_the_start_is_moving_the_sound():
    opening = openings(75, 4)
    sound = sound_of(opening, 0.0)
    for late in (-5, 5):
        found = lag.estimate(opening, sound, RATE, -0.5 + late / FPS, fps=FPS)
        assert found.lag == pytest.approx(late, abs=0.7)


def test_unknown_frames_are_no_obstacle():
    opening = openings(75, 2)
    sound = sound_of(opening, 5.0)
    opening[30:36] = np.nan
    assert lag.estimate(opening, sound, RATE, -0.5, fps=FPS).lag == pytest.approx(5.0, abs=1.0)


def test_nothing_is_said_where_nothing_is_known():
    opening = openings(75)
    silence = np.zeros(RATE * 3, np.int16)
    assert math.isnan(lag.estimate(opening, silence, RATE, 0.0, fps=FPS).lag)
    still = np.full(75, 0.2)
    assert math.isnan(lag.estimate(still, sound_of(opening, 0.0), RATE, -0.5, fps=FPS).lag)
    blind = np.full(75, np.nan)
    assert math.isnan(lag.estimate(blind, sound_of(opening, 0.0), RATE, -0.5, fps=FPS).lag)
    empty = np.zeros(0, np.int16)
    assert math.isnan(lag.estimate(opening, empty, RATE, 0.0, fps=FPS).lag)


def test_another_mouths_sound_is_not_clear():
    margins = []
    for seed in range(10):
        found = lag.estimate(
            openings(75, seed), sound_of(openings(75, seed + 50), 0.0), RATE, -0.5, fps=FPS
        )
        margins.append(found.correlation >= 0.5 and found.margin >= lag.CLEAR)
    assert sum(margins) <= 1


def test_opening_is_measured_in_mouth_widths():
    points = face_points(np.array([0.0, 0.5, 1.0]))
    status = np.array([MEASURED, MEASURED, MISSING], np.uint8)
    opening = lag.lip_opening(points, status)
    # synthetic faces: width 0.8, opening 0.4 x (0 .. 1) in units of half the face
    np.testing.assert_allclose(opening[:2], [0.0, 0.25], atol=1e-6)
    assert math.isnan(opening[2])
    np.testing.assert_allclose(lag.lip_opening(points * 3, status)[1], 0.25, atol=1e-6)


def test_typical_lag_needs_three_who_know():
    assert lag.typical([1.0, 2.0, 9.0, math.nan], [0.5, 0.6, 0.1, math.nan]) != 2.0
    assert lag.typical([1.0, 2.0, 9.0, 5.0], [0.5, 0.6, 0.9, 0.1]) == 2.0
