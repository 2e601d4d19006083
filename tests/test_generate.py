# SPDX-License-Identifier: Apache-2.0
"""Generate: pictures and videos, sound of any length, bad input, lists."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from generate_tools import (
    EchoSpeaker,
    LoudSpeaker,
    UnusedSpeaker,
    landmarks,
    make_video,
    make_wav,
    needs,
    number_of,
    picture,
    tone,
)
from PIL import Image

from lipjax.data.schema import MISSING
from lipjax.errors import ConfigError, FaceNotFoundError, MediaError
from lipjax.generate import COMMENT, generate, generate_many
from lipjax.media import crops
from lipjax.media.audio import read_sound, to_float
from lipjax.media.faces import load_backend, track
from lipjax.media.video import probe, read_video, write_video


def frames_of(path) -> np.ndarray:
    return np.stack([frame.image for frame in read_video(path)])


def save(path: Path, image: np.ndarray, **options) -> Path:
    Image.fromarray(image).save(path, **options)
    return path


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_mouth_crop_speaks_in_step_with_its_sound(tmp_path, rate):
    face = save(tmp_path / "mouth.png", picture()[40:104, 60:124])
    audio = make_wav(tmp_path, 1.5, rate=rate)
    talk = generate(
        LoudSpeaker(needs()), {}, face=face, audio=audio, out=tmp_path / "o.mp4", face_kind="mouth"
    )
    frames = frames_of(talk.path)
    assert frames.shape == (38, 256, 256, 3)  # 37.5 frames: the last one begun is made
    assert (talk.kind, talk.frames, talk.seconds) == ("mouth", 38, 1.52)
    assert talk.work_seconds == pytest.approx(talk.real_time_factor * 1.52)
    # Loud from 0.2 to 0.4 s and from 0.8 to 1.0 s: frames 5-9 and 20-24, and their neighbours
    # by the width of the sound feature's window.
    bright = frames.mean(axis=(1, 2, 3))
    loud = np.isin(np.arange(38), [*range(5, 10), *range(20, 25)])
    near = np.convolve(loud, np.ones(3), "same") > 0
    assert bright[loud].min() > bright[~near].max() + 60
    # The sound is there, at its place.
    heard = read_sound(talk.path)
    power = np.abs(to_float(heard.between(0.0, 1.5))).reshape(30, -1).mean(axis=1)
    assert set(np.flatnonzero(power > 0.05)) == {4, 5, 6, 7, 16, 17, 18, 19}


def test_the_file_says_that_it_is_synthetic(tmp_path):
    import av

    face = save(tmp_path / "mouth.png", picture()[40:104, 60:124])
    out = tmp_path / "o.mp4"
    audio = make_wav(tmp_path, 0.5)
    generate(LoudSpeaker(needs()), {}, face=face, audio=audio, out=out, face_kind="mouth")
    with av.open(str(out)) as container:
        assert container.metadata["comment"] == COMMENT and "ynthetic" in COMMENT
        video, sound = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert sound.codec_context.name == "aac"


def test_loudness_does_not_matter(tmp_path):
    """The speech is brought to one level, so a whisper and a shout move the mouth alike."""
    from lipjax.media.audio import Sound, write_wav

    face = save(tmp_path / "mouth.png", picture()[40:104, 60:124])
    spoken = tone(1.0, [(0.3, 0.7)])
    made = []
    for factor in (1.0, 0.1):
        audio = tmp_path / f"{factor}.wav"
        write_wav(audio, Sound((spoken.samples * factor).astype(np.int16), spoken.rate))
        out = tmp_path / f"{factor}.mp4"
        generate(LoudSpeaker(needs()), {}, face=face, audio=audio, out=out, face_kind="mouth")
        made.append(frames_of(out).astype(float))
    assert np.abs(made[0] - made[1]).mean() < 2


def test_in_a_photo_only_the_mouth_moves(tmp_path):
    face = save(tmp_path / "face.png", np.dstack([picture(), np.full((144, 192), 255, np.uint8)]))
    np.save(tmp_path / "face.landmarks.npy", landmarks()[None])
    audio = make_wav(tmp_path, 1.0)
    talk = generate(LoudSpeaker(needs()), {}, face=face, audio=audio, out=tmp_path / "o.mp4")
    frames = frames_of(talk.path).astype(float)
    assert talk.kind == "face" and frames.shape == (25, 144, 192, 3)
    # The mouth lies around (96, 86); the crop is 36 px wide.
    mouth = frames[:, 76:96, 86:106]
    assert mouth[5:10].mean() - mouth[13:18].mean() > 60
    outside = np.ones((144, 192), bool)
    outside[64:108, 74:118] = False
    assert np.abs(frames - picture())[:, outside].mean() < 2


def test_a_large_photo_is_scaled_down(tmp_path):
    large = np.asarray(Image.fromarray(picture()).resize((1920, 1440)))
    face = save(tmp_path / "face.jpg", large)
    np.save(tmp_path / "face.landmarks.npy", landmarks()[None] * 10 + 4.5)
    talk = generate(
        LoudSpeaker(needs()), {}, face=face, audio=make_wav(tmp_path, 0.4), out=tmp_path / "o.mp4"
    )
    assert (talk.width, talk.height) == (1280, 960)
    frames = frames_of(talk.path).astype(float)
    scale = 1280 / 192
    moved = np.abs(frames[7] - frames[1]).mean(-1)
    rows, columns = np.nonzero(moved > 60)
    assert columns.mean() / scale == pytest.approx(96, abs=1)
    assert rows.mean() / scale == pytest.approx(86, abs=1)


@pytest.mark.parametrize("seconds", [0.4, 0.8, 2.4])
def test_a_dubbed_video_is_as_long_as_the_sound(tmp_path, seconds):
    """Cut off, just right, and played forwards, backwards, and forwards again."""
    face = make_video(tmp_path, 20)
    audio = make_wav(tmp_path, seconds, loud=[(0.1, 0.2)])
    talk = generate(LoudSpeaker(needs()), {}, face=face, audio=audio, out=tmp_path / "o.mp4")
    shown = [number_of(frame) for frame in frames_of(talk.path)]
    there_and_back = [*range(20), *range(18, 0, -1), *range(20), 18, 17, 16]
    assert shown == there_and_back[: round(seconds * 25)]
    assert ("back and forth" in " ".join(talk.notes)) == (seconds > 1)


def test_the_same_mouth_put_back_leaves_the_video_as_it_was(tmp_path):
    """Crop, window, carry, paste: one frame or pixel of shift anywhere would show."""
    face = make_video(tmp_path, 24)
    audio = make_wav(tmp_path, 1.6)
    talk = generate(
        EchoSpeaker(needs(target="video", reach=3)),
        {},
        face=face,
        audio=audio,
        out=tmp_path / "o.mp4",
    )
    before, after = frames_of(face).astype(float), frames_of(talk.path).astype(float)
    order = [*range(24), *range(22, 6, -1)]
    rows = slice(70, 102)  # of the mouth
    error = np.sqrt(np.mean((after - before[order])[:, rows] ** 2, axis=(1, 2, 3)))
    shifted = np.sqrt(np.mean((after[1:24] - before[:23])[:, rows] ** 2, axis=(1, 2, 3)))
    assert error.max() < 2.5 < 2 * error.max() < shifted.min()


def test_frames_without_a_face_pass_through_and_are_listed(tmp_path):
    gone = [*range(8, 16)]
    face = make_video(tmp_path, 24, missing=gone)
    audio = make_wav(tmp_path, 0.96, loud=[(0.0, 0.96)])
    report = tmp_path / "report.json"
    talk = generate(
        LoudSpeaker(needs()), {}, face=face, audio=audio, out=tmp_path / "o.mp4", report=report
    )
    assert talk.untracked == tuple(gone)
    assert "8-15" in talk.summary() and json.loads(report.read_text())["untracked"] == "8-15"
    before, after = frames_of(face).astype(float), frames_of(talk.path).astype(float)
    change = np.abs(after - before).mean(axis=(1, 2, 3))
    assert 1.7 * change[gone].max() < np.delete(change, gone).min()


def test_a_video_of_another_rate_is_resampled_by_time(tmp_path):
    face = make_video(tmp_path, 24, fps=30)
    audio = make_wav(tmp_path, 0.8)
    talk = generate(LoudSpeaker(needs()), {}, face=face, audio=audio, out=tmp_path / "o.mp4")
    assert probe(talk.path).fps == 25 and talk.frames == 20
    shown = [number_of(frame) for frame in frames_of(talk.path)]
    assert shown == [int((n + 0.5) / 25 * 30) for n in range(20)]
    assert "30 frames per second" in talk.notes[0]


def test_a_cut_is_not_smoothed_over(tmp_path):
    """The face jumps to another place: each shot's mouth is where its landmarks are."""
    places = [70.0] * 12 + [120.0] * 12
    path = tmp_path / "video.mp4"
    write_video(path, (picture(0, x) for x in places), crf=1)
    np.save(tmp_path / "video.landmarks.npy", np.stack([landmarks(x) for x in places]))
    followed = track(read_video(path), load_backend("files", video=path))
    assert (followed.status != MISSING).all() and 12 in followed.cuts
    audio = make_wav(tmp_path, 0.96, loud=[(0.0, 0.96)])
    talk = generate(LoudSpeaker(needs()), {}, face=path, audio=audio, out=tmp_path / "o.mp4")
    change = np.abs(frames_of(talk.path).astype(float) - frames_of(path)).mean(-1)
    for frame, x in ((11, 70), (12, 120)):
        assert np.nonzero(change[frame] > 30)[1].mean() == pytest.approx(x, abs=1.5)


