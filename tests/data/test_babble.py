# SPDX-License-Identifier: Apache-2.0
"""The built-in corpus is a real test: speech moves the lips, and loudness alone does not."""

import builtins
import functools
import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest

from lipjax.data.babble import make_babble, people, speech, text
from lipjax.data.babble.face import draw_face
from lipjax.data.babble.shape import landmarks, mouth_curves
from lipjax.data.babble.visemes import CONTROLS, mouth_motion, symbols
from lipjax.data.schema import Span
from lipjax.errors import ConfigError

pytest.importorskip("espeakng_loader")

SIZE = (96, 96)
BILABIAL = {"p", "b", "m"}


def performances(count, *, speakers=6, seed=3):
    """Some sentences by each of some speakers, without pictures."""
    made = []
    for index in range(speakers):
        person = people.make_person(index, seed)
        rng = np.random.default_rng([seed, index])
        own = []
        while len(own) < count:
            performance = people.perform(person, text.sentence(rng))
            if performance is not None:
                own.append((person, performance))
        made += own
    return made


@pytest.fixture(scope="module")
def spoken():
    return performances(4)


@functools.cache
def _opening(person, sentence):
    performance = people.perform(person, sentence)
    points = people.pixel_landmarks(person, performance, (224, 224)).astype(np.float64)
    width = np.linalg.norm(points[:, 48] - points[:, 54], axis=1)
    return np.linalg.norm(points[:, 62] - points[:, 66], axis=1) / np.median(width)


def opening(person, performance):
    """Inner opening over mouth width, from the landmarks that prepare will read."""
    return _opening(person, performance.sentence)


