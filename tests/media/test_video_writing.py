# SPDX-License-Identifier: Apache-2.0
"""Writing videos: in step with their sound, complete or not there at all."""

import av
import numpy as np
import pytest

from lipjax.errors import ConfigError, MediaError
from lipjax.media import video_writing
from lipjax.media.audio import Sound, read_sound, to_float
from lipjax.media.video import probe, read_video, write_video


def _frames(count, size=(48, 64), flash=None):
    for index in range(count):
        yield np.full((*size, 3), 255 if index == flash else 0, np.uint8)


def _click(rate, seconds, at, start=0.0):
    samples = np.zeros(round(rate * seconds), np.int16)
    first = round((at - start) * rate)
    samples[first : first + max(4, rate // 500)] = 30_000
    return Sound(samples, rate, start)


@pytest.mark.parametrize("fps", [24, 25, 30000 / 1001, 30])
@pytest.mark.parametrize("rate, start", [(48_000, 0.0), (44_100, 0.3), (16_000, -0.2), (10_000, 0)])
@pytest.mark.parametrize("extension", ["mp4", "mkv"])
def test_click_and_flash_stay_together(tmp_path, fps, rate, start, extension):
    index = round(0.8 * fps)
    sound = _click(rate, 1.5, index / fps, start)
    path = tmp_path / f"a.{extension}"
    info = write_video(path, _frames(round(1.4 * fps), flash=index), fps=fps, sound=sound)
    back = read_sound(path)
    loud = np.abs(to_float(back.samples))
    click = back.start + np.argmax(loud > loud.max() / 2) / back.rate - info.start
    shown = [f.source_time for f in read_video(path, fps=fps) if f.image.mean() > 128]
    assert len(shown) == 1
    assert abs(click - index / fps) < 0.002
    assert abs(shown[0] - info.start - index / fps) < 0.0011


@pytest.mark.parametrize("seconds", [0.3, 1.0, 7.0])
def test_sound_takes_the_pictures_length(tmp_path, seconds):
    rng = np.random.default_rng(0)
    sound = Sound(rng.integers(-9000, 9000, round(16_000 * seconds), dtype=np.int16), 16_000)
    info = write_video(tmp_path / "a.mp4", _frames(50), sound=sound)
    assert (info.duration, info.fps, info.has_sound) == (2.0, 25.0, True)
    back = read_sound(tmp_path / "a.mp4")
    assert 2.0 <= back.end < 2.1
    after = to_float(back.between(min(seconds, 2.0) + 0.1, 2.0))
    assert not len(after) or np.abs(after).max() < 0.01
    assert to_float(back.between(0.1, 0.25)).std() > 0.05


def test_odd_sizes_colours_and_comment(tmp_path):
    image = np.zeros((49, 63, 3), np.uint8)
    image[:, :32], image[:, 32:] = (200, 60, 40), (30, 90, 220)
    info = write_video(tmp_path / "a.mp4", [image] * 5, comment="made by a test", crf=10)
    assert (info.width, info.height, info.has_sound) == (64, 50, False)
    assert info.path == str(tmp_path / "a.mp4")
    back = next(read_video(tmp_path / "a.mp4")).image.astype(int)
    assert np.abs(back[:49, :28] - image[:, :28]).max() <= 4
    assert np.abs(back[:49, 36:63] - image[:, 36:]).max() <= 4
    assert np.abs(back[49, 36:] - (30, 90, 220)).max() <= 5
    with av.open(str(tmp_path / "a.mp4")) as file:
        assert file.metadata["comment"] == file.metadata["title"] == "made by a test"
        context = file.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")


def test_nothing_is_left_after_a_failure(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")

    def broken():
        yield from _frames(3)
        raise RuntimeError("the generator broke")

    with pytest.raises(RuntimeError, match="broke"):
        write_video(path, broken())
    with pytest.raises(MediaError, match="no frames"):
        write_video(path, [])
    with pytest.raises(MediaError, match="size changed"):
        write_video(path, [np.zeros((8, 8, 3), np.uint8), np.zeros((8, 10, 3), np.uint8)])
    with pytest.raises(MediaError, match="uint8"):
        write_video(path, [np.zeros((8, 8, 3), np.float32)])
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]
    assert path.read_bytes() == b"old"


def test_impossible_settings_are_found_before_any_frame(tmp_path, monkeypatch):
    taken = []
    frames = (taken.append(i) for i in range(3))
    with pytest.raises(ConfigError, match=r"did you mean '\.mp4'"):
        write_video(tmp_path / "a.mp3", frames)
    with pytest.raises(ConfigError, match="fps"):
        write_video(tmp_path / "a.mp4", frames, fps=0.0)
    with pytest.raises(ConfigError, match="crf"):
        write_video(tmp_path / "a.mp4", frames, crf=99)
    with pytest.raises(MediaError, match="cannot be written"):
        write_video(tmp_path / "no" / "a.mp4", frames)
    real = av.codec.Codec

    def without_h264(name, mode="r"):
        if name == "libx264":
            raise ValueError(name)
        return real(name, mode)

    monkeypatch.setattr(av.codec, "Codec", without_h264)
    with pytest.raises(ConfigError, match="libx264"):
        write_video(tmp_path / "a.mp4", frames)
    assert not taken and not list(tmp_path.iterdir())


def test_a_file_that_is_not_as_meant_is_noticed(tmp_path, monkeypatch):
    real = video_writing._encode

    def lost_frames(*args):
        count, size = real(*args)
        return count + 3, size

    monkeypatch.setattr(video_writing, "_encode", lost_frames)
    with pytest.raises(MediaError, match="does not read back"):
        write_video(tmp_path / "a.mp4", _frames(25))
    monkeypatch.setattr(video_writing, "_encode", real)
    monkeypatch.setattr(video_writing, "_encode_sound", lambda *args: [])
    with pytest.raises(MediaError, match="sound lasts"):
        write_video(tmp_path / "a.mp4", _frames(25), sound=_click(16_000, 1, 0.5))
    assert not list(tmp_path.iterdir())


def test_frames_are_taken_one_by_one(tmp_path):
    alive = [0, 0]

    class Tracked(np.ndarray):
        def __del__(self):
            alive[0] -= 1

    def frames():
        for _ in range(100):
            alive[0] += 1
            alive[1] = max(alive)
            yield np.zeros((16, 16, 3), np.uint8).view(Tracked)

    write_video(tmp_path / "a.mp4", frames())
    assert alive[1] < 20
    assert probe(tmp_path / "a.mp4").duration == 4.0
