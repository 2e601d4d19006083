# SPDX-License-Identifier: Apache-2.0
"""Workers that crash, hang or raise cost their own task only."""

import os
import signal
import time

import pytest

from lipjax.data import pool
from lipjax.errors import ConfigError


def work(task, beat):
    kind, value = task
    if kind == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "hang":
        time.sleep(60)
    if kind == "slow":
        for _ in range(8):
            time.sleep(0.9)
            beat(1)
    if kind == "raise":
        raise KeyError("no such thing")
    if kind == "fatal":
        raise ConfigError("needs a package")
    beat(5)
    return value * 2


def results(tasks, **options):
    got = list(pool.run(tasks, work, **options))
    frames = sum(what.frames for _, what in got if isinstance(what, pool.Progressed))
    return {t: what for t, what in got if not isinstance(what, pool.Progressed)}, frames


def test_crash_hang_and_error_cost_only_their_task():
    fine = [("fine", n) for n in range(6)]
    odd = [("crash", 1), ("hang", 2), ("raise", 3), ("slow", 4)]
    # The slow task takes longer than the patience, but says so.
    got, frames = results([*odd, *fine], processes=3, patience=6.0)
    assert {task: got[task] for task in fine} == {task: 2 * task[1] for task in fine}
    assert got[("slow", 4)] == 8
    assert got[("crash", 1)].reason == "crashed" and "-9" in got[("crash", 1)].detail
    assert got[("hang", 2)].reason == "hangs"
    assert got[("raise", 3)].reason == "error" and "KeyError" in got[("raise", 3)].detail
    assert frames == 6 * 5 + 8 + 5


def test_in_this_process():
    got, frames = results([("fine", 1), ("raise", 2)], processes=0)
    assert got[("fine", 1)] == 2 and got[("raise", 2)].reason == "error"
    assert frames == 5


@pytest.mark.parametrize("processes", [0, 1])
def test_what_concerns_all_ends_the_job(processes):
    with pytest.raises(ConfigError, match="needs a package"):
        results([("fatal", 1), ("fine", 2)], processes=processes)


def test_stopping_early_leaves_no_process_behind():
    tasks = [("fine", n) for n in range(3)] + [("hang", 9)]
    running = pool.run(tasks, work, processes=2)
    next(running)
    begin = time.monotonic()
    running.close()
    assert time.monotonic() - begin < 10
