# SPDX-License-Identifier: Apache-2.0
"""Damaged real files: an error of ours or a clean skip; never a crash, hang or runaway memory."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from fuzz import harness, seeds

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="memory is measured by /proc"
)
SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Seeds of every kind."""
    pytest.importorskip("av")
    folder = tmp_path_factory.mktemp("seeds")
    return [
        *2 * seeds.media(folder / "media"),
        *2 * seeds.talks(folder / "talks"),
        *seeds.texts(folder / "texts"),
        *seeds.corpora(folder / "corpus"),
        *seeds.checkpoints(folder / "run"),
    ]


def judge(results, capsys):
    with capsys.disabled():
        print("\n" + harness.table(results))
    bad = [result for result in results if result.outcome not in ("ok", "ours")]
    assert not bad, "\n\n".join(map(str, bad[:20]))
    on_payload = [result for result in results if result.on_payload]
    opened = [result for result in on_payload if result.marks.get("opened")]
    assert len(on_payload) >= len(results) / 2
    assert len(opened) >= 0.6 * len(on_payload)  # else the damage is not where it should be


def test_undamaged_files_are_read_whole(found, tmp_path):
    """What the harness calls opened and decoded happens, at least where nothing is wrong."""
    reader = harness.Reader()
    try:
        once = {(seed.reader, seed.path): seed for seed in found}
        for seed in sorted(once.values(), key=harness._family):
            whole = ("corpus", "batches", "checkpoint", "speaker")
            path = seed.path / seed.part if seed.part and seed.reader not in whole else seed.path
            if seed.reader == "talk":
                path = tmp_path / "talk" / seed.part
                harness.shutil.copytree(seed.path, path.parent)
            result = reader.read(seed, 0, False, path)
            assert result.outcome == "ok", str(result)
            assert result.marks["opened"] and result.marks["payload"], str(result)
    finally:
        reader.stop()


def test_the_harness_notices_what_no_reader_may_do(tmp_path):
    reader = harness.Reader(wall_seconds=15.0)
    expected = {
        **{"nothing": "ok", "ours": "ours", "foreign": "foreign", "crash": "crash"},
        **{"exit": "crash", "memory": "memory", "refused memory": "memory", "hang": "hang"},
    }
    try:
        for kind, outcome in expected.items():
            path = tmp_path / "a"
            path.write_text(kind)
            result = reader.read(seeds.Seed("planted", path), 0, False, path)
            assert result.outcome == outcome, f"{kind}: {result}"
            if kind == "foreign":
                assert "bug" in result.told
            if kind == "hang":
                assert "in planted" in result.told
    finally:
        reader.stop()


def test_a_hundred_damaged_files(found, tmp_path, capsys):
    chosen = np.random.default_rng(4).permutation(len(found))[:100]
    judge(harness.run(found, chosen.tolist(), run_seed=2018, work=tmp_path), capsys)


@pytest.mark.slow
def test_thousands_of_damaged_files(found, tmp_path, capsys):
    """`FUZZ_CASES` and `FUZZ_SEED` set how many, and which; real recordings are added if there."""
    count = int(os.environ.get("FUZZ_CASES", "3000"))
    run_seed = int(os.environ.get("FUZZ_SEED", np.random.default_rng().integers(1 << 31)))
    with capsys.disabled():
        print(f"\nFUZZ_SEED={run_seed}")
    every = [*found, *seeds.real(SHARED)] if SHARED.is_dir() else found
    judge(harness.run(every, range(count), run_seed=run_seed, work=tmp_path), capsys)