def log_energy(performance):
    frames = len(performance.motion)
    edges = np.round(np.arange(frames + 1) / people.FPS * speech.RATE).astype(int)
    samples = performance.samples / 32768
    power = [np.mean(samples[a:b] ** 2) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    return np.log(np.array(power) + 1e-9)


def correlation(a, b):
    return float(np.corrcoef(a, b)[0, 1])


def phones(performance):
    return [span for span in performance.spans if span.kind == "phone"]


def test_loudness_alone_does_not_tell_the_opening(spoken):
    values = [correlation(log_energy(p), opening(person, p)) for person, p in spoken]
    assert 0.2 < np.mean(values) < 0.7


def test_bilabials_close_though_voiced(spoken):
    middles, loud = [], []
    for person, performance in spoken:
        gap, energy = opening(person, performance), log_energy(performance)
        for phone in phones(performance):
            if phone.text in BILABIAL:
                frame = int((phone.start + phone.end) / 2 * people.FPS)
                middles.append(gap[frame])
                loud.append(energy[frame] - energy.min())
    assert len(middles) > 60
    assert max(middles) <= 0.02
    assert np.median(loud) > np.log(100)  # 20 dB over the room: energy says "open"


def test_open_vowels_open_and_silence_rests(spoken):
    peaks = []
    for person, performance in spoken:
        gap = opening(person, performance)
        for phone in phones(performance):
            if symbols(phone.text)[:1] in ("ɑ", "æ", "a", "ɔ") and phone.end - phone.start > 0.08:
                inside = slice(int(phone.start * 25), int(phone.end * 25) + 1)
                peaks.append(gap[inside].max())
        assert max(gap[:2].max(), gap[-2:].max()) < 0.05
        assert gap.max() < 0.65
    assert len(peaks) > 20
    assert np.mean(np.array(peaks) > 0.10) > 0.9
    assert 0.15 < np.median(peaks) < 0.45


def test_labiodentals_touch_the_teeth_and_stay_almost_shut(spoken):
    seen = 0
    for _, performance in spoken:
        for phone in phones(performance):
            if phone.text in ("f", "v"):
                frame = int((phone.start + phone.end) / 2 * people.FPS)
                row = dict(zip(CONTROLS, performance.motion[frame], strict=True))
                seen += 1
                assert row["tuck"] > 0.8 and row["aperture"] < 0.11
    assert seen > 5


def test_motion_follows_the_sentence_and_not_the_clip(spoken):
    person, first = spoken[0]
    again = people.perform(person, first.sentence)
    np.testing.assert_array_equal(again.motion, first.motion)
    np.testing.assert_array_equal(again.samples, first.samples)
    values = []
    for i, (_, a) in enumerate(spoken):
        for _, b in spoken[i + 1 :]:
            shared = min(len(a.motion), len(b.motion))
            x, y = a.motion[:shared, 0], b.motion[:shared, 0]
            lags = range(-4, 5)
            values += [correlation(x[8 + k : shared - 8 + k], y[8 : shared - 8]) for k in lags]
    assert abs(np.mean(values)) < 0.1


def test_the_same_words_move_different_mouths_alike():
    sentence = "my mother may buy five purple maps for you"
    motions = []
    for index in range(4):
        person = people.make_person(index, 5)
        said = speech.say(sentence, person.voice)
        # Sampled by phone, for rates of speech differ; accents may swap or drop a phone.
        known = [phone for phone in said.phones if phone.text in BILABIAL]
        times = np.array([(phone.start + phone.end) / 2 for phone in known])
        motions.append(mouth_motion(said.phones, times)[:, 0])
        assert len(known) == 8
    np.testing.assert_allclose(motions, 0.0, atol=1e-6)


def test_neighbours_shape_a_consonant_and_rounding_comes_early():
    def s_before(vowel):
        said = (Span("phone", "s", 0.2, 0.35), Span("phone", vowel, 0.35, 0.55))
        return mouth_motion(said, np.array([0.26, 0.32]))[:, CONTROLS.index("protrude")]

    rounded, spread = s_before("uː"), s_before("iː")
    assert rounded[1] > spread[1] + 0.15
    assert rounded[1] > rounded[0]


def test_every_phone_of_the_grammar_has_a_viseme(spoken):
    heard = {phone.text for _, performance in spoken for phone in phones(performance)}
    assert len(heard) >= 40
    assert [phone for phone in heard if not symbols(phone)] == []
    counts = [phone.text in BILABIAL for _, p in spoken for phone in phones(p)]
    assert np.mean(counts) > 0.1


def test_spans_are_ordered_and_on_the_clock_of_the_sound(spoken):
    for _, performance in spoken:
        seconds = len(performance.samples) / speech.RATE
        assert people.MIN_SECONDS <= seconds <= people.MAX_SECONDS
        assert abs(seconds - len(performance.motion) / people.FPS) < 1e-3
        words = [span for span in performance.spans if span.kind == "word"]
        assert " ".join(word.text for word in words) == performance.sentence
        for spans in (words, phones(performance)):
            starts = [span.start for span in spans]
            assert starts == sorted(starts)
            assert all(a.end <= b.start + 1e-9 for a, b in zip(spans[:-1], spans[1:], strict=True))
            assert 0.2 < spans[0].start and spans[-1].end < seconds - 0.15
        # Outside the spans is only the room.
        quiet = performance.samples[: int((phones(performance)[0].start - 0.02) * speech.RATE)]
        assert np.abs(quiet).max() < 300 < np.abs(performance.samples).max()


def test_speech_is_the_same_whatever_was_said_before():
    voice = speech.Voice("f3")
    alone = speech.say("the baby bear", voice)
    speech.say("Thomas would throw his heavy umbrella", speech.Voice("m7", "en-gb-x-rp", 190, 70))
    after = speech.say("the baby bear", voice)
    np.testing.assert_array_equal(alone.samples, after.samples)
    assert alone.phones == after.phones
    program = (
        "import hashlib; from lipjax.data.babble import speech; "
        "said = speech.say('the baby bear', speech.Voice('f3')); "
        "print(hashlib.sha256(said.samples.tobytes()).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert other.stdout.strip() == hashlib.sha256(alone.samples.tobytes()).hexdigest()


def test_voices_differ():
    sentence = "the baby bear may buy a map"
    sounds = {speech.say(sentence, speech.Voice(v)).samples.tobytes() for v in speech.VARIANTS}
    assert len(sounds) == len(speech.VARIANTS)


def test_unknown_voice_and_missing_wheel_are_config_errors(monkeypatch):
    with pytest.raises(ConfigError, match="'Mikael'.*did you mean 'Michael'"):
        speech.say("hello", speech.Voice("Mikael"))
    with pytest.raises(ConfigError, match="no language 'xx'"):
        speech.say("hello", speech.Voice("f1", "xx"))
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "espeakng_loader":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"needs espeakng-loader: pip install 'lipjax\[babble\]'"):
        speech.say("hello", speech.Voice("f1"))


def test_a_seed_makes_the_same_files_byte_for_byte(tmp_path):
    digests = set()
    for name in "abc":
        make_babble(tmp_path / name, speakers=1, sentences_per_speaker=1, seed=0)
        files = sorted((tmp_path / name / "speaker00").iterdir())
        digests.add(tuple(hashlib.sha256(file.read_bytes()).hexdigest() for file in files))
    assert len(files) > 1 and len(digests) == 1


def test_impossible_requests_are_config_errors(tmp_path):
    with pytest.raises(ConfigError, match="speakers=0"):
        make_babble(tmp_path, speakers=0, sentences_per_speaker=1, seed=0)
    with pytest.raises(ConfigError, match="even"):
        make_babble(tmp_path, speakers=1, sentences_per_speaker=1, seed=0, size=(97, 96))


def test_landmarks_are_a_face():
    for seed in range(6):
        face = draw_face(np.random.default_rng(seed), female=seed % 2 == 0)
        shut = landmarks(face, mouth_curves(face, np.zeros(7)), blink=0.0)
        wide = np.array([0.4, 0.28, 0.0, 0.0, 0.1, 0.0, 0.0])
        apart = landmarks(face, mouth_curves(face, wide), blink=1.0)
        for points in (shut, apart):
            x, y = points.T
            assert np.all(np.diff(x[:17]) > 0) and y[8] == y[:17].max()  # jaw, left to right
            assert np.all(np.diff(x[17:27]) > 0) and np.all(np.diff(y[27:31]) > 0)
            assert np.all(np.diff(x[48:55]) > 0) and np.all(np.diff(x[54:60]) < 0)
            assert x[48] < x[60] < x[61] < x[62] < x[63] < x[64] < x[54]
            assert x[64] > x[65] > x[66] > x[67] > x[60]
            assert np.all(y[49:54] < y[[60, 61, 62, 63, 64]] + 1e-9)  # outer over inner
            assert np.all(y[55:60] > y[[65, 65, 66, 67, 67]])
            assert y[33] < y[51] and y[57] < y[8]
        np.testing.assert_allclose(shut[62], shut[66], atol=1e-9)
        assert apart[66, 1] - apart[62, 1] > 0.35 * face.mouth_width
        assert apart[8, 1] - shut[8, 1] > 0.7 * 0.28 * face.mouth_width  # the chin went along
        np.testing.assert_array_equal(apart[17:36], shut[17:36])  # brows and nose did not
        assert np.ptp(apart[[37, 41], 1]) < 0.2 * np.ptp(shut[[37, 41], 1])  # eyes shut


def test_corpus_files_hold_what_was_performed(tmp_path):
    from lipjax.media.audio import read_sound
    from lipjax.media.video import read_video

    seen = []
    make_babble(
        tmp_path / "a",
        speakers=2,
        sentences_per_speaker=2,
        seed=11,
        size=SIZE,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(2, 4), (4, 4)]
    videos = sorted((tmp_path / "a").glob("*/*.mp4"))
    assert len(videos) == 4
    sentences = {video.with_suffix(".txt").read_text() for video in videos}
    assert len(sentences) == 4
    for video in videos:
        points = np.load(video.with_suffix(".landmarks.npy"), allow_pickle=False)
        frames = list(read_video(video))
        assert points.dtype == np.float32 and points.shape == (len(frames), 68, 2)
        assert points.min() > 0 and points.max() < SIZE[0]
        spans = json.loads(video.with_suffix(".spans.json").read_text("utf-8"))
        assert {kind for kind, *_ in spans} == {"word", "phone"}
        person = people.make_person(int(video.parent.name[-2:]), 11)
        expected = people.perform(person, video.with_suffix(".txt").read_text().strip())
        np.testing.assert_array_equal(points, people.pixel_landmarks(person, expected, SIZE))
        # The sound in the file lies where the performance has it, to the millisecond.
        sound = read_sound(video)
        heard = sound.between(0.0, len(expected.samples) / speech.RATE).astype(float)
        real = expected.samples[: len(heard)].astype(float)
        assert sound.rate == speech.RATE
        lags = range(-60, 61)
        values = [correlation(heard[200 + k : -200 + k], real[200:-200]) for k in lags]
        assert max(values) > 0.95 and abs(lags[int(np.argmax(values))]) <= 22
    make_babble(tmp_path / "b", speakers=1, sentences_per_speaker=2, seed=11, size=SIZE)
    for video in videos[:2]:
        for suffix in (".landmarks.npy", ".spans.json", ".txt"):
            one = video.with_suffix(suffix)
            two = tmp_path / "b" / one.relative_to(tmp_path / "a")
            assert one.read_bytes() == two.read_bytes()
