# SPDX-License-Identifier: Apache-2.0
"""A photographed face from end to end: dlib, prepare, generate.

No recording of a person can be part of the tests. So a portrait that scikit-image carries is made
to move its lower lip and chin, and given noise as loud as its mouth is open.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from talking import openings, speech

from lipjax.data.prepare import PrepareSettings, prepare
from lipjax.data.prepare.lag import lip_opening
from lipjax.data.reading import open_corpus
from lipjax.data.schema import MEASURED
from lipjax.generate import generate
from lipjax.media import crops
from lipjax.media.audio import LogMel, Sound, read_sound, to_float, write_wav
from lipjax.media.video import probe, read_video, write_video
from lipjax.models.at_a_glance import Generator
from lipjax.models.map_sizes import strides_for
from lipjax.speakers.at_a_glance import AtAGlanceSpeaker

FRAMES, LATE = 63, 5
CORNERS, LIP = np.array([[200.0, 139.0], [246.0, 140.0]]), np.array([222.5, 150.0])
"""Corners of the mouth and middle of the lower lip's upper edge, seen by eye in the portrait."""
LEFT, TOP, WIDTH, HEIGHT = 80, 16, 288, 240
"""The part of the portrait that is filmed."""


@functools.cache
def portrait() -> np.ndarray:
    data = pytest.importorskip("skimage.data")
    return data.astronaut()


def head_positions() -> np.ndarray:
    """How far the head is moved, x and y in pixels, per frame: a slow sway."""
    turn = np.arange(FRAMES) / 25 * 2 * np.pi
    return np.stack([4 * np.sin(0.5 * turn), 2 * np.sin(0.8 * turn + 1)], axis=1)


def filmed(opening: np.ndarray):
    """Yields the pictures of the portrait talking.

    Everything under a curve between the lips is pulled down, most at the middle of the mouth and
    ever less towards the neck; the gap is dark. Near opening 0 the lip rises over the teeth.
    """
    import cv2

    photo = portrait()
    columns, rows = np.meshgrid(np.arange(WIDTH) + 0.0, np.arange(HEIGHT) + 0.0)
    for amount, (dx, dy) in zip(opening, head_positions(), strict=True):
        x, y = columns + LEFT - dx, rows + TOP - dy
        across = np.clip(1 - ((x - LIP[0]) / (CORNERS[1, 0] - LIP[0])) ** 2, 0, None)
        between = CORNERS[0, 1] + (LIP[1] - CORNERS[0, 1]) * across
        gap = (-4 + 14 * amount) * across
        under = y - between - gap
        fading = np.clip(1 - under / 45, 0, 1)
        source_y = np.where(under >= 0, y - gap * fading, y)
        maps = (x.astype(np.float32), source_y.astype(np.float32))
        picture = cv2.remap(photo, *maps, cv2.INTER_LINEAR).astype(np.float64)
        # The gap's edges are half a pixel soft.
        dark = np.clip(y - between + 0.5, 0, 1) * np.clip(0.5 - under, 0, 1) * (gap > 0)
        yield np.rint(picture + dark[..., None] * ([45, 15, 15] - picture)).astype(np.uint8)