def test_a_square_picture_without_a_face_is_a_mouth(tmp_path):
    pytest.importorskip("dlib")
    face = save(tmp_path / "crop.png", picture()[40:104, 60:124])
    audio, out = make_wav(tmp_path, 0.4), tmp_path / "o.mp4"
    talk = generate(LoudSpeaker(needs()), {}, face=face, audio=audio, out=out)
    assert talk.kind == "mouth" and "taken for a mouth crop" in talk.notes[0]


def test_a_real_face_is_found_and_animated(tmp_path):
    pytest.importorskip("dlib")
    photo = pytest.importorskip("skimage.data").astronaut()[:320]
    rotated = Image.fromarray(np.rot90(photo))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    face = tmp_path / "astronaut.jpg"
    rotated.save(face, exif=exif, quality=95)
    audio = make_wav(tmp_path, 0.6)
    talk = generate(LoudSpeaker(needs()), {}, face=face, audio=audio, out=tmp_path / "o.mp4")
    assert (talk.kind, talk.width, talk.height) == ("face", 512, 320)
    frames = frames_of(talk.path).astype(float)
    rows, columns = np.nonzero(np.abs(frames[7] - frames[12]).mean(-1) > 40)
    assert (columns.mean(), rows.mean()) == pytest.approx((223, 145), abs=3)


