# SPDX-License-Identifier: Apache-2.0
"""Reading videos: frames by presentation time, whatever the file does."""

import tracemalloc
from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest

from lipjax.errors import ConfigError, MediaError
from lipjax.media.timing import timed
from lipjax.media.video import is_video_name, probe, read_video

_TICK = Fraction(1, 90_000)


def _level(index: int) -> int:
    return 20 + (index * 37) % 200


def _write(
    path, times, *, rate=25, codec="libx264", form=None, size=(48, 64), image=None, setup=None, **kw
):
    """A video whose picture k, shown from times[k] seconds, is grey of level `_level(k)`."""
    options = {"libx264": {"crf": "8", "preset": "ultrafast"}}.get(codec, {})
    with av.open(str(path), "w", format=form, **kw) as output:
        stream = output.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = size[1], size[0], "yuv420p"
        if codec == "libx264":
            stream.codec_context.time_base = _TICK
        if codec != "libx264":
            stream.codec_context.qmin = stream.codec_context.qmax = 2
        if setup:
            setup(stream)
        for index, time in enumerate(times):
            pixels = np.full((*size, 3), _level(index), np.uint8) if image is None else image
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = (
                (round(time / _TICK), _TICK) if codec == "libx264" else (index, Fraction(1, 25))
            )
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path


def _check_slots(path, times, start, *, tolerance=3.0):
    """Every frame must be the picture on display at start + (n + 1/2) / 25."""
    frames = list(read_video(path))
    for n, frame in enumerate(frames):
        middle = times[0] + (n + 0.5) / 25
        expected = int(np.searchsorted(np.asarray(times), middle + 1e-3, side="right")) - 1
        near = np.abs(np.asarray(times) - middle).min() < 2e-3  # a tie that rounding decides
        assert abs(frame.source_index - expected) <= (1 if near else 0), (n, frame.source_index)
        assert abs(frame.image.mean() - _level(frame.source_index)) < tolerance
        assert abs(frame.source_time - start - (times[frame.source_index] - times[0])) < 1.1e-3
    return frames


@pytest.mark.parametrize("rate", [12, 24, 25, 30000 / 1001, 30, 50, 60])
@pytest.mark.parametrize("extension", ["mp4", "mkv", "ts"])
def test_any_rate_gives_the_picture_on_display(tmp_path, rate, extension):
    begin = 1.4 if extension == "ts" else 0.0
    times = begin + np.arange(round(rate * 1.5)) / rate
    path = _write(tmp_path / f"a.{extension}", times, rate=Fraction(rate).limit_denominator(1001))
    info = probe(path)
    frames = _check_slots(path, times, info.start)
    assert abs(len(frames) - len(times) / rate * 25) <= 1
    assert abs(info.fps - rate) < 0.05
    assert abs(info.duration - len(times) / rate) < 0.05
    assert abs(info.start - begin) < 1e-3


def test_variable_rate(tmp_path):
    steps = np.random.default_rng(3).uniform(0.005, 0.2, 60)
    times = np.concatenate([[0.0], np.cumsum(steps)])
    path = _write(tmp_path / "a.mkv", times)
    frames = _check_slots(path, times, 0.0)
    assert abs(len(frames) - times[-1] * 25) <= 2
    assert abs(probe(path).duration - times[-1]) < 0.1


def test_other_slot_rate(tmp_path):
    path = _write(tmp_path / "a.mp4", np.arange(50) / 25)
    assert [f.source_index for f in read_video(path, fps=12.5)] == list(range(1, 50, 2))
    assert len(list(read_video(path, fps=50))) == 100
    with pytest.raises(ConfigError, match="fps"):
        read_video(path, fps=0)


@pytest.mark.parametrize(
    "codec, extension, form",
    [("mpeg1video", "mpg", "mpeg"), ("mpeg2video", "vob", "vob"), ("mpeg4", "avi", "avi")],
)
def test_old_formats_keep_every_picture(tmp_path, codec, extension, form):
    times = np.arange(40) / 25
    path = _write(tmp_path / f"a.{extension}", times, codec=codec, form=form)
    info = probe(path)
    frames = _check_slots(path, times, info.start, tolerance=6.0)
    assert [f.source_index for f in frames] == list(range(40))
    assert abs(info.duration - 1.6) < 1e-3


def _stamps(values, step=0.04, slack=0.0):
    frames = [SimpleNamespace(pts=v, dts=None, time_base=Fraction(1, 1000)) for v in values]
    return [round(time, 6) for _, time in timed(iter(frames), step, slack)]