def late(sound: Sound, frames: int) -> Sound:
    shift = round(frames / 25 * sound.rate)
    return Sound(np.concatenate([np.zeros(shift, np.int16), sound.samples[:-shift]]), sound.rate)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Two people, the second the mirror image of the first and with late sound."""
    folder = tmp_path_factory.mktemp("real")
    truth = {}
    for number, name in enumerate(("upright", "mirrored")):
        truth[name] = openings(FRAMES, seed=number)
        pictures = list(filmed(truth[name]))
        sound = speech(truth[name])
        if name == "mirrored":
            pictures = [np.ascontiguousarray(picture[:, ::-1]) for picture in pictures]
            sound = late(sound, LATE)
        (folder / "videos" / name).mkdir(parents=True)
        write_video(folder / "videos" / name / "talk.mp4", pictures, sound=sound)
    settings = PrepareSettings(landmarks="dlib", mouth_size=64, layout="folder")
    report = prepare(folder / "videos", folder / "corpus", settings=settings, processes=0)
    corpus = open_corpus(folder / "corpus")
    clips = {clip.speaker: clip for split in corpus.splits for clip in corpus.clips(split)}
    return folder, truth, report, clips


def marks(name: str, points: np.ndarray) -> np.ndarray:
    """Where points of the portrait lie in each frame of a video."""
    moved = points + head_positions()[:, None] - [LEFT, TOP]
    return moved if name == "upright" else np.array([WIDTH - 1, 0]) + moved * [-1, 1]


def test_both_videos_are_kept_whole(prepared):
    _, _, report, clips = prepared
    assert set(clips) == {"upright", "mirrored"} and not report.dropped
    assert report.seconds_kept == pytest.approx(2 * FRAMES / 25)
    for clip in clips.values():
        assert clip.num_frames == FRAMES and (clip.landmark_status == MEASURED).all()


@pytest.mark.parametrize("name", ["upright", "mirrored"])
def test_the_landmarks_open_and_close_with_the_lips(prepared, name):
    _, truth, _, clips = prepared
    measured = lip_opening(clips[name].landmarks, clips[name].landmark_status)
    assert np.corrcoef(measured, truth[name])[0, 1] > 0.9
    open_, closed = truth[name] > 0.7, truth[name] < 0.1
    assert measured[open_].min() > measured[closed].max()


@pytest.mark.parametrize("name", ["upright", "mirrored"])
def test_the_crops_hold_the_mouth_steadily(prepared, name):
    clip = prepared[3][name]
    assert clip.mouth.shape == (FRAMES, 64, 64, 3)
    corners = crops.apply(clip.mouth_from_source, marks(name, CORNERS))
    width = np.linalg.norm(corners[:, 0] - corners[:, 1], axis=-1)
    np.testing.assert_allclose(width, 64 / 1.5, rtol=0.1)
    # The head sways over 8 pixels; in the crop, nothing but the lips moves.
    assert np.ptp(marks(name, CORNERS)[:, 0, 0]) > 7
    assert corners.std(axis=0).max() < 0.5
    middle = corners.mean(axis=1)
    assert (np.abs(middle[:, 0] - 31.5) < 4).all() and (np.abs(middle[:, 1] - 25) < 8).all()
    change = clip.mouth.std(axis=0).mean(axis=-1)
    assert change[28:48, 20:44].mean() > 4 * change[:12].mean()


def test_the_lag_of_the_sound_is_found(prepared):
    clips = prepared[3]
    assert abs(clips["upright"].lag) < 1.5
    assert clips["mirrored"].lag == pytest.approx(LATE, abs=1.5)


@pytest.fixture(scope="module")
def speaker():
    """An untrained generator: grey mouths."""
    generator = Generator(
        bands=32,
        audio_widths=(2, 2, 2, 2, 2),
        identity_widths=(2, 2, 2),
        fusion_width=2,
        residual_blocks=0,
        decoder_widths=(2, 2),
        final_kernel=(1, 3, 3),
        norm="frame",
        **strides_for(64, 32),
    )
    inputs = jnp.zeros((1, 64, 64, 3)), jnp.zeros((1, 16, 32))
    params = jax.jit(generator.init)(jax.random.key(0), *inputs)
    return AtAGlanceSpeaker.from_generator(generator, log_mel=LogMel(bands=32), chunk=16), params


def check_video(path, frames: int, height: int, width: int) -> np.ndarray:
    """Checks what any player needs to be right; returns the pictures."""
    info = probe(path)
    assert (info.height, info.width, info.has_sound) == (height, width, True)
    assert info.duration == pytest.approx(frames / 25, abs=0.02)
    pictures = np.stack([frame.image for frame in read_video(path)])
    assert pictures.shape == (frames, height, width, 3)
    sound = read_sound(path)
    assert sound.duration == pytest.approx(frames / 25, abs=0.06)
    assert np.abs(to_float(sound.samples)).max() > 0.1
    return pictures


def check_painted(made: np.ndarray, before: np.ndarray, centres: np.ndarray) -> None:
    """Checks that the mouth is new, and nothing but the mouth.

    Args:
        made: the pictures written, [T, H, W, 3].
        before: what was there, broadcastable.
        centres: the mouth's centre in each, (x, y).
    """
    change = np.abs(made.astype(int) - before).mean(axis=-1)
    columns, rows = np.meshgrid(np.arange(made.shape[2]), np.arange(made.shape[1]))
    for number, (x, y) in enumerate(centres):
        away = np.maximum(np.abs(columns - x), np.abs(rows - y))
        assert change[number][away < 12].mean() > 15
        assert change[number][away > 50].mean() < 3
        assert np.percentile(change[number][away > 50], 99.5) < 20


def test_the_portrait_speaks(speaker, tmp_path):
    face, audio, out = tmp_path / "face.png", tmp_path / "speech.wav", tmp_path / "talk.mp4"
    Image.fromarray(portrait()).save(face)
    write_wav(audio, speech(openings(30, seed=5)))
    talk = generate(*speaker, face=face, audio=audio, out=out, landmarks="dlib")
    assert (talk.kind, talk.frames, talk.untracked) == ("face", 30, ())
    made = check_video(out, 30, 512, 512)
    check_painted(made, portrait(), np.tile([222.5, 146.0], (30, 1)))


def test_the_video_is_dubbed(speaker, prepared, tmp_path):
    video, audio = prepared[0] / "videos" / "upright" / "talk.mp4", tmp_path / "speech.wav"
    write_wav(audio, speech(openings(40, seed=6)))
    out = tmp_path / "dubbed.mp4"
    talk = generate(*speaker, face=video, audio=audio, out=out, landmarks="dlib")
    assert (talk.kind, talk.frames, talk.untracked) == ("video", 40, ())
    made = check_video(out, 40, HEIGHT, WIDTH)
    before = np.stack([frame.image for frame in read_video(video)])[:40]
    middle = marks("upright", np.array([[222.5, 148.0]]))[:40, 0]
    check_painted(made, before, middle)
