# SPDX-License-Identifier: Apache-2.0
"""The full model with right and with shuffled sound: it is the sound that it learns from."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "right_sound.py"
RESULT = SCRIPT.parent / "results" / "right_sound.json"


def check(result: dict, seeds: int) -> None:
    """What the right sound must be worth, seed by seed, and what the terms must have done."""
    pairs = list(zip(result["right"], result["shuffled"], strict=True))
    assert len(pairs) == seeds
    for right, shuffled in pairs:
        assert right["lmd"]["high"] < shuffled["lmd"]["low"], "95 % intervals apart"
        assert right["r"]["low"] > shuffled["r"]["high"], "95 % intervals apart"
        assert right["lmd"]["mean"] < right["lmd_mean_mouth"]["mean"]
        assert right["opening_deviation"] > 0.5 * right["opening_deviation_truth"]
        first, last = right["first_terms"], right["last_terms"]
        assert last["train/pixel"] < 0.7 * first["train/pixel"]
        assert last["train/perceptual"] < 0.8 * first["train/perceptual"]
        # Chance is ln 2: the right sound is told from the wrong one.
        assert last["train/correlation_real"] < 0.6 * math.log(2)
        assert last["train/r_real"] > last["train/r_real_wrong_sound"] + 0.2
        assert last["train/correlation_fake"] < 0.6 * math.log(2)
        # Neither player has won.
        assert 0.2 < last["train/d_fake"] < 3 and 0.2 < last["train/d_real"] < 3
        # Where sound says nothing about the lips nothing can be learned about it.
        assert shuffled["last_terms"]["train/correlation_real"] > 0.8 * math.log(2)


@pytest.mark.slow
@pytest.mark.timeout(5 * 3600)
def test_the_full_model_learns_from_the_right_sound_and_not_from_another(tmp_path):
    out = tmp_path / "result.json"
    words = ["--workdir", str(tmp_path / "runs"), "--seeds", "3", "--out", str(out)]
    subprocess.run([sys.executable, str(SCRIPT), *words], check=True)
    check(json.loads(out.read_text(encoding="utf-8")), 3)


def test_the_committed_figures_show_it():
    check(json.loads(RESULT.read_text(encoding="utf-8")), 3)
