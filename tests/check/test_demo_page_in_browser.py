# SPDX-License-Identifier: Apache-2.0
"""The page of `lipjax demo` as somebody with a browser meets it, from upload to SIGTERM.

Needs Chromium and its driver: `make check` installs them on Debian.
"""

import json
import re
import shutil
import signal
import socket
import sys
import urllib.error
import urllib.request
import wave
from urllib.parse import urlsplit

import numpy as np
import pytest
from browser_tools import SOON, Demo, Page, open_browser, until
from PIL import Image

from lipjax.demo_page.examples import make_examples
from lipjax.demo_page.layout import NOTICE
from lipjax.media.video import probe

pytestmark = pytest.mark.check

FRAME = 1 / 25


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """What is uploaded: a drawn face, its speech, a picture of no face, a long sound."""
    folder = tmp_path_factory.mktemp("given")
    examples = make_examples(folder)
    assert not examples.missing
    face, speech = folder / "somebody.png", folder / "speech.wav"
    shutil.copy(examples.rows[0][0], face)
    shutil.copy(examples.rows[0][1], speech)
    hills = np.linspace(0, 255, 300 * 400 * 3).reshape(300, 400, 3).astype(np.uint8)
    Image.fromarray(hills).save(folder / "no face.png")
    with wave.open(str(folder / "long.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(2 * 8000 * 11))
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), np.uint8)
    Image.fromarray(noise).save(folder / "large.png")
    return folder


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    with Demo(tmp_path_factory.mktemp("demo")) as running:
        running.wait()
        yield running


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    with open_browser(tmp_path_factory.mktemp("downloads")) as running:
        yield running


@pytest.fixture(scope="module")
def page(driver, demo, tmp_path_factory):
    opened = Page(driver, tmp_path_factory.mktemp("pictures"))
    print("pictures of the page:", opened.pictures)
    opened.open(demo.address)
    return opened


def test_it_is_there_for_this_machine_alone(demo):
    where = urlsplit(demo.address)
    assert where.hostname == "127.0.0.1"
    socket.create_connection(("127.0.0.1", where.port), timeout=5).close()
    if sys.platform == "linux":  # where the whole of 127 is this machine
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", where.port), timeout=5)


def test_it_says_that_videos_are_synthetic(page):
    assert page.shown("#notice")[0].text == NOTICE
    page.look("1 opened")


def test_a_picture_speaks(page, demo, given):
    page.picture(given / "somebody.png")
    page.sound(given / "speech.wav")
    assert re.match(r"\d+\.\d s, \d+ frames of 320x320", page.ask("done"))
    video = until(lambda: page.all("#video video"), SOON, "no video")[0]
    run = page.driver.execute_script
    until(lambda: run("return arguments[0].readyState", video) >= 3, SOON, "video not loaded")
    with wave.open(str(given / "speech.wav")) as file:
        seconds = file.getnframes() / file.getframerate()
    assert abs(run("return arguments[0].duration", video) - seconds) <= FRAME
    assert run("return arguments[0].videoWidth", video) == 320
    run("arguments[0].muted = true; arguments[0].currentTime = 0; arguments[0].play()", video)
    until(lambda: run("return arguments[0].currentTime", video) > 0.5, SOON, "it does not play")
    assert run("return arguments[0].error", video) is None
    page.look("2 spoken")


def test_the_video_is_downloaded_with_sound_and_note(page, given):
    import av

    path = page.download()
    with av.open(str(path)) as file:
        assert len(file.streams.video) == len(file.streams.audio) == 1
        assert "synthetic" in file.metadata["comment"].lower()
        assert "synthetic" in file.metadata["title"].lower()
        samples = np.concatenate([f.to_ndarray().ravel() for f in file.decode(audio=0)])
    assert np.abs(samples).max() > 0.05, "the sound is silence"
    assert (probe(path).width, probe(path).height) == (320, 320)


def test_what_is_wrong_is_said_and_the_page_goes_on(page, given):
    page.picture(given / "no face.png")
    told = page.ask("error")
    assert "no face found in the picture of 400x300 pixels" in told
    assert "/" not in told and "Traceback" not in told
    page.look("3 no face")
    page.sound(given / "long.wav")
    assert "lasts 11.0 seconds, this page takes up to 10" in page.ask("error")
    page.picture(given / "somebody.png")
    page.sound(given / "speech.wav")
    assert "frames of 320x320" in page.ask("done")


def test_a_file_that_is_too_large_is_refused(page, demo, given):
    assert (given / "large.png").stat().st_size > 2 * 1024**2
    page.upload("picture", given / "large.png")
    until(lambda: "exceed" in page.driver.find_element("css selector", "body").text, SOON, "taken")
    page.look("4 too large")
    # And by the server itself, whoever asks.
    content = (given / "large.png").read_bytes()
    part = b'Content-Disposition: form-data; name="files"; filename="large.png"\r\n\r\n'
    asked = urllib.request.Request(
        f"{demo.address}/gradio_api/upload",
        b"--cut\r\n" + part + content + b"\r\n--cut--\r\n",
        {"Content-Type": "multipart/form-data; boundary=cut"},
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(asked, timeout=30)
    assert refused.value.code == 413
    assert not any("large" in name for name in demo.files("cache"))


def test_a_site_whose_name_leads_here_is_refused(demo):
    asked = urllib.request.Request(demo.address, headers={"Host": "elsewhere.example"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(asked, timeout=30)
    assert refused.value.code == 400


def test_nothing_is_fetched_from_elsewhere(page):
    asked = set()
    for entry in page.driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            asked.add(urlsplit(message["params"]["request"]["url"]))
    hosts = {url.hostname for url in asked if url.scheme in ("http", "https")}
    assert hosts == {"127.0.0.1"}
    broken = [e["message"] for e in page.driver.get_log("browser") if "violates" in e["message"]]
    assert not broken


def test_what_a_session_leaves_is_removed(page, demo, given):
    assert any(name.endswith("somebody.png") for name in demo.files("cache"))
    assert any(name.endswith("talk.mp4") for name in demo.files("cache"))
    page.driver.get("about:blank")
    mine = ("somebody.png", "speech.wav", "talk.mp4", "long.wav")
    until(
        lambda: not [name for name in demo.files("") if name.endswith(mine) or "no " in name],
        SOON,
        f"left: {demo.files('')}",
    )
    assert len(demo.files("cache")) == 6, "the examples stay"


def test_examples_are_there_for_the_next_session(page, demo):
    page.open(demo.address)
    page.take_example()
    page.look("5 example")


def test_sigterm_ends_it_in_the_middle_of_a_video_and_leaves_nothing(page, demo):
    made = demo.folder / "made"
    page.shown("#start")[0].click()
    until(lambda: list(made.iterdir()), SOON, "the work does not begin")
    assert demo.end(signal.SIGTERM) == 143
    assert not list(demo.temporary.iterdir())
    assert not list(demo.here.iterdir())
    assert "Traceback" not in demo.text()
