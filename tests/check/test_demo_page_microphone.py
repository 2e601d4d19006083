# SPDX-License-Identifier: Apache-2.0
"""The microphone of the page, in a browser that takes a sound file for one."""

import time
import wave

import av
import numpy as np
import pytest
from browser_tools import SOON, Demo, Page, open_browser, until

from lipjax.demo_page.examples import make_examples
from lipjax.demo_page.microphone import WORDS

pytestmark = pytest.mark.check

SEEN = ("use-fake-device-for-media-stream",)
GRANTED = (*SEEN, "use-fake-ui-for-media-stream")


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return make_examples(tmp_path_factory.mktemp("examples")).rows


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    with Demo(tmp_path_factory.mktemp("demo")) as running:
        running.wait()
        yield running


def listening_to(sound):
    return (*GRANTED, f"use-file-for-fake-audio-capture={sound}")  # again and again


@pytest.fixture(scope="module")
def page(demo, examples, tmp_path_factory):
    """A browser whose microphone hears the first example."""
    with open_browser(tmp_path_factory.mktemp("downloads"), *listening_to(examples[0][1])) as found:
        opened = Page(found, tmp_path_factory.mktemp("pictures"))
        print("pictures of the page:", opened.pictures)
        opened.open(demo.address)
        yield opened


def told(page):
    return " ".join(e.text for e in page.shown("#microphone .told.error"))


def test_what_is_spoken_into_it_is_said_by_the_picture(page, examples):
    page.picture(examples[0][0])
    page.choose_microphone()
    page.record()
    begin = time.monotonic()
    until(lambda: page.shown("#sound .stop-button"), SOON, "no recording")
    time.sleep(2)
    page.look("1 recording")
    page.stop()
    seconds = time.monotonic() - begin  # a little more than was recorded
    assert "frames of 320x320" in page.ask("done")
    page.look("2 spoken")
    video = until(lambda: page.all("#video video"), SOON, "no video")[0]
    run = page.driver.execute_script
    until(lambda: run("return arguments[0].readyState", video) >= 3, SOON, "video not loaded")
    assert run("return arguments[0].error", video) is None
    path = page.download()
    with av.open(str(path)) as file:
        pictures = list(file.decode(video=0))
    with av.open(str(path)) as file:
        (sound,) = file.streams.audio
        rate = sound.rate
        heard = np.concatenate([f.to_ndarray().ravel() for f in file.decode(sound)])
    assert 1.8 < len(pictures) / 25 < seconds
    assert abs(len(heard) / rate - len(pictures) / 25) < 0.15
    # It is what the microphone heard: as loud, here and there, as the file that it plays.
    with wave.open(str(examples[0][1])) as file:
        spoken = np.frombuffer(file.readframes(file.getnframes()), np.int16) / 32768
        there = loudness(np.tile(spoken, 2), file.getframerate())
    here = loudness(heard, rate)[10:40]
    alike = [np.corrcoef(here, there[n : n + 30])[0, 1] for n in range(len(there) - 29)]
    assert max(alike) > 0.8
    assert np.abs(heard).max() > 0.05, "the sound is silence"


def loudness(samples, rate):
    """The level of each 1/25 s."""
    size = rate // 25
    cut = samples[: len(samples) // size * size].reshape(-1, size)
    return np.sqrt((cut.astype(float) ** 2).mean(axis=1))


def test_the_button_stops_a_recording_that_still_runs(page, examples):
    page.choose_microphone()
    page.record()
    until(lambda: page.shown("#sound .stop-button"), SOON, "no recording")
    time.sleep(1)
    assert "frames of 320x320" in page.ask("done")
    assert page.has_sound()


def test_the_button_waits_for_a_recording_that_was_just_stopped(page):
    page.choose_microphone()
    page.record()
    until(lambda: page.shown("#sound .stop-button"), SOON, "no recording")
    time.sleep(1)
    before = page.answer()[0]
    page.driver.execute_script(
        "document.querySelector('#sound .stop-button').click();"
        "document.querySelector('#start').click()"
    )
    until(lambda: (page.answer() or [before])[0] != before, SOON, "no answer")
    assert "done" in page.answer()[1].split(), page.answer()


def test_a_recording_of_no_length_is_told_and_the_next_one_works(page):
    page.choose_microphone()
    page.driver.execute_script(
        """
        const shown = name => document.querySelector(`#sound .${name}`);
        shown('record-button').click();
        const look = setInterval(() => {
          if (!shown('stop-button')?.offsetParent) return;
          clearInterval(look);
          shown('stop-button').click();
        }, 1);
        """
    )
    until(lambda: told(page) == WORDS["empty"], SOON, "nothing is told")
    until(lambda: page.shown("#sound .record-button"), SOON, "there is no way back")
    page.look("3 of no length")
    page.record()
    until(lambda: page.shown("#sound .stop-button"), SOON, "no recording")
    time.sleep(1)
    page.stop()
    assert told(page) == ""
    assert "frames of 320x320" in page.ask("done")


def test_the_microphone_that_is_chosen_is_taken(page):
    from selenium.webdriver.support.select import Select

    page.choose_microphone()
    select = Select(until(lambda: page.shown("#sound .mic-select"), SOON, "no list")[0])
    names = [option.text for option in select.options]
    assert len(set(names)) == 3, "Chromium has three to show"
    select.select_by_index(2)
    taken = page.driver.execute_async_script(
        """
        const done = arguments[0];
        navigator.mediaDevices.getUserMedia({audio: true}).then(stream => {
          done(stream.getAudioTracks()[0].label);
          stream.getTracks().forEach(track => track.stop());
        });
        """
    )
    assert taken == names[2]


def test_a_silent_microphone_is_told(demo, examples, tmp_path):
    quiet = tmp_path / "quiet.wav"
    with wave.open(str(quiet), "wb") as file:
        file.setparams((1, 2, 48_000, 0, "NONE", ""))
        file.writeframes(bytes(2 * 48_000 * 5))
    with open_browser(tmp_path, *listening_to(quiet)) as driver:
        page = Page(driver, tmp_path)
        page.open(demo.address)
        page.picture(examples[0][0])
        page.choose_microphone()
        page.record()
        time.sleep(1.5)
        page.stop()
        assert "is silent; was the microphone" in page.ask("error")


@pytest.mark.parametrize(
    "case, switches",
    [("NotFoundError", ()), ("NotAllowedError", SEEN), ("insecure", GRANTED)],
)
def test_why_there_is_no_microphone_is_told(demo, tmp_path, case, switches):
    with open_browser(tmp_path, *switches) as driver:
        if case == "NotAllowedError":
            permission = {"permission": {"name": "microphone"}, "setting": "denied"}
            driver.execute_cdp_cmd("Browser.setPermission", permission)
        if case == "insecure":  # as at http://the.machine:7860
            source = "Object.defineProperty(navigator, 'mediaDevices', {value: undefined})"
            driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})
        page = Page(driver, tmp_path)
        page.open(demo.address)
        page.choose_microphone()
        assert told(page) == ""
        page.record()
        until(lambda: told(page) == WORDS[case], SOON, "nothing is told")
        assert page.shown("#microphone [role=alert]")
