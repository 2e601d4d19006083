# SPDX-License-Identifier: Apache-2.0
"""The demo as a stranger runs it; its exit code says whether the mouth learned to follow speech."""

import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_demo_reaches_what_it_promises(tmp_path):
    command = [sys.executable, "-m", "lipjax.demo", "--workdir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert (tmp_path / "talk.mp4").stat().st_size > 10_000
    assert done.stdout.count("\nok: ") == 4
