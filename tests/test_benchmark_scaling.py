# SPDX-License-Identifier: Apache-2.0
"""The arithmetic behind docs/scale.md, against times worked out by hand."""

import importlib.util
import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CHIP = {
    "flops": 100e12,
    "memory_bytes_per_second": 1e12,
    "link_bytes_per_second": 100e9,
    "devices_per_group": 8,
    "between_groups_bytes_per_second": 10e9,
}


@pytest.fixture(scope="module")
def scaling():
    spec = importlib.util.spec_from_file_location("scaling", ROOT / "benchmarks" / "scaling.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_summing_gradients_takes_what_rings_take(scaling, monkeypatch):
    monkeypatch.setitem(scaling.ASSUMED, "seconds_per_hop", 0.0)
    seconds = scaling.all_reduce_seconds
    assert seconds(8e9, 1, CHIP, 1.0) == 0
    # Two devices swap halves and then sums of halves: each sends 8 GB in all.
    assert seconds(8e9, 2, CHIP, 1.0) == pytest.approx(0.08)
    assert seconds(8e9, 8, CHIP, 0.5) == pytest.approx(2 * 7 / 8 * 8e9 / 50e9)
    # Two groups: within as before; between them every device swaps its eighth, 1 GB.
    assert seconds(8e9, 16, CHIP, 1.0) == pytest.approx(0.14 + 0.1)
    monkeypatch.setitem(scaling.ASSUMED, "seconds_per_hop", 1e-6)
    assert seconds(0.0, 16, CHIP, 1.0) == pytest.approx(30e-6)


def test_a_step_takes_its_slowest_part_or_the_sum(scaling, monkeypatch):
    monkeypatch.setitem(scaling.ASSUMED, "seconds_per_hop", 0.0)
    monkeypatch.setitem(scaling.ASSUMED, "fraction_of_peak", (0.25, 0.5))
    monkeypatch.setitem(scaling.ASSUMED, "fraction_of_links", (0.5, 1.0))
    work = {"flops": 1e12, "memory_traffic": 30e9, "gradients": 1e9}
    worse = scaling.step_seconds(work, 2, CHIP, better=False)
    assert worse == pytest.approx(
        {"compute": 0.04, "memory": 0.03, "all_reduce": 0.02, "total": 0.06}
    )
    better = scaling.step_seconds(work, 2, CHIP, better=True)
    assert better == pytest.approx(
        {"compute": 0.02, "memory": 0.03, "all_reduce": 0.01, "total": 0.03}
    )


def test_windows_that_are_enough_hide_the_sums(scaling, monkeypatch):
    monkeypatch.setitem(scaling.ASSUMED, "seconds_per_hop", 0.0)
    monkeypatch.setitem(scaling.ASSUMED, "fraction_of_peak", (0.25, 0.5))
    monkeypatch.setitem(scaling.ASSUMED, "fraction_of_links", (0.5, 1.0))
    work = {"flops": 1e12, "memory_traffic": 0.0, "gradients": 1e9, "windows": 8}
    # 20 ms of sums want 200 ms of computing, of which a window takes 2.5 ms at half the peak.
    assert scaling.enough_windows(work, 2, CHIP, better=False) == 80
    assert scaling.enough_windows(work, 2, CHIP, better=True) == 20
    assert scaling.enough_windows(work, 1, CHIP, better=True) == 1


def test_a_slice_ends_where_its_links_end(scaling):
    work = {"flops": 1e12, "memory_traffic": 1e9, "gradients": 1e9, "windows": 8}
    rows = scaling.computed(work, [256, 512])
    assert {(row["chip"], row["devices"]) for row in rows} == {
        ("TPU v5e", 256),
        ("H100 SXM", 256),
        ("H100 SXM", 512),
    }
    for row in rows:
        rate = 8 * row["devices"] / row["worse"]["total"]
        assert row["worse"]["hours"] == pytest.approx(4_800_000 / rate / 3600)


def test_the_committed_figures_follow_from_the_committed_measurements(scaling):
    result = json.loads(scaling.RESULT.read_text())
    assert scaling.work_of(result["measured"]) == pytest.approx(result["work"])
    counts = sorted({row["devices"] for row in result["computed"]})
    again = json.loads(json.dumps(scaling.computed(result["work"], counts)))
    assert again == result["computed"]
    for row in result["measured"]:
        if "plan" in row and row["plan"]["shards"] == 1 and row["plan"]["devices"] > 1:
            (count,) = {c["devices"] for c in row["plan"]["traffic"]["collectives"]}
            moved = sum(c["bytes"] for c in row["plan"]["traffic"]["collectives"])
            assert count == row["plan"]["devices"]
            assert moved == pytest.approx(result["work"]["gradients"], rel=1e-3)


def test_a_row_names_its_commit_or_says_that_there_is_none(scaling, tmp_path, capsys):
    git = lambda *words: subprocess.run(  # noqa: E731
        ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *words], cwd=tmp_path, check=True
    )
    assert scaling.commit_of(tmp_path) is None
    assert "no commit is named" in capsys.readouterr().err
    (tmp_path / "lipjax").mkdir()
    (tmp_path / "lipjax" / "a.py").write_text("1")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message=a")
    commit = scaling.commit_of(tmp_path)
    assert len(commit) >= 12 and int(commit, 16)
    assert scaling.commit_of(tmp_path / "lipjax") is None
    (tmp_path / "lipjax" / "a.py").write_text("2")
    assert scaling.commit_of(tmp_path) == f"{commit}+changes"
