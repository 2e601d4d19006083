# SPDX-License-Identifier: Apache-2.0
"""What a file declares is checked before memory is taken, and no file opens another."""

import os
import resource
import struct
import wave
import zlib
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from lipjax.errors import FaceNotFoundError, MediaError
from lipjax.media import crops
from lipjax.media.audio import Sound, read_sound, write_wav
from lipjax.media.image import decode_jpeg, read_image
from lipjax.media.landmark_status import MEASURED
from lipjax.media.limits import MAX_SAMPLES, MAX_SIDE
from lipjax.media.mp4_tables import too_many_samples
from lipjax.media.probing import most_held
from lipjax.media.video import probe, read_video, write_video


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Two seconds of noise, seen and heard."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (50, 48, 64, 3), np.uint8)
    sound = Sound((rng.normal(size=32_000) * 3000).astype(np.int16), 16_000)
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    write_video(path, frames, sound=sound)
    return path


def patched(film, folder, *changes, name="bad.mp4"):
    """A copy in which (box, offset in its body, bytes) are written, in each box of that kind."""
    data = bytearray(film.read_bytes())
    for kind, offset, value in changes:
        at = data.find(kind)
        assert at > 0
        while at > 0:
            data[at + 4 + offset : at + 4 + offset + len(value)] = value
            at = data.find(kind, at + 4)
    path = folder / name
    path.write_bytes(data)
    return path


def numbers(*values):
    return struct.pack(f">{len(values)}I", *values)


def test_a_film_as_it_should_be_is_read(film):
    assert too_many_samples(film) is None
    assert probe(film).duration == 2.0 and read_sound(film).duration > 1.9


def test_tables_that_declare_samples_without_end_are_refused_before_they_are_written_out(
    film, tmp_path
):
    count = 60_000_000  # would take 2 GB
    changes = [
        (b"stsz", 4, numbers(1, count)),
        (b"stsc", 4, numbers(1, 1, count, 1)),
        (b"stts", 4, numbers(1, count, 512)),
    ]
    for some in (changes, changes[:1], changes[2:]):
        path = patched(film, tmp_path, *some)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for read in (probe, read_sound, lambda p: list(read_video(p))):
            with pytest.raises(MediaError, match="tables declare 60,000,0.. samples|120,0"):
                read(path)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def box(kind, *parts):
    body = b"".join(parts)
    return numbers(8 + len(body)) + kind + body


def track(*tables, handler=b"vide"):
    kind = box(b"hdlr", bytes(8), handler, bytes(12))
    return box(b"trak", box(b"mdia", kind, box(b"minf", box(b"stbl", *tables))))


@pytest.mark.parametrize("where", ["plain", "fragment", "packed", "many tracks", "long table"])
def test_samples_are_counted_wherever_they_are_declared(tmp_path, where):
    sizes = box(b"stsz", numbers(0, 1, 30_000_000))
    inner = {
        "plain": box(b"moov", track(sizes)),
        "fragment": box(b"moof", box(b"traf", box(b"trun", numbers(0, 30_000_000)))),
        "packed": box(
            b"moov",
            box(b"cmov", box(b"cmvd", numbers(0), zlib.compress(box(b"moov", track(sizes))))),
        ),
        "many tracks": box(b"moov", *[track(box(b"stsz", numbers(0, 1, 600_000)))] * 40),
        "long table": box(b"moov", track(box(b"stts", numbers(0, 1 << 31, 1, 1)))),
    }[where]
    path = tmp_path / "a.mp4"
    path.write_bytes(box(b"ftyp", b"isom", numbers(0)) + inner)
    assert too_many_samples(path) > MAX_SAMPLES


def test_hours_of_plain_sound_are_no_absurd_samples(tmp_path):
    seconds, rate = 4 * 3600, 48_000
    tables = (
        box(b"stsz", numbers(0, 4, seconds * rate)),
        box(b"stts", numbers(0, 1, seconds * rate, 1)),
        box(b"stsc", numbers(0, 1, 1, rate, 1)),
        box(b"stco", numbers(0, seconds)),
    )
    path = tmp_path / "a.mov"
    with path.open("wb") as file:
        file.write(box(b"moov", track(*tables, handler=b"soun")))
        file.truncate(seconds * rate * 4)
    assert too_many_samples(path) is None


