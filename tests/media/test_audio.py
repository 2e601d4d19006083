# SPDX-License-Identifier: Apache-2.0
"""Reading sound: any format, on the file's clock; the level of speech."""

import builtins
import math
import wave
from fractions import Fraction

import av
import numpy as np
import pytest

from lipjax.errors import ConfigError, MediaError
from lipjax.media.audio import (
    LogMel,
    Sound,
    level_gain,
    read_sound,
    resample,
    speech_level,
    to_float,
    write_wav,
)


def _tone(rate, seconds, hertz=440.0, level=0.3):
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)).astype(
        np.float32
    )


def _write(path, chunks, *, codec, rate, layout="mono", fmt=None, picture=False, form=None):
    """Writes sound chunks [(start in seconds, float [channels, n])], optionally with a picture."""
    with av.open(str(path), "w", format=form) as output:
        video = None
        if picture:
            video = output.add_stream("libx264", rate=25)
            video.width = video.height = 32
            video.pix_fmt = "yuv420p"
        stream = output.add_stream(codec, rate=rate)
        stream.layout = layout
        stream.format = fmt or stream.codec.audio_formats[0].name
        stream.codec_context.time_base = Fraction(1, rate)
        if video is not None:
            for index in range(50):
                frame = av.VideoFrame.from_ndarray(
                    np.full((32, 32, 3), 5 * index, np.uint8), "rgb24"
                )
                frame.pts, frame.time_base = index, Fraction(1, 25)
                output.mux(video.encode(frame))
            output.mux(video.encode())
        size = stream.codec_context.frame_size or 1024
        convert = av.AudioResampler(format=stream.format, layout=layout, rate=rate)
        for start, samples in chunks:
            for first in range(0, samples.shape[1], size):
                piece = np.ascontiguousarray(samples[:, first : first + size], np.float32)
                frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout=layout)
                frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
                frame.pts = round(start * rate) + first
                for converted in convert.resample(frame):
                    output.mux(stream.encode(converted))
        output.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    "codec, fmt",
    [
        ("pcm_u8", "u8"),
        ("pcm_s16le", "s16"),
        ("pcm_s24le", "s32"),
        ("pcm_s32le", "s32"),
        ("pcm_f32le", "flt"),
        ("pcm_f64le", "dbl"),
    ],
)
@pytest.mark.parametrize("layout, channels", [("mono", 1), ("stereo", 2), ("5.1", 6)])
def test_every_sample_format_and_layout(tmp_path, codec, fmt, layout, channels):
    rate = 16_000
    gains = np.linspace(1.0, 0.2, channels)[:, None].astype(np.float32)
    tone = _tone(rate, 0.5)
    path = _write(
        tmp_path / "a.wav", [(0, gains * tone)], codec=codec, rate=rate, layout=layout, fmt=fmt
    )
    sound = read_sound(path)
    assert (sound.rate, sound.start, len(sound.samples)) == (rate, 0.0, 8000)
    tolerance = 1 / 128 if codec == "pcm_u8" else 1.1 / 32768
    np.testing.assert_allclose(to_float(sound.samples), gains.mean() * tone, atol=tolerance)