def test_missing_and_repeated_stamps_are_spread():
    even = [0.0, 0.04, 0.08, 0.12, 0.16]
    assert _stamps([0, 40, 80, 120, 160]) == even
    assert _stamps([0, None, None, 120, None]) == even
    assert _stamps([None, None, 80, 120, 160]) == even
    assert _stamps([0, 0, 80, 80, 160]) == even
    assert _stamps([None] * 5) == even
    long = _stamps([None] * 200)
    np.testing.assert_allclose(np.diff(long), 0.04, atol=1e-6)


def test_stamps_near_the_beat_move_onto_it_where_the_format_is_known_to_err():
    assert _stamps([0, 80, 120, 140], slack=0.05) == [0.0, 0.04, 0.08, 0.12]
    assert _stamps([0, 40, 200, 240], slack=0.05) == [0.0, 0.04, 0.2, 0.24]


def test_a_few_wild_stamps_are_not_believed():
    even = [0.0, 0.04, 0.08, 0.12, 0.16]
    assert _stamps([0, 40, 33_000, 120, 160]) == even
    assert _stamps([0, 40, 80, 120, 33_000]) == even
    assert _stamps([0, 40, 33_000, 33_040, 160]) == even
    late = [9.0, 9.04, 9.08, 9.12, 9.16]
    assert _stamps([9000, 9040, 1000, 9120, 9160]) == late
    assert _stamps([9000, 9040, 1000, 1040, 9160]) == late


def test_clock_resets_are_folded_and_pauses_are_kept():
    assert _stamps([5000, 5040, 0, 40, 80]) == [5.0, 5.04, 5.08, 5.12, 5.16]
    assert _stamps([0, 40, 90_000_000, 90_000_040]) == [0.0, 0.04, 0.08, 0.12]
    assert _stamps([0, 40, 20_000, 20_040]) == [0.0, 0.04, 20.0, 20.04]
    assert _stamps([0, 2000, 2040, 2080], step=2.0) == [0.0, 2.0, 2.04, 2.08]


@pytest.mark.parametrize("degrees, quarter", [(90, (1, 0)), (180, (1, 1)), (-90, (0, 1))])
def test_rotation_tag_is_applied(tmp_path, degrees, quarter):
    image = np.zeros((48, 64, 3), np.uint8)
    image[:24, :32] = 255
    path = tmp_path / "a.mp4"
    _write(path, [0, 0.04], image=image, setup=lambda s: s.set_display_rotation(degrees))
    # The file format's own matrix: a picture turned clockwise has b = 1, c = -1.
    header = path.read_bytes()
    at = header.index(b"tkhd") + 44
    matrix = np.frombuffer(header[at : at + 36], ">i4") / 65536
    assert (matrix[1], matrix[3]) == {90: (-1, 1), 180: (0, 0), -90: (1, -1)}[degrees]
    upright = next(read_video(path)).image
    info = probe(path)
    assert upright.shape == (info.height, info.width, 3)
    assert upright.shape[:2] == ((64, 48) if degrees != 180 else (48, 64))
    height, width = upright.shape[0] // 2, upright.shape[1] // 2
    bright = upright.reshape(2, height, 2, width, 3).mean(axis=(1, 3, 4)) > 128
    assert bright.sum() == 1 and bright[quarter]


def test_oblong_pixels_become_square(tmp_path):
    def anamorphic(stream):
        stream.codec_context.sample_aspect_ratio = Fraction(3, 2)

    path = _write(tmp_path / "a.mp4", [0, 0.04], setup=anamorphic)
    info = probe(path)
    assert (info.width, info.height) == (96, 48)
    assert next(read_video(path)).image.shape == (48, 96, 3)


def test_colours_follow_the_file_s_tag(tmp_path):
    image = np.empty((48, 64, 3), np.uint8)
    image[:] = (200, 60, 40)
    path = _write(tmp_path / "a.mp4", [0, 0.04], image=image)
    assert np.abs(next(read_video(path)).image[24, 32].astype(int) - (200, 60, 40)).max() <= 3


