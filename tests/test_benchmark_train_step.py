# SPDX-License-Identifier: Apache-2.0
"""What the benchmark of the training step counts, and how it compares."""

import importlib.util
import json
import math
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TABLE = runpy.run_path(str(ROOT / "tests" / "models" / "layer_table.py"))
PLACES = {
    "audio": (64 * 128, 32 * 64, 32 * 64, 16 * 32, 16 * 16),
    "identity": (64 * 64, 32 * 32, 16 * 16),
    "fusion": (16**3,),
    # A transposed convolution multiplies at every place of its input.
    "decoder": (*[16**3] * 18, 16**3, 16 * 32 * 32, 16 * 64 * 64),
    "cnn": (64 * 128, 32 * 64, 32 * 64, 16 * 32),
    "fc": (1,),
    "image": (8 * 32 * 32, 4 * 16 * 16, 2 * 8 * 8, 1 * 4 * 4),
    "flow": (8 * 8 * 8, 4 * 8 * 8, 2 * 4 * 4, 1 * 4 * 4),
    "joint": (4 * 4, 1),
}


@pytest.fixture(scope="module")
def benchmark():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    path = ROOT / "benchmarks" / "train_step.py"
    spec = importlib.util.spec_from_file_location("train_step", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(ROOT / "benchmarks"))


@pytest.mark.parametrize(
    ("name", "parts"),
    [("generator", "GENERATOR"), ("two", "TWO_STREAMS"), ("three", "THREE_STREAMS")],
)
def test_operations_are_those_of_the_layer_table(benchmark, name, parts):
    products = sum(
        places * math.prod(taps) * inputs * outputs
        for part, rows in TABLE[parts].items()
        for places, (_, inputs, outputs, taps, _, _) in zip(PLACES[part], rows, strict=True)
    )
    assert 2 * products / 1e9 == pytest.approx(benchmark.FORWARD[name], rel=0.03)


def test_a_step_is_mostly_three_generator_passes(benchmark):
    step = benchmark.useful_gflop("step", "two")
    assert step == pytest.approx(3 * 140.5 + 6 * 9.9 + 3 * 64.0 + 12 * 3.2 + 0.24)
    assert benchmark.useful_gflop("generator", "two") == 140.5
    assert benchmark.useful_gflop("step", "three") - step == pytest.approx(1.2)


def test_ratios_are_of_turns_and_above_one_where_the_first_is_faster(benchmark):
    def side(*seconds: float) -> dict:
        return {"runs": {"seconds": seconds, "cpu_seconds": seconds}}

    found = benchmark.ratios({"ours": side(1.0, 2.0, 4.0), "twin eager": side(3.0, 4.0, 4.0)})
    assert found["twin eager / ours"]["seconds"]["median"] == 2.0


def test_measurements_are_kept_beside_others(benchmark, tmp_path):
    path = tmp_path / "results" / "found.json"
    benchmark._save(path, "step", {"rounds": 1})
    benchmark._save(path, "generator", {"rounds": 2})
    assert json.loads(path.read_text()) == {"step": {"rounds": 1}, "generator": {"rounds": 2}}
