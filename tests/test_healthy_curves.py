# SPDX-License-Identifier: Apache-2.0
"""The committed curves of docs/health.md: healthy runs raise no alarm, ill ones the right one."""

import importlib.util
import json
from pathlib import Path

import pytest

from lipjax.training.health import Health

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
RUNS = json.loads((BENCHMARKS / "results" / "healthy_curves.json").read_text())["runs"]
ILL = {
    "shuffled": {"sound_ignored", "correlation_stuck", "worse_than_still"},
    "saturated": {"discriminator_saturated"},
}


@pytest.fixture(scope="module")
def figures():
    spec = importlib.util.spec_from_file_location("figures", BENCHMARKS / "healthy_figures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", RUNS)
def test_our_own_runs_are_well_but_for_those_made_ill(name, figures):
    rows = figures.rows_of(RUNS[name]["curves"])
    assert rows[-1]["step"] >= 1200 and len(rows) >= 24
    health, seen = Health(figures.SYMPTOMS), set()
    for row in rows:
        health.observe(row["step"], row)
        seen |= set(health.present)
    if name in ILL:
        assert ILL[name] <= seen
    else:
        assert not seen


def test_the_committed_runs_are_told_with_their_commands_and_no_path_of_a_machine():
    for run in RUNS.values():
        assert run["command"].startswith("lipjax ") and run["title"]
        assert " /" not in run["command"] and "=/" not in run["command"]


def test_figures_are_drawn_from_the_committed_file(figures, tmp_path):
    made = figures.draw(RUNS, tmp_path)
    assert [path.name for path in made] == ["healthy_curves.png", "healthy_and_ill.png"]
    assert all(path.stat().st_size > 50_000 for path in made)
