# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C, pressed in the terminal of a real `lipjax demo`: it ends soon and leaves nothing."""

import sys
import time

import pytest
from browser_tools import SOON, START, Demo, Page, open_browser, until

pytestmark = [
    pytest.mark.check,
    pytest.mark.skipif(sys.platform == "win32", reason="has no such terminals"),
]

CTRL_C = b"\x03"
PATIENCE = 20
"""Seconds in which it is over; a network that is being compiled is waited for 5 of them."""


def ends(demo) -> None:
    begin = time.monotonic()
    # As every shell tells it of a program that was interrupted.
    assert demo.press(CTRL_C) == 130, demo.text()
    assert time.monotonic() - begin < PATIENCE
    assert not list(demo.temporary.iterdir()) and not list(demo.here.iterdir())
    until(lambda: "^C" in demo.text(), SOON, "no terminal")
    for word in ("Traceback", "Exception", "Error"):
        assert word not in demo.text(), demo.text()


@pytest.mark.parametrize("seconds", [0.2, 1.0, 2.5])
def test_as_it_starts(tmp_path, seconds):
    with Demo(tmp_path, terminal=True) as demo:
        until(lambda: list(demo.temporary.glob("*/served")), START, "does not start")
        time.sleep(seconds)
        ends(demo)


def test_while_it_waits(tmp_path):
    with Demo(tmp_path, terminal=True) as demo:
        demo.wait()
        ends(demo)
        assert "stopped; everything that was uploaded or made is removed" in demo.text()


def test_while_it_makes_a_video(tmp_path):
    with (
        Demo(tmp_path, terminal=True) as demo,
        open_browser(tmp_path) as driver,
    ):
        page = Page(driver, tmp_path)
        page.open(demo.wait())
        page.take_example()
        page.shown("#start")[0].click()
        until(lambda: list((demo.folder / "made").iterdir()), SOON, "the work does not begin")
        time.sleep(2)  # into the compilation of the network, which nothing interrupts
        ends(demo)