@pytest.mark.parametrize(
    "codec, extension, rate, layout",
    [
        ("aac", "m4a", 44_100, "stereo"),
        ("aac", "mp4", 48_000, "mono"),
        ("libmp3lame", "mp3", 44_100, "mono"),
        ("libopus", "webm", 48_000, "mono"),
        ("libopus", "ogg", 48_000, "stereo"),
        ("mp2", "mp2", 44_100, "stereo"),
        ("flac", "flac", 22_050, "mono"),
        ("ac3", "mkv", 48_000, "stereo"),
    ],
)
def test_codecs_keep_time(tmp_path, codec, extension, rate, layout):
    """A click is found where it was, whatever priming the codec adds."""
    click = np.zeros((2 if layout == "stereo" else 1, rate), np.float32)
    click[:, rate // 2 : rate // 2 + rate // 200] = 0.8
    path = _write(tmp_path / f"a.{extension}", [(0, click)], codec=codec, rate=rate, layout=layout)
    sound = read_sound(path)
    loud = np.abs(to_float(sound.samples))
    first = sound.start + np.argmax(loud > 0.4 * loud.max()) / sound.rate
    # Raw MP2 and AC-3 in Matroska carry no note of the encoder's delay (481 and 256 samples).
    late = {"mp2": 481 / rate, "ac3": 256 / rate}.get(codec, 0.0)
    assert -0.002 < first - 0.5 < late + 0.002
    assert sound.start == 0.0 and 1.0 <= sound.duration < 1.09 + late


def test_start_and_gap_follow_the_clock(tmp_path):
    rate = 16_000
    tone = _tone(rate, 0.5)[None]
    path = _write(
        tmp_path / "a.mkv",
        [(0.4, tone), (1.2, tone)],
        codec="pcm_s16le",
        rate=rate,
        picture=True,
    )
    sound = read_sound(path)
    assert abs(sound.start - 0.4) < 1e-3
    assert abs(sound.duration - 1.3) < 2e-3
    assert np.all(sound.between(0.0, 0.39) == 0)
    assert np.all(sound.between(0.95, 1.15) == 0)
    for begin in (0.41, 1.21):
        assert to_float(sound.between(begin, begin + 0.4)).std() > 0.2


def test_overlap_is_cut_and_jitter_is_not(tmp_path):
    rate = 16_000
    tone = _tone(rate, 1.0)[None]
    jitter = [(k * 0.064 + 0.004 * (k % 2), tone[:, k * 1024 : (k + 1) * 1024]) for k in range(15)]
    path = _write(tmp_path / "a.mkv", jitter, codec="pcm_s16le", rate=rate, picture=True)
    np.testing.assert_array_less(
        np.abs(to_float(read_sound(path).samples) - tone[0, : 15 * 1024]), 1e-4
    )
    twice = [(0.0, tone[:, :8192]), (0.48, tone[:, 7680:])]  # from 0.48 to 0.512 said twice
    path = _write(tmp_path / "b.mkv", twice, codec="pcm_s16le", rate=rate, picture=True)
    np.testing.assert_allclose(to_float(read_sound(path).samples), tone[0], atol=1e-2)


def test_high_rates_are_brought_down(tmp_path):
    path = _write(tmp_path / "a.wav", [(0, _tone(96_000, 1)[None])], codec="pcm_s16le", rate=96_000)
    sound = read_sound(path)
    assert (sound.rate, len(sound.samples)) == (48_000, 48_000)
    middle = slice(4800, 43_200)
    np.testing.assert_allclose(to_float(sound.samples)[middle], _tone(48_000, 1)[middle], atol=1e-3)
    assert read_sound(path, max_rate=96_000).rate == 96_000


def test_truncated_sound_gives_what_decodes(tmp_path):
    for extension, codec in (("mp3", "libmp3lame"), ("wav", "pcm_s16le"), ("flac", "flac")):
        noise = np.random.default_rng(0).normal(0, 0.1, (1, 88_200))
        path = _write(tmp_path / f"a.{extension}", [(0, noise)], codec=codec, rate=44_100)
        cut = tmp_path / f"cut.{extension}"
        cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        assert 0.8 < read_sound(cut).duration < 1.2


def test_no_sound_is_a_clear_error(tmp_path):
    with pytest.raises(MediaError, match="no such file"):
        read_sound(tmp_path / "none.wav")
    (tmp_path / "empty.wav").touch()
    with pytest.raises(MediaError, match="empty"):
        read_sound(tmp_path / "empty.wav")
    (tmp_path / "text.wav").write_text("no sound here " * 50)
    with pytest.raises(MediaError, match="text.wav"):
        read_sound(tmp_path / "text.wav")
    with av.open(str(tmp_path / "silent.mp4"), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width = stream.height = 32
        output.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        output.mux(stream.encode())
    with pytest.raises(MediaError, match="has no sound"):
        read_sound(tmp_path / "silent.mp4")
    write_wav(tmp_path / "nothing.wav", Sound(np.zeros(0, np.int16), 16_000))
    with pytest.raises(MediaError, match="nothing.wav"):
        read_sound(tmp_path / "nothing.wav")


def test_wav_round_trip_is_exact(tmp_path):
    samples = np.random.default_rng(0).integers(-32768, 32767, 5000, dtype=np.int16)
    write_wav(tmp_path / "a.wav", Sound(samples, 22_050))
    back = read_sound(tmp_path / "a.wav")
    assert (back.rate, back.start) == (22_050, 0.0)
    np.testing.assert_array_equal(back.samples, samples)
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getnframes()) == (1, 2, 5000)
    with pytest.raises(MediaError, match="cannot be written"):
        write_wav(tmp_path / "no" / "a.wav", Sound(samples, 22_050))
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]


def test_between():
    sound = Sound(np.arange(1, 101, dtype=np.int16), 100, start=0.5)
    assert (sound.duration, sound.end) == (1.0, 1.5)
    np.testing.assert_array_equal(sound.between(0.5, 0.53), [1, 2, 3])
    np.testing.assert_array_equal(sound.between(0.48, 0.52), [0, 0, 1, 2])
    np.testing.assert_array_equal(sound.between(1.48, 1.53), [99, 100, 0, 0, 0])
    assert np.all(sound.between(3, 4) == 0) and len(sound.between(3, 4)) == 100
    assert len(sound.between(1.0, 0.9)) == 0


def test_resampling_keeps_a_tone_in_place():
    tone = _tone(44_100, 1.0)
    out = resample(tone, 44_100, 16_000)
    assert len(out) == 16_000
    np.testing.assert_allclose(out[800:-800], _tone(16_000, 1.0)[800:-800], atol=1e-4)
    assert resample(tone, 44_100, 44_100) is tone
    with pytest.raises(ConfigError, match="positive"):
        resample(tone, 0, 16_000)


@pytest.mark.parametrize("silent_share", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("noise_db", [-math.inf, -70.0, -55.0])
def test_speech_level_ignores_pauses(silent_share, noise_db):
    rng = np.random.default_rng(1)
    speech = rng.normal(0, 0.05, 16_000 * 2)  # -26 dB
    pause = rng.normal(0, 1, round(len(speech) * silent_share / (1 - silent_share)))
    sound = np.concatenate([speech, pause * 10 ** (noise_db / 20)]).astype(np.float32)
    assert abs(speech_level(sound, 16_000) + 26.0) < 0.5


def test_level_and_gain_at_the_limits():
    assert speech_level(np.zeros(16_000, np.float32), 16_000) == -math.inf
    assert speech_level(np.zeros(0, np.float32), 16_000) == -math.inf
    assert abs(speech_level(np.ones(100, np.float32), 16_000)) < 1e-6
    settings = LogMel(level_db=-20.0)
    assert level_gain(-math.inf, settings) == 1.0
    assert math.isclose(level_gain(-26.0, settings), 10 ** (6 / 20))
    assert math.isclose(level_gain(-6.0, settings), 10 ** (-14 / 20))
    assert math.isclose(level_gain(-90.0, settings), 10 ** (30 / 20))


def test_missing_pyav_names_the_extra(tmp_path, monkeypatch):
    real = builtins.__import__

    def without_av(name, *args, **kwargs):
        if name == "av":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_av)
    with pytest.raises(ConfigError, match=r"pip install 'lipjax\[media\]'"):
        read_sound(tmp_path / "a.wav")
