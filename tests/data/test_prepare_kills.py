# SPDX-License-Identifier: Apache-2.0
"""Prepare is killed, really and anywhere; resumed, it makes the same bytes as without."""

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from talking import write_talk

from lipjax.data import pool
from lipjax.data.derive import derive
from lipjax.data.prepare import PrepareSettings, prepare
from lipjax.data.prepare.place import alone
from lipjax.data.prepare.staging import staged_facts
from lipjax.data.reading import open_corpus
from lipjax.errors import CorpusError

SCRIPT = Path(__file__).parents[1] / "killed_prepare.py"


def command(videos, cwd, *, processes=1, **environment):
    """Starts `lipjax prepare VIDEOS --out corpus` in a folder, as leader of a process group."""
    cwd.mkdir(parents=True, exist_ok=True)
    words = ["prepare", str(videos), "--out", "corpus", "--mouth-size", "32"]
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *words, "--processes", str(processes)],
        cwd=cwd,
        env={**os.environ, **environment},
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(process):
    """Waits for a command and returns its exit code; nothing of its group stays behind."""
    told = process.communicate(timeout=300)[0]
    until = time.monotonic() + 60
    while True:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            break
        assert time.monotonic() < until, "a worker outlives its parent"
        time.sleep(0.1)
    assert process.returncode in (0, -signal.SIGKILL), told
    return process.returncode


def files(folder):
    """Every file below a folder with its bytes."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def assert_same(folder, expected):
    got = files(folder)
    assert sorted(got) == sorted(expected)
    assert [name for name in expected if got[name] != expected[name]] == []


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp("videos")
    for number, name in enumerate(("anna/one", "anna/two", "bob/one")):
        write_talk(root / f"{name}.mp4", seed=number, frames=30)
    return root


def test_killed_at_work_in_packing_and_in_moving(videos, tmp_path, monkeypatch):
    (tmp_path / "whole").mkdir()
    monkeypatch.chdir(tmp_path / "whole")  # the report names the folder
    prepare(videos, "corpus", settings=PrepareSettings(mouth_size=32), processes=0)
    expected = files(tmp_path / "whole/corpus")
    assert len(expected) == 12
    cwd = tmp_path / "killed"
    for moment, work in (("staging:5", 1), ("packing:9", 3), ("moving:9", 3)):
        assert ended(command(videos, cwd, KILL_AT=moment)) == -signal.SIGKILL, moment
        staged = len(list((cwd / "corpus/work/staged").glob("*.npz")))
        assert staged == work, moment
        with pytest.raises(CorpusError, match="not finished"):
            open_corpus(cwd / "corpus")
    assert ended(command(videos, cwd)) == 0
    assert_same(cwd / "corpus", expected)


ROUND = ("starting", "staging", "group", "packing", "parent", "moving")
PLAN = (*ROUND, *ROUND, *ROUND, "packing", "moving")


@pytest.mark.slow
def test_killed_twenty_times_at_random(tmp_path):
    """Kills of the group or of the parent alone by the clock, others between two file changes."""
    from lipjax.data.babble import make_babble

    seed = int(np.random.SeedSequence().entropy) % 2**32
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    make_babble(tmp_path / "v", speakers=3, sentences_per_speaker=2, seed=5, size=(128, 128))
    begin, counts = time.monotonic(), tmp_path / "counts.json"
    whole = command(tmp_path / "v", tmp_path / "whole", processes=2, KILL_COUNTS=str(counts))
    assert ended(whole) == 0
    usual = time.monotonic() - begin
    expected = files(tmp_path / "whole/corpus")
    changes = {**json.loads(counts.read_text()), "staging": 6}
    plan, told, folder, finished = list(PLAN), [], 0, True
    while plan:
        folder += finished
        assert folder < 40, f"too few kills hit: {told}"
        cwd, kind = tmp_path / f"{folder}", plan[0]
        if kind in changes:
            moment = f"{kind}:{rng.integers(1, changes[kind] + 1)}"
            process = command(tmp_path / "v", cwd, processes=2, KILL_AT=moment)
        else:
            seconds = rng.uniform(0.05, 0.9 * usual)
            moment = f"{kind} after {seconds:.2f} of {usual:.2f} s"
            process = command(tmp_path / "v", cwd, processes=2)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
            if process.poll() is None and kind == "group":
                os.killpg(process.pid, signal.SIGKILL)
            elif process.poll() is None:
                process.kill()
        finished = ended(process) == 0
        if not finished:
            told.append(f"corpus {folder}: {plan.pop(0)} ({moment})")
        if not finished and (kind == "moving" or not plan):
            finished = ended(command(tmp_path / "v", cwd, processes=2)) == 0
            assert finished
        if finished:
            assert_same(cwd / "corpus", expected)
    print("\n".join(told))
    print(f"{len(told)} kills survived of {len(told)} in {folder} corpora (seed {seed})")


def touch_when_the_parent_has_gone(path, beat):
    try:
        for _ in range(100):
            time.sleep(0.05)
            beat(1)
    except OSError:  # as where a video is read
        path.write_text("the video was at fault")


def test_a_worker_whose_parent_has_gone_blames_no_video(tmp_path):
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    worker = context.Process(
        target=pool._serve, args=(touch_when_the_parent_has_gone, theirs, 8.0), daemon=True
    )
    worker.start()
    theirs.close()
    assert pipe.recv() == ("beat", 0)
    pipe.send(tmp_path / "blamed")
    assert pipe.recv() == ("beat", 1)
    pipe.close()
    worker.join(30)
    assert worker.exitcode == 1 and not (tmp_path / "blamed").exists()


def test_one_prepare_at_a_time(videos, tmp_path):
    out = tmp_path / "corpus"
    out.mkdir()
    with alone(out), pytest.raises(CorpusError, match="another prepare is at work"):
        prepare(videos, out, processes=0)
    with alone(out):  # free again
        pass


def test_a_damaged_staged_file_is_made_again(videos, tmp_path, monkeypatch):
    from lipjax.data.prepare import finish

    settings = PrepareSettings(mouth_size=32)
    real = finish.pack

    def damaged(work, clips, facts, **rest):
        path = clips[1].path
        content = bytearray(path.read_bytes())
        content[len(content) // 3] ^= 0xFF  # in an array; the facts lie at the end
        path.write_bytes(content)
        assert staged_facts(path) is not None
        real(work, clips, facts, **rest)

    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(finish, "pack", damaged)
        with pytest.raises(CorpusError, match="anna/two.mp4 was damaged.*run the same command"):
            prepare(videos, "corpus", settings=settings, processes=0)
    prepare(videos, "corpus", settings=settings, processes=0)
    assert [len(open_corpus("corpus").clips(s)) for s in open_corpus("corpus").splits] == [1, 1, 1]


def test_an_interrupted_tidying_up_of_derive_is_finished(videos, tmp_path):
    out = tmp_path / "corpus"
    prepare(videos, out, settings=PrepareSettings(mouth_size=32), processes=0)
    made = derive("flow", out, size=16, processes=0, show=None)
    work = made.directory.with_name("flow.work")
    (work / "staged").mkdir(parents=True)
    assert derive("flow", out, size=16, processes=0, show=None).seconds == 0.0
    assert not work.exists()