def test_no_face_is_found_out_before_the_network_runs(tmp_path):
    face = save(tmp_path / "wide.png", picture())
    np.save(tmp_path / "wide.landmarks.npy", np.full((1, 68, 2), np.nan, np.float32))
    audio, speaker = make_wav(tmp_path, 0.4), UnusedSpeaker(needs())
    with pytest.raises(FaceNotFoundError, match="wide.png"):
        generate(speaker, {}, face=face, audio=audio, out=tmp_path / "o.mp4")
    large = save(tmp_path / "large.png", np.asarray(Image.fromarray(picture()).resize((600, 600))))
    np.save(tmp_path / "large.landmarks.npy", np.full((1, 68, 2), np.nan, np.float32))
    with pytest.raises(FaceNotFoundError, match="'mouth'"):
        generate(speaker, {}, face=large, audio=audio, out=tmp_path / "o.mp4")
    video = make_video(tmp_path, 5, missing=range(5))
    with pytest.raises(FaceNotFoundError, match="any of 5 frames"):
        generate(speaker, {}, face=video, audio=audio, out=tmp_path / "o.mp4")
    assert not (tmp_path / "o.mp4").exists()


def test_bad_input_is_found_out_before_the_network_runs(tmp_path):
    face = save(tmp_path / "mouth.png", picture()[40:104, 60:124])
    audio, speaker, out = make_wav(tmp_path, 0.4), UnusedSpeaker(needs()), tmp_path / "o.mp4"
    silent = tmp_path / "silent.mp4"
    write_video(silent, [picture()] * 3)
    (tmp_path / "text.wav").write_text("no sound")

    def refused(error, match, **change):
        given = {"face": face, "audio": audio, "out": out, **change}
        with pytest.raises(error, match=match):
            generate(speaker, {}, **given)

    refused(ConfigError, "no such file for the face", face=tmp_path / "none.png")
    refused(ConfigError, "no such file for the audio", audio=tmp_path / "none.wav")
    refused(ConfigError, "is a folder; name a file for the face", face=tmp_path)
    refused(ConfigError, "there is no folder", out=tmp_path / "none" / "o.mp4")
    refused(ConfigError, "must end in .mp4", out=tmp_path / "o.avi")
    refused(ConfigError, "did you mean 'mouth'", face_kind="mout")
    refused(ConfigError, "there is no folder", report=tmp_path / "none" / "r.json")
    refused(MediaError, "silent.mp4: has no sound", audio=silent)
    refused(MediaError, "text.wav", audio=tmp_path / "text.wav")
    refused(MediaError, "text.wav", face=tmp_path / "text.wav")
    same = tmp_path / "mouth.mp4"
    write_video(same, [picture()] * 3, sound=tone(0.1, []))
    refused(ConfigError, "would overwrite the face", face=same, out=same)
    with pytest.raises(ConfigError, match="words"):
        generate(UnusedSpeaker(needs(text=True)), {}, face=face, audio=audio, out=out)


