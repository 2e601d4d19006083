# SPDX-License-Identifier: Apache-2.0
"""Benchmarks run, in their short form; how fast they are is not judged here."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def modules():
    """The benchmarks' shared modules and the one that runs all."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        found = {}
        for name in ("measuring", "run"):
            spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
            found[name] = importlib.util.module_from_spec(spec)
            sys.modules.setdefault(name, found[name])
            spec.loader.exec_module(found[name])
        yield found
    finally:
        sys.path.remove(str(BENCHMARKS))


def test_short_form_of_all_runs(tmp_path):
    command = [sys.executable, str(BENCHMARKS / "run.py"), "--short", "--results", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("cpbd", "preparing"):
        stored = json.loads((tmp_path / f"{name}.json").read_text())
        assert stored["facts"]["cores"] and stored["targets"], name
        assert all(line["median"] > 0 for line in stored["targets"])
    assert (tmp_path / "targets.png").read_bytes().startswith(b"\x89PNG")
    assert "| metrics: CPBD, mouth 64 |" in done.stdout
    assert "compile_time: skipped: has no short form" in done.stdout


def test_without_a_module_a_benchmark_is_skipped_and_said_to_be(modules, tmp_path):
    run = modules["run"]
    args = run.argparse.Namespace(short=True, torch_python=None, results=tmp_path)
    needing = run.Benchmark("windows", "windows.py", ("no_such_module",), "corpus")
    assert run.run_one(needing, args, {}) == "skipped: needs no_such_module (see README.md)"
    assert run.run_one(run.Benchmark("x", "no_such.py"), args, {}) == "skipped: not here"
    assert not list(tmp_path.iterdir())


def test_turns_spread_and_targets(modules):
    measuring = modules["measuring"]
    order = []

    def side(name, seconds):
        def turn():
            order.append(name)
            return measuring.Cost(seconds * len(order), seconds)

        return turn

    taken = measuring.in_turns({"slow": side("slow", 6.0), "fast": side("fast", 2.0)}, rounds=3)
    assert order == ["slow", "fast"] * 3
    ratio = measuring.ratios(taken["slow"], taken["fast"])
    assert ratio == {"median": 3.0, "quartiles": [3.0, 3.0], "count": 3}
    walls = [6 * 1 / (2 * 2), 6 * 3 / (2 * 4), 6 * 5 / (2 * 6)]
    assert measuring.ratios(taken["slow"], taken["fast"], "wall")["median"] == sorted(walls)[1]
    assert measuring.spread([1.0, 2.0, 3.0, 4.0, 9.0])["quartiles"] == [2.0, 4.0]
    line = measuring.target(ratio, 3.5, what="thing")
    assert not line["held"] and "target 3.5: missed" in measuring.words(line)
    assert measuring.target(4.0, 3.5, what="thing")["held"]


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="no /proc")
def test_cpu_seconds_of_a_child_are_counted(modules):
    code = "import sys\nfor _ in range(6_000_000): pass\nprint('x', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        child.stdout.readline()
        alone = modules["measuring"].cpu_seconds()
        both = modules["measuring"].cpu_seconds([child.pid])
    assert both - alone > 0.05
    assert modules["measuring"].cpu_seconds([child.pid]) < both + 1.0 and os.getpid() != child.pid
