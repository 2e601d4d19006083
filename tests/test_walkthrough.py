# SPDX-License-Identifier: Apache-2.0
"""The demo as a stranger runs it; its exit code says whether the mouth learned to follow speech."""

import subprocess
import sys

import pytest

from lipjax import walkthrough


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_demo_reaches_what_it_promises(tmp_path):
    command = [sys.executable, "-m", "lipjax.walkthrough", "--workdir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert (tmp_path / "talk.mp4").stat().st_size > 10_000
    assert done.stdout.count("\nok: ") == 4, done.stdout[-3000:]  # closure and movement too


def test_the_verdict_fails_on_r_and_tells_of_the_rest():
    lines = walkthrough._verdict(right=0.5, wrong=0.1, closed=0.9, movement=0.3)
    assert [line.partition(":")[0] for line in lines] == ["FAILED", "ok", "ok", "missed"]
    assert "0.50" in lines[0] and "0.40" in lines[1] and "0.30" in lines[3]