def test_a_list_survives_its_bad_rows(tmp_path):
    save(tmp_path / "mouth.png", picture()[40:104, 60:124])
    make_wav(tmp_path, 0.4)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    wav = "speech_0.4_16000.wav"
    rows = [
        "face, audio, out, face_kind",
        f"mouth.png, {wav}, one.mp4, mouth",
        f"broken.png, {wav}, two.mp4, mouth",
        "",
        "mouth.png, none.wav, three.mp4, mouth",
        f"mouth.png, {wav}, one.mp4, mouth",
        f"mouth.png, {wav}",
        f"mouth.png, {wav}, four.mp4, mouth",
    ]
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    seen = []
    talks = generate_many(
        LoudSpeaker(needs()),
        {},
        tmp_path / "pairs.csv",
        report=tmp_path / "report.json",
        progress=lambda what, done, total, left: seen.append((what, done, total)),
    )
    assert [talk.path.name for talk in talks.made] == ["one.mp4", "four.mp4"]
    assert [line for line, _ in talks.failed] == [3, 5, 6, 7]
    errors = [error for _, error in talks.failed]
    for error, part in zip(
        errors, ("broken.png", "none.wav", "earlier row", "for out"), strict=True
    ):
        assert part in error
    assert "2 made, 4 failed" in talks.summary()
    assert len(json.loads((tmp_path / "report.json").read_text())["failed"]) == 4
    assert ("6/6 speaking", 10, 10) in seen

    (tmp_path / "bad.csv").write_text("face,sound,out\n")
    with pytest.raises(ConfigError, match="'audio' is missing"):
        generate_many(LoudSpeaker(needs()), {}, tmp_path / "bad.csv")


def test_without_the_media_extra_the_error_says_how_to_get_it(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "cv2" else find(name, *a)
    )
    with pytest.raises(ConfigError, match=r"pip install 'lipjax\[media\]'"):
        generate(UnusedSpeaker(needs()), {}, face="a.png", audio="b.wav", out="c.mp4")


def test_the_toy_face_is_where_the_tests_think(tmp_path):
    transform = crops.single_mouth_transform(landmarks(), size=32, margin=1.5)
    middle = crops.apply(crops.invert(transform), np.array([[15.5, 15.5]]))[0]
    assert tuple(middle) == pytest.approx((96, 86), abs=0.1)
