# SPDX-License-Identifier: Apache-2.0
"""The page of `lipjax demo` without a browser: its work, its command, its examples."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from generate_tools import LoudSpeaker, UnusedSpeaker, landmarks, make_wav, needs, picture
from PIL import Image

from lipjax.cli import main
from lipjax.demo_page import work
from lipjax.demo_page.work import KINDS, Models, Outcome, Work, make_talk
from lipjax.errors import ConfigError, FaceNotFoundError, MediaError
from lipjax.media.audio import Sound, read_sound, write_wav
from lipjax.media.video import probe


@pytest.fixture
def face(tmp_path):
    """A picture of a face, whose landmarks lie beside it."""
    path = tmp_path / "face.png"
    Image.fromarray(picture()).save(path)
    np.save(tmp_path / "face.landmarks.npy", landmarks()[None])
    return path


@pytest.fixture
def nobody(tmp_path):
    """A picture without a face."""
    path = tmp_path / "hills.png"
    Image.fromarray(picture()).save(path)
    np.save(tmp_path / "hills.landmarks.npy", np.full((1, 68, 2), np.nan, np.float32))
    return path


def asked(speaker=None, **changes):
    return make_talk(LoudSpeaker(needs()) if speaker is None else speaker, {}, **changes)


# ---- One request.


def test_a_picture_and_a_sound_make_a_video_with_that_sound(tmp_path, face):
    sound, out = make_wav(tmp_path, 1.2), tmp_path / "talk.mp4"
    told = []
    talk = asked(picture=face, sound=sound, out=out, progress=lambda *words: told.append(words))
    assert (talk.kind, talk.frames) == ("face", 30)
    info = probe(out)
    assert (info.width, info.height) == (192, 144)
    assert abs(read_sound(out).duration - 1.2) < 0.1
    assert told[-1][:3] == ("speaking", 30, 30)


def test_a_mouth_alone_is_taken_when_the_page_is_told_so(tmp_path, nobody):
    sound, out = make_wav(tmp_path, 0.4), tmp_path / "talk.mp4"
    talk = asked(picture=nobody, sound=sound, out=out, kind=KINDS["only a mouth"])
    assert talk.kind == "mouth" and out.exists()


def test_what_was_not_given_is_asked_for(tmp_path, face):
    with pytest.raises(ConfigError, match="there is no picture yet"):
        asked(picture=None, sound=make_wav(tmp_path, 0.4), out=tmp_path / "talk.mp4")
    with pytest.raises(ConfigError, match="there is no sound yet"):
        asked(picture=face, sound=None, out=tmp_path / "talk.mp4")


def test_a_picture_without_a_face_is_refused_before_the_network_runs(tmp_path, nobody):
    # Small and square, so that `lipjax generate` would take it for a mouth.
    Image.fromarray(picture()[:, :144]).save(nobody)
    with pytest.raises(FaceNotFoundError, match="no face .* choose 'only a mouth' on the page"):
        asked(
            UnusedSpeaker(needs()),
            picture=nobody,
            sound=make_wav(tmp_path, 0.4),
            out=tmp_path / "talk.mp4",
        )


@pytest.mark.parametrize("tells", [True, False])
def test_a_long_sound_is_refused(tmp_path, face, tells, monkeypatch):
    if not tells:
        monkeypatch.setattr(work, "declared_seconds", lambda container, stream: 0.0)
    with pytest.raises(MediaError, match=r"lasts 2(\.0)? seconds"):
        asked(
            UnusedSpeaker(needs()),
            picture=face,
            sound=make_wav(tmp_path, 2.0),
            out=tmp_path / "talk.mp4",
            max_seconds=1,
        )


@pytest.mark.parametrize("loudest, refused", [(0, True), (20, True), (60, False)])
def test_silence_is_refused(tmp_path, face, loudest, refused):
    sound, out = tmp_path / "recording.wav", tmp_path / "talk.mp4"
    samples = np.zeros(8_000, np.int16)
    samples[4_000:] = loudest * (-1) ** np.arange(4_000)
    write_wav(sound, Sound(samples, 16_000))
    if refused:
        with pytest.raises(MediaError, match="recording.wav: is silent; was the microphone muted"):
            asked(UnusedSpeaker(needs()), picture=face, sound=sound, out=out)
    else:
        assert asked(picture=face, sound=sound, out=out).frames == 13


@pytest.mark.parametrize(
    "fields, told",
    [({"target": "video"}, "needs a video"), ({"target": "person"}, "needs a person"),
     ({"text": True}, "also needs the words")],
)  # fmt: skip
def test_a_model_that_needs_more_says_so(tmp_path, face, fields, told):
    sound = make_wav(tmp_path, 0.4)
    with pytest.raises(ConfigError, match=told):
        asked(UnusedSpeaker(needs(**fields)), picture=face, sound=sound, out=tmp_path / "talk.mp4")


# ---- Requests one after the other.


class OneModel(Models):
    """A model that is there already."""

    def __init__(self, speaker):
        super().__init__({"loud": Path("nowhere")})
        self._loaded["loud"] = speaker, {}


def answers(speaker=None, max_seconds=60):
    speaker = LoudSpeaker(needs()) if speaker is None else speaker
    return Work(OneModel(speaker), landmarks="auto", max_seconds=max_seconds)


def test_errors_are_sentences_and_the_work_goes_on(tmp_path, face, nobody, capsys):
    sound, out = make_wav(tmp_path, 0.4), tmp_path / "talk.mp4"
    noise, empty = tmp_path / "noise.wav", tmp_path / "empty.png"
    noise.write_bytes(bytes(range(256)) * 20)
    empty.write_bytes(b"")
    silent = tmp_path / "silent.mp4"
    from lipjax.media.video import write_video

    write_video(silent, (picture(n) for n in range(5)), fps=25)
    page = answers(max_seconds=1)
    given = {"model": "loud", "picture": face, "sound": sound, "kind": "a face", "out": out}
    for change, told in (
        ({"picture": nobody}, "hills.png: no face found in the picture of 192x144"),
        ({"picture": empty}, "empty.png: "),
        ({"sound": noise}, "noise.wav: not a readable sound"),
        ({"sound": silent}, "silent.mp4: has no sound"),
        ({"sound": make_wav(tmp_path, 2.0)}, "speech_2.0_16000.wav: lasts 2.0 seconds"),
        ({"picture": None}, "there is no picture yet"),
        ({"model": "another"}, "the page has no model 'another'"),
        ({"kind": "a tree"}, "there is no kind of face 'a tree'"),
    ):
        outcome = page.answer(**{**given, **change})
        assert outcome.video is None and outcome.told.startswith(told), outcome
        assert str(tmp_path) not in outcome.told
    assert not out.exists()
    done = page.answer(**given)
    assert done.video == out and done.told.startswith("0.4 s, 10 frames of 192x144")
    assert "Traceback" not in capsys.readouterr().err


class BrokenSpeaker(LoudSpeaker):
    """A mistake of ours."""

    def step(self, params, carry, sound, target_chunk):
        raise ZeroDivisionError("secret")


def test_a_mistake_of_ours_is_for_the_console(tmp_path, face, capsys):
    sound, out = make_wav(tmp_path, 0.4), tmp_path / "talk.mp4"
    outcome = answers(BrokenSpeaker(needs())).answer(
        model="loud", picture=face, sound=sound, kind="a face", out=out
    )
    assert outcome.video is None and "ZeroDivisionError" in outcome.told
    assert "secret" not in outcome.told and "Traceback" not in outcome.told
    assert "ZeroDivisionError: secret" in capsys.readouterr().err


def test_a_video_in_the_making_is_given_up_at_the_end(tmp_path, face):
    page, speaking, outcomes = answers(), threading.Event(), []

    def show(what, done, total):
        if what == "speaking":
            speaking.set()
            time.sleep(0.02)

    def ask():
        given = {"picture": face, "sound": make_wav(tmp_path, 30.0), "kind": "a face"}
        outcomes.append(page.answer(model="loud", out=tmp_path / "talk.mp4", show=show, **given))

    thread = threading.Thread(target=ask)
    thread.start()
    assert speaking.wait(60)
    assert page.stop(30)
    thread.join(30)
    assert outcomes == [Outcome(None, "the page was closed")]
    assert not list(tmp_path.glob("*.mp4")) and not list(tmp_path.glob("*.part"))


def test_a_model_is_loaded_once_and_checked(tmp_path, monkeypatch):
    loads = []

    def load(folder):
        loads.append(folder)
        return LoudSpeaker(needs(target="video" if folder.name == "dub" else "picture")), {}

    monkeypatch.setattr(work, "load_speaker", load)
    models = Models({"one": tmp_path / "one", "dub": tmp_path / "dub"})
    assert models.names == ["one", "dub"] and not loads
    assert models.load("one") is models.load("one")
    assert loads == [tmp_path / "one"]
    with pytest.raises(ConfigError, match="needs a video"):
        models.load("dub")


# ---- The command.


def run(*words, **changes):
    code = "import sys; sys.modules.update({name: None for name in sys.argv[1].split(',') if name})"
    code += "; from lipjax.cli import main; sys.exit(main(sys.argv[2:]))"
    return subprocess.run(
        [sys.executable, "-c", code, changes.pop("without", ""), "demo", *words],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **changes},
    )


def test_without_gradio_it_is_one_line(tmp_path):
    found = run("--workdir", str(tmp_path), without="gradio", TMPDIR=str(tmp_path))
    assert found.returncode == 2
    (line,) = found.stderr.splitlines()
    assert line.startswith("lipjax demo: error: the page needs gradio")
    assert line.endswith("pip install 'lipjax[page]'")
    assert not list(tmp_path.iterdir()), "the temporary folder stays"


@pytest.mark.parametrize("flag, value", [("--port", "70000"), ("--port", "x"), ("--max-mb", "0")])
def test_numbers_out_of_range_are_told(flag, value, capsys):
    with pytest.raises(SystemExit):
        main(["demo", flag, value])
    assert value in capsys.readouterr().err


# ---- The layout.


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    from lipjax.demo_page.examples import make_examples

    return make_examples(tmp_path_factory.mktemp("examples"))


def test_examples_are_drawn_faces_that_are_found_and_speech(drawn):
    from lipjax.media.faces import face_in_image, load_backend
    from lipjax.media.image import read_image

    assert drawn.missing == "" and len(drawn.rows) == 3
    for face, sound in drawn.rows:
        assert face_in_image(read_image(face), load_backend("auto")).landmarks.shape == (68, 2)
        assert 2 < read_sound(sound).duration < 3.6


def test_without_the_voice_there_are_no_examples_and_the_reason_is_told(tmp_path, monkeypatch):
    from lipjax.demo_page.examples import make_examples

    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    examples = make_examples(tmp_path)
    assert examples.rows == () and "lipjax[babble]" in examples.missing


def test_names_of_files_cannot_become_markup():
    from lipjax.demo_page.layout import told_as_html

    told = told_as_html(Outcome(None, "<script>x</script>.png: no face"))
    assert "<script>" not in told and "&lt;script&gt;" in told and 'role="alert"' in told
    assert 'role="status"' in told_as_html(Outcome(Path("talk.mp4"), "done"))
