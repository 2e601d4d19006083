# SPDX-License-Identifier: Apache-2.0
"""Worker processes that die, hang or are left alone: an error within seconds, never a wait."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fault_tools import CLIPS, changed, stream_of_workers, windows

from lipjax.errors import CorpusError, WorkerError


def all_gone(children):
    until = time.monotonic() + 30
    while any(child.is_alive() for child in children):
        assert time.monotonic() < until
        time.sleep(0.05)
    return True


def test_a_killed_worker_is_an_error_within_seconds():
    stream, children = stream_of_workers(2)
    os.kill(children[0].pid, signal.SIGTERM)  # a preemption: the parent's to handle
    for _ in range(3):
        next(stream)
    os.kill(children[1].pid, signal.SIGKILL)
    begin = time.monotonic()
    told = rf"data worker [01] of 2 \(process {children[1].pid}\) was killed by signal 9 \(SIGKILL"
    with pytest.raises(WorkerError, match=told + ".*memory.*data.cache_mb"):
        for _ in range(100):
            next(stream)
    assert time.monotonic() - begin < 15
    assert all_gone(children)
    with pytest.raises(StopIteration):
        next(stream)


def test_a_worker_that_exits_with_code_0_is_no_endless_wait():
    made = windows(changed(deadly=5), workers=1)
    with pytest.raises(WorkerError, match="data worker 0 of 1 .* ended with exit code 0"):
        for _ in made.iterate(ahead=1):
            pass


def test_a_worker_that_hangs_is_an_error_after_the_patience():
    stream, children = stream_of_workers(1, patience=2.0, batch_size=2)
    os.kill(children[0].pid, signal.SIGSTOP)
    with pytest.raises(WorkerError, match=r"no batch from 1 data workers for 2 s \(worker 0"):
        for _ in range(100):
            next(stream)
    assert all_gone(children)


def test_an_error_in_a_worker_is_its_own():
    broken = changed({n: {"id": "x"} for n in range(CLIPS)})
    with pytest.raises(CorpusError, match="12 of 12 clips cannot be used|cannot be used"):
        next(windows(broken, workers=1).iterate())


ORPHANS = """
import sys
sys.path.insert(0, sys.argv[1])
import fault_tools
if __name__ == "__main__":
    stream, children = fault_tools.stream_of_workers(1)
    print(children[0].pid, flush=True)
    while True:
        next(stream)
"""


def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    script = tmp_path / "orphans.py"
    script.write_text(ORPHANS)
    words = [sys.executable, str(script), str(Path(__file__).parents[1])]
    parent = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    os.kill(pid, 0)
    parent.kill()
    parent.wait()
    until = time.monotonic() + 30
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < until:
            os.kill(pid, 0)
            time.sleep(0.1)
