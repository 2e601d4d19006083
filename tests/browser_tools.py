# SPDX-License-Identifier: Apache-2.0
"""A running `lipjax demo`, and Chromium in front of it."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

START, WORK, SOON = 180, 180, 30
"""Seconds until the page is served, until a video is made, until the page has reacted."""
SWITCHES = (
    *("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", "disable-quic"),
    *("no-first-run", "disable-background-networking", "disable-component-update"),
    *("disable-sync", "autoplay-policy=no-user-gesture-required"),
)
"""A browser without a screen that keeps to itself and may play sound unasked."""


def until(found, seconds, what):
    """Waits for something that is true."""
    end = time.monotonic() + seconds
    while True:
        value = found()
        if value:
            return value
        assert time.monotonic() < end, f"after {seconds} s: {what}"
        time.sleep(0.2)


class Demo:
    """A running `lipjax demo`; as a context it is killed at the end if it still runs."""

    def __init__(self, folder: Path, *, terminal: bool = False) -> None:
        """Starts it.

        Args:
            folder: for its temporary files, what it tells and what it should not write.
            terminal: it has one of its own, in which keys can be pressed.
        """
        self.temporary, self.here = folder / "temporary", folder / "here"
        self.temporary.mkdir()
        self.here.mkdir()
        self.told = folder / "told.txt"
        self.address, self.keys = "", None
        with self.told.open("wb") as file:
            streams = {"stdout": file, "stderr": file}
            own = []
            if terminal:
                import pty

                self.keys, screen = pty.openpty()
                streams = dict.fromkeys(("stdin", "stdout", "stderr"), screen)
                own = ["setsid", "--ctty"]  # the process stays the same one
            self.process = subprocess.Popen(
                [*own, sys.executable, "-m", "lipjax.cli", "demo", "--port", "0", "--no-browser"]
                + ["--max-seconds", "10", "--max-mb", "2"],
                cwd=self.here,
                env={
                    **{k: v for k, v in os.environ.items() if k != "XLA_FLAGS"},
                    "TMPDIR": str(self.temporary),
                    "PYTHONPATH": str(Path(__file__).parents[1]),
                },
                **streams,
            )
        if terminal:
            os.close(screen)
            self._reader = threading.Thread(target=self._read)
            self._reader.start()

    def _read(self) -> None:
        with self.told.open("ab") as file, contextlib.suppress(OSError):
            while shown := os.read(self.keys, 4096):  # an error once nobody has the other end
                file.write(shown)
                file.flush()

    def __enter__(self) -> "Demo":
        return self

    def __exit__(self, *error) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.keys is not None:
            self._reader.join(10)
            os.close(self.keys)

    def text(self) -> str:
        return self.told.read_text(errors="replace")

    def wait(self) -> str:
        def served():
            assert self.process.poll() is None, self.text()
            return re.search(r"the page is at (http://\S+)", self.text())

        self.address = until(served, START, self.text())[1]
        return self.address

    @property
    def folder(self) -> Path:
        """The page's temporary folder."""
        (found,) = self.temporary.glob("lipjax-demo-*")
        return found

    def files(self, below: str) -> list[str]:
        return sorted(str(p.relative_to(self.folder)) for p in (self.folder / below).rglob("*.*"))

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)

    def press(self, key: bytes) -> int:
        os.write(self.keys, key)
        return self.process.wait(30)


@contextlib.contextmanager
def open_browser(downloads: Path, *words: str, size: str = "1280,1240") -> Iterator[Any]:
    """Chromium's driver.

    Args:
        downloads: folder that takes what is downloaded.
        words: further switches, without their dashes.
        size: of the window.
    """
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    browser, program = shutil.which("chromium"), shutil.which("chromedriver")
    assert browser and program, "apt-get install chromium chromium-driver"
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for word in (*SWITCHES, f"window-size={size}", *words):
        options.add_argument(f"--{word}")
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    running = webdriver.Chrome(options=options, service=Service(program))
    running.downloads = downloads
    try:
        yield running
    finally:
        running.quit()


class Page:
    """The page in the browser, by what it shows."""

    def __init__(self, driver, pictures: Path) -> None:
        self.driver, self.pictures = driver, pictures

    def all(self, selector):
        return self.driver.find_elements("css selector", selector)

    def shown(self, selector):
        return [e for e in self.all(selector) if e.is_displayed()]

    def open(self, address):
        self.driver.get(address)
        until(lambda: self.shown("#start"), SOON, "no button")

    def look(self, name):
        self.driver.save_screenshot(str(self.pictures / f"{name}.png"))

    def upload(self, where, path):
        for button in self.shown(f"#{where} button[aria-label='Clear'], "
                                 f"#{where} button[aria-label='Remove Image']"):  # fmt: skip
            self.driver.execute_script("arguments[0].click()", button)
        field = until(lambda: self.all(f"#{where} input[type=file]"), SOON, f"{where}: no field")[0]
        field.send_keys(str(path))

    def picture(self, path):
        self.upload("picture", path)
        until(lambda: self.shown("#picture img"), SOON, "no picture shown")

    def sound(self, path):
        self.upload("sound", path)
        until(lambda: not self.all("#sound input[type=file]"), SOON, "sound not taken")
        time.sleep(1)

    def answer(self):
        """Number, look and words of what is told; nothing while there is none."""
        return self.driver.execute_script(
            "const e = document.querySelector('#told .told');"
            "return e ? [e.dataset.answer, e.className, e.innerText] : null"
        )

    def ask(self, look):
        """Presses the button and waits for the answer, which must be of this look."""
        before = (self.answer() or [""])[0]
        until(lambda: self.shown("#start")[0].is_enabled(), SOON, "button stays grey")
        self.shown("#start")[0].click()

        def new():
            answer = self.answer()
            return answer if answer and answer[0] != before else None

        _, found, words = until(new, WORK, "no answer")
        assert look in found.split(), words
        return words

    def take_example(self):
        until(lambda: self.shown("table img"), SOON, "no examples")[0].click()
        until(lambda: self.shown("#picture img"), SOON, "no picture shown")
        until(lambda: not self.all("#sound input[type=file]"), SOON, "sound not taken")

    def choose_microphone(self):
        for button in self.shown("#sound button[aria-label='Clear']"):
            self.driver.execute_script("arguments[0].click()", button)
        (button,) = self.shown("#sound button[aria-label='Record audio']")
        button.click()
        until(lambda: self.shown("#sound .record-button"), SOON, "nothing to record with")

    def record(self):
        self.shown("#sound .record-button")[0].click()

    def stop(self):
        until(lambda: self.shown("#sound .stop-button"), SOON, "no recording")[0].click()
        until(self.has_sound, SOON, "the recording is not taken")

    def has_sound(self):
        recorder = self.all("#sound [data-testid=microphone-waveform]")
        return not recorder and not self.all("#sound input[type=file]")

    def download(self) -> Path:
        """Presses the button and returns the one file that comes."""
        folder = self.driver.downloads
        for path in folder.iterdir():
            path.unlink()
        until(lambda: self.shown("#download"), SOON, "no button to download")[0].click()
        return until(lambda: list(folder.glob("*.mp4")), SOON, "nothing downloaded")[0]
