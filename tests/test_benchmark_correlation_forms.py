# SPDX-License-Identifier: Apache-2.0
"""The measure behind docs/figures/correlation_forms.png: how often own sound beats wrong."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

FILE = Path(__file__).parents[1] / "benchmarks" / "correlation_windows.py"


@pytest.fixture(scope="module")
def windows():
    spec = importlib.util.spec_from_file_location("correlation_windows", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_own_sound_is_compared_with_other_clips_alone(windows):
    clip, start = np.array([0, 0, 1, 1]), np.array([0, 4, 0, 4])
    scores = np.array(
        [
            [0.5, 0.9, 0.4, 0.6],  # the 0.9 is of its own clip: it does not count
            [0.9, 0.5, 0.1, 0.2],
            [0.3, 0.8, 0.3, 0.9],  # a tie with the first
            [0.1, 0.7, 0.9, 0.6],
        ]
    )
    apart = windows.told_apart(scores, clip, start)
    np.testing.assert_allclose(apart["any time"], [3 / 4, 1.5 / 4])
    np.testing.assert_allclose(apart["same time"], [1.0, 0.25])


def test_motion_that_follows_energy_is_told_and_other_motion_is_not(windows):
    rng = np.random.default_rng(0)
    clip, start = np.repeat(np.arange(10), 8), np.tile(np.arange(8), 10)
    curve = rng.uniform(size=(80, 16))
    log_mel = np.repeat(curve, 4, axis=1)[..., None] * np.ones(12)
    between = 0.5 * (curve[:, :-1] + curve[:, 1:])
    for size, low, high in ((between, 0.99, 1.0), (rng.uniform(size=(80, 15)), 0.4, 0.6)):
        flow = np.zeros((80, 15, 4, 4, 2)) + size[..., None, None, None]
        found = windows.untrained(windows.Windows(flow, log_mel, clip, start))
        for against in ("any time", "same time"):
            assert low <= windows.apart_of(found, against) <= high


def test_noise_has_each_bands_mean_and_deviation_and_no_memory(windows):
    bands = np.random.default_rng(1).normal([-3.0, 5.0], [0.5, 2.0], size=(200, 64, 2))
    bands = np.repeat(bands[:, ::8], 8, axis=1)  # slow, as sound is
    noise = windows.noise_like(bands)
    np.testing.assert_allclose(noise.mean((0, 1)), [-3.0, 5.0], atol=0.1)
    np.testing.assert_allclose(noise.std((0, 1)), [0.5, 2.0], rtol=0.05)
    before, after = noise[:, :-1, 0].ravel(), noise[:, 1:, 0].ravel()
    assert abs(np.corrcoef(before, after)[0, 1]) < 0.05


def test_the_summary_averages_seeds_before_it_resamples_clips(windows):
    def entry(own: float, clips: list[float]) -> dict:
        return {
            "step": 7,
            "score": {"own sound": own},
            "loss": {"no motion": 2 * own},
            "told_apart_by_clip": {"any time": clips, "same time": clips},
        }

    found = windows.summary([entry(0.1, [0.0, 1.0]), entry(0.3, [1.0, 0.5])])
    assert found["score"]["own sound"] == pytest.approx({"mean": 0.2, "low": 0.1, "high": 0.3})
    assert found["loss"]["no motion"]["mean"] == pytest.approx(0.4)
    apart = found["told_apart"]["any time"]
    assert apart["mean"] == pytest.approx(0.625) and apart["clips"] == 2
    assert (apart["low"], apart["high"]) == (0.5, 0.75)
    assert (apart["lowest_seed"], apart["highest_seed"]) == (0.5, 0.75)