def test_declared_and_stamped_lengths(film, tmp_path):
    """Absurd lengths are refused; the limit is a setting."""
    no_edits = (b"elst", -4, b"free")  # they would cut it to what the header of all says
    late = patched(film, tmp_path, no_edits, (b"mdhd", 12, numbers(1, 40_000)))  # whole seconds
    for read in (probe, lambda p: list(read_video(p)), read_sound):
        with pytest.raises(MediaError, match=r"lasts [\d,]+ seconds, more than the 14,400 allowed"):
            read(late)
    slow = patched(film, tmp_path, no_edits, (b"stts", 4, numbers(1, 50, 12_800 * 300)))
    with pytest.raises(MediaError, match="more than the 14,400 allowed"):
        probe(slow)
    shown = 0
    with pytest.raises(MediaError, match="more than the 1,000 allowed"):
        for frame in read_video(slow, fps=1, max_seconds=1000):
            shown += frame.image.shape[0] > 0
    assert shown <= 1000
    with pytest.raises(MediaError, match="more than the 1 allowed"):
        probe(film, max_seconds=1)
    with pytest.raises(MediaError, match="more than the 1 allowed"):
        read_sound(film, max_seconds=1)


def test_a_hole_in_the_sound_takes_no_memory_before_it_is_judged(tmp_path):
    path = tmp_path / "a.mka"
    with av.open(str(path), "w", format="matroska") as output:
        stream = output.add_stream("pcm_s16le", rate=48_000, layout="mono")
        for at in range(0, 5000, 500):
            for part in range(40):
                frame = av.AudioFrame.from_ndarray(np.ones((1, 1000), np.int16), "s16", "mono")
                frame.sample_rate, frame.time_base = 48_000, Fraction(1, 48_000)
                frame.pts = at * 48_000 + part * 1000
                output.mux(stream.encode(frame))
    with pytest.raises(MediaError, match="more than the 300 allowed"):
        read_sound(path, max_seconds=300)
    assert 4500 < read_sound(path, max_seconds=6000).duration < 4502


def wav(path, *, rate=16_000, channels=1, samples=4000):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(2 * samples * channels))
    data = bytearray(path.read_bytes())
    data[22:28] = struct.pack("<HI", channels, rate)
    data[32:34] = struct.pack("<H", min(65535, 2 * channels))
    path.write_bytes(data)
    return path


def test_absurd_rates_and_channels_of_sound(tmp_path):
    assert read_sound(wav(tmp_path / "a.wav")).rate == 16_000
    for rate in (1, 999, 768_001, 2**31 - 1):
        with pytest.raises(
            MediaError, match="allowed are 1,000 to 768,000|cannot be decoded|not a"
        ):
            read_sound(wav(tmp_path / "a.wav", rate=rate))
    assert read_sound(wav(tmp_path / "a.wav", channels=64)).duration > 0.2
    with pytest.raises(MediaError, match="65 channels, more than the 64 allowed"):
        read_sound(wav(tmp_path / "a.wav", channels=65))
    with pytest.raises(MediaError, match="2 channels, more than the 1 allowed"):
        read_sound(wav(tmp_path / "a.wav", channels=2), max_channels=1)
    with pytest.raises(MediaError, match="max_source_rate"):
        read_sound(wav(tmp_path / "a.wav", rate=96_000), max_source_rate=48_000)


@pytest.mark.parametrize("count, layout", [(1, "mono"), (6, "5.1"), (8, "7.1"), (16, "9.1.6")])
@pytest.mark.parametrize(
    "codec, name", [("aac", "a.mp4"), ("wavpack", "a.wv"), ("pcm_f32le", "a.mkv")]
)
def test_sound_of_many_channels(tmp_path, count, layout, codec, name):
    """Eight channels in planes of their own end the process in PyAV's `to_ndarray`."""
    if codec == "aac" and count == 16:
        layout = "hexadecagonal"
    time = np.arange(24_000) / 48_000
    tone = np.sin(2 * np.pi * 440 * time) * 0.5
    sound = np.tile(tone[:, None], count).astype(np.float32).reshape(1, -1)
    with av.open(str(tmp_path / name), "w") as output:
        stream = output.add_stream(codec, rate=48_000, layout=layout)
        size = stream.codec_context.frame_size or 1024
        changed = av.AudioResampler(stream.codec_context.format, layout, 48_000, size)
        frame = av.AudioFrame.from_ndarray(sound, "flt", layout)
        frame.sample_rate = 48_000
        for part in [*changed.resample(frame), *changed.resample(None)]:
            output.mux(stream.encode(part))
        output.mux(stream.encode())
    found = read_sound(tmp_path / name)
    assert abs(found.duration - 0.5) < 0.05
    middle = found.between(found.start + 0.1, found.start + 0.4) / 32768
    assert 0.3 < np.sqrt(2 * np.mean(middle**2)) / 0.5 < 1.05  # AAC narrows the low-effects channel
    crossings = np.count_nonzero(np.diff(np.signbit(middle)))
    assert abs(crossings - 2 * 440 * 0.3) < 4


def test_sound_above_the_rate_is_brought_down_as_before(tmp_path):
    from lipjax.media.resampling import resample, to_float, to_int16

    rng = np.random.default_rng(0)
    samples = rng.integers(-20_000, 20_000, 2_300_000).astype(np.int16)
    write_wav(tmp_path / "a.wav", Sound(samples, 96_000))
    found = read_sound(tmp_path / "a.wav")
    whole = to_int16(resample(to_float(samples), 96_000, 48_000))
    np.testing.assert_array_equal(found.samples, whole)


