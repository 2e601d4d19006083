# SPDX-License-Identifier: Apache-2.0
"""Speed and time left on a clock that the test moves."""

import pytest

from lipjax.training.progress import Progress, duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (59.4, "59 s"),
        (200.0, "3 min 20 s"),
        (3600.0, "1 h 00 min"),
        (7500.0, "2 h 05 min"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_speed_leaves_pauses_out_and_time_left_counts_them():
    now, lines = [0.0], []
    progress = Progress(
        steps=110, start=10, batch_size=4, seconds=5.0, show=lines.append, clock=lambda: now[0]
    )
    now[0] = 30.0
    progress.pause(10.0)
    assert progress.due()
    speed = progress.measure(30)  # 20 steps in 20 s of training and 10 s of evaluation
    assert speed == pytest.approx({"steps_per_second": 1.0, "windows_per_second": 4.0})
    progress.line(30, {"loss": 0.25, "bad": None}, speed)
    assert not progress.due()
    assert lines == [
        "step 30/110  loss 0.25  bad not finite  1.00 steps/s  4.0 windows/s  2 min 00 s left"
    ]
    now[0] = 40.0
    assert progress.measure(50)["steps_per_second"] == pytest.approx(2.0)
    assert progress.overall(50) == pytest.approx(40 / 30)
    assert progress.seconds == 45.0