@pytest.mark.parametrize("codec, extension", [("libvpx-vp9", "webm"), ("mjpeg", "mkv")])
def test_the_full_range_of_screens_and_webcams_is_read_as_such(tmp_path, codec, extension):
    path, levels = tmp_path / f"range.{extension}", np.linspace(5, 250, 64).astype(np.uint8)
    image = np.repeat(np.broadcast_to(levels, (48, 64))[..., None], 3, axis=-1)
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        if codec != "mjpeg":
            stream.pix_fmt = "yuv420p"
        stream.codec_context.color_range = 2
        # Grey is its own luma, so that nothing is converted on the way in.
        planes = [image[..., 0], *2 * [np.full((24, 32), 128, np.uint8)]]
        frame = av.VideoFrame.from_ndarray(
            np.concatenate([plane.ravel() for plane in planes]).reshape(72, 64), stream.pix_fmt
        )
        frame.pts, frame.time_base, frame.color_range = 0, Fraction(1, 25), 2
        output.mux(stream.encode(frame))
        output.mux(stream.encode())
    (read,) = read_video(path)
    assert np.abs(read.image.astype(int) - image)[:, 4:-4].max() < 6


def test_truncated_file_gives_what_decodes(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (96, 128, 3), dtype=np.uint8)
    for name, kw in {"a.mp4": {"options": {"movflags": "+faststart"}}, "a.ts": {}}.items():
        whole = _write(tmp_path / name, np.arange(100) / 25, image=image, size=(96, 128), **kw)
        cut = tmp_path / f"cut_{name}"
        cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.6)])
        count = len(list(read_video(cut)))
        assert 35 <= count <= 75
        assert abs(probe(cut).duration - count / 25) <= 0.2


def test_damage_in_the_middle_is_skipped(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (96, 128, 3), dtype=np.uint8)
    whole = _write(tmp_path / "a.ts", np.arange(100) / 25, image=image, size=(96, 128))
    data = bytearray(whole.read_bytes())
    third = len(data) // 3
    data[third : third + 3000] = rng.bytes(3000)
    (tmp_path / "b.ts").write_bytes(data)
    frames = list(read_video(tmp_path / "b.ts"))
    assert 95 <= len(frames) <= 101
    assert np.all(np.diff([f.source_time for f in frames]) >= 0)


def test_what_is_no_video_is_a_clear_error(tmp_path):
    with pytest.raises(MediaError, match="no such file"):
        probe(tmp_path / "none.mp4")
    with pytest.raises(MediaError, match="no such file"):
        probe(tmp_path)
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(MediaError, match="empty"):
        probe(tmp_path / "empty.mp4")
    (tmp_path / "text.mp4").write_text("these are words, no pictures\n" * 100)
    with pytest.raises(MediaError, match="text.mp4"):
        next(read_video(tmp_path / "text.mp4"))
    headless = _write(tmp_path / "a.mp4", np.arange(50) / 25).read_bytes()[:-300]
    (tmp_path / "headless.mp4").write_bytes(headless)  # the index is at the end
    with pytest.raises(MediaError, match="truncated"):
        probe(tmp_path / "headless.mp4")
    with av.open(str(tmp_path / "sound.mp4"), "w") as output:
        stream = output.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        frame.sample_rate = 16_000
        output.mux(stream.encode(frame))
        output.mux(stream.encode())
    with pytest.raises(MediaError, match="no picture"):
        probe(tmp_path / "sound.mp4")


def test_lying_extension_is_read_all_the_same(tmp_path):
    path = _write(tmp_path / "a.avi", np.arange(10) / 25, form="matroska")
    assert len(list(read_video(path))) == 10


def test_large_pictures_are_refused(tmp_path):
    path = _write(tmp_path / "a.mp4", [0, 0.04])
    with pytest.raises(MediaError, match="64 x 48"):
        next(read_video(path, max_pixels=64 * 48 - 1))
    # A picture header that declares 4095 x 4095 pixels, though the stream holds none such.
    data = _write(tmp_path / "b.mpg", [0, 0.04], codec="mpeg1video", form="mpeg").read_bytes()
    at = data.index(bytes.fromhex("000001b3")) + 4
    (tmp_path / "c.mpg").write_bytes(data[:at] + b"\xff\xff\xff" + data[at + 3 :])
    with pytest.raises(MediaError, match="4095 x 4095"):
        next(read_video(tmp_path / "c.mpg", max_pixels=10_000_000))


def test_memory_does_not_grow(tmp_path):
    path = _write(tmp_path / "a.mp4", np.arange(150) / 25, size=(240, 320))
    tracemalloc.start()
    count = sum(1 for _ in read_video(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 150
    assert peak < 10 * 240 * 320 * 3


def test_names():
    assert is_video_name("x/Y.MPG") and is_video_name("a.mp4") and not is_video_name("a.wav")