def test_no_file_opens_another(film, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.link(film, tmp_path / "secret.mp4")
    with av.open("secret.ts", "w") as output:
        stream = output.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for frame in read_video(film):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(frame.image, format="rgb24")))
        output.mux(stream.encode())
    Image.new("RGB", (64, 48)).save("p001.png")
    lists = {
        "a.mp4": "ffconcat version 1.0\nfile secret.mp4\n",
        "a.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:2,\nsecret.ts\n#EXT-X-ENDLIST\n",
        "a.mkv": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:2,\nsecret.ts\n#EXT-X-ENDLIST\n",
        "p%03d.png": "x",
        "a.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nt=0 0\nm=video 5004 RTP/AVP 96\n",
        "a.txt": "just words, which FFmpeg could draw\n" * 40,
    }
    with av.open(_listed(tmp_path / "x.mp4", lists["a.mp4"])) as container:
        assert container.format.name == "concat"  # what happens without our checks
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(MediaError, match="not a readable sound or video"):
            probe(name)


def _listed(path, text):
    path.write_text(text)
    return str(path)


def test_pictures_that_wait_for_a_stamp_are_bounded():
    assert most_held(1920, 1080) == 32
    assert 2 <= most_held(8192, 6100) * 8192 * 6100 / 50e6 <= 4.1
    assert most_held(0, 0) == 32


def test_long_thin_and_huge_pictures(tmp_path):
    Image.new("RGB", (MAX_SIDE + 1, 2)).save(tmp_path / "thin.png")
    with pytest.raises(MediaError, match="32767 x 2 pixels"):
        read_image(tmp_path / "thin.png")
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = numbers(13) + b"IHDR" + head + numbers(zlib.crc32(b"IHDR" + head))
    (tmp_path / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + numbers(0) + b"IDAT")
    with pytest.raises(MediaError, match="pixels, more than"):
        read_image(tmp_path / "huge.png")


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (12, 30_000), (MAX_SIDE, 2)])
def test_no_face_is_found_in_a_strip(size):
    pytest.importorskip("dlib")
    from lipjax.media.faces import face_in_image, load_backend

    with pytest.raises(FaceNotFoundError):
        face_in_image(np.full((*size, 3), 128, np.uint8), load_backend("dlib"))


def test_pictures_that_are_programs_or_pipes(tmp_path):
    ran = tmp_path / "ran"
    program = f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n({ran}) (w) file\nshowpage\n"
    (tmp_path / "a.png").write_text(program)
    with Image.open(tmp_path / "a.png") as opened:
        assert opened.format == "EPS"  # which Pillow would give to Ghostscript
    with pytest.raises(MediaError, match="not a picture that can be read"):
        read_image(tmp_path / "a.png")
    assert not ran.exists()
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(MediaError, match="no such file"):
        read_image(tmp_path / "pipe.png")


def test_a_jpeg_of_endless_scans(tmp_path):
    Image.new("RGB", (64, 64), (9, 99, 200)).save(tmp_path / "a.jpg", progressive=True)
    data = (tmp_path / "a.jpg").read_bytes()
    assert read_image(tmp_path / "a.jpg").shape == decode_jpeg(data).shape == (64, 64, 3)
    last = data.rindex(b"\xff\xda")
    bomb = data[:last] + data[last:-2] * 1000 + data[-2:]
    (tmp_path / "a.jpg").write_bytes(bomb)
    with pytest.raises(MediaError, match="more than 500 scans"):
        read_image(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match="scans"):
        decode_jpeg(bomb)
    with pytest.raises(ValueError, match="64 x 64"):
        decode_jpeg(data, max_pixels=1000)
    with pytest.raises(ValueError):
        decode_jpeg(b"\x89PNG no jpeg")


def test_landmarks_that_make_no_face():
    rng = np.random.default_rng(0)
    status = np.full(5, MEASURED)
    for points in (np.zeros((5, 68, 2)), np.full((5, 68, 2), 7.0), np.full((5, 68, 2), 1e300)):
        with pytest.raises(FaceNotFoundError):
            crops.mouth_transforms(points, status)
    wild = crops.mouth_transforms(rng.normal(size=(5, 68, 2)) * 1e5, status)
    assert np.isfinite(wild).all()


def test_a_crop_of_almost_nothing_or_everything_takes_little_memory():
    image = np.full((20, 30, 3), 77, np.uint8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for scale in (1e-9, 1e-4, 0.0, 1e9):
        transform = np.array([[scale, 0, 3.0], [0, scale, 4.0]])
        assert crops.warp(image, transform, 96).shape == (96, 96, 3)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 700_000  # kB
