# SPDX-License-Identifier: Apache-2.0
"""Real small trainings that are made ill, beside their healthy twin: each illness is recognised."""

import pytest
from sick_runs import Mouths, quick_task, trained

pytestmark = pytest.mark.slow


def shown(rows):
    """Names of the symptoms that any row shows."""
    return {
        n.removeprefix("health/") for row in rows for n, v in row.items() if "health/" in n and v
    }


def test_a_generator_whose_sound_is_another_clips_is_known_from_one_that_can_listen(tmp_path):
    healthy, _ = trained(quick_task(), Mouths(), tmp_path / "right", steps=100)
    sick, lines = trained(quick_task(), Mouths(shuffled=True), tmp_path / "shuffled", steps=100)
    ignoring = {"sound_ignored", "correlation_stuck"}
    assert not shown(healthy) & (ignoring | {"sound_useless", "discriminator_saturated"})
    assert ignoring <= shown(sick)
    for name in ignoring:
        assert sum(f" unwell: {name}" in line for line in lines) == 1
    # Collapse, as the swap measures it: the picture no longer changes.
    effect = {
        name: rows[-1]["eval/sound_effect"] for name, rows in (("right", healthy), ("", sick))
    }
    assert effect["right"] > 0.2 * healthy[-1]["eval/motion"]
    assert effect[""] < 0.01 * sick[-1]["eval/motion"]
    assert healthy[-1]["eval/l1"] < 0.9 * healthy[-1]["eval/l1_wrong_sound"]


def test_a_discriminator_that_has_won_is_recognised(tmp_path):
    task = quick_task(generator=0.0, discriminator=1e-2)
    rows, lines = trained(task, Mouths(), tmp_path, steps=70)
    assert "discriminator_saturated" in shown(rows)
    assert sum("unwell: discriminator_saturated" in line for line in lines) == 1
    assert "correlation_stuck" not in shown(rows), "its networks learn on real clips"
    assert rows[-1]["train/adversarial"] > 5.0 > 1.0 > rows[0]["train/adversarial"]
