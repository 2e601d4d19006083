# SPDX-License-Identifier: Apache-2.0
"""Figures of what models make: which clips and frames, from which picture, said by which sound."""

import dataclasses
import re

import jax.numpy as jnp
import numpy as np
import pytest
from generate_tools import SOUND, LoudSpeaker, landmarks, make_video, make_wav, needs, picture
from PIL import Image

from lipjax import cli
from lipjax.data.views import resize
from lipjax.errors import ConfigError, CorpusError
from lipjax.evaluation import rows
from lipjax.figures import clips, identities, parts
from lipjax.generate import COMMENT
from lipjax.media.audio import Sound
from lipjax.media.video import probe, read_video


@dataclasses.dataclass(frozen=True)
class PictureSpeaker:
    """Shows its picture, darker the louder the sound is."""

    needs: object

    def begin(self, params, target):
        return target[:, 0]

    def step(self, params, carry, sound, target_chunk):
        level = sound.reshape(len(sound), -1, 4 * SOUND.bands).mean(-1)
        dark = jnp.clip((level + 1) / 2, 0, 1)[:, :, None, None, None]
        return carry[:, None] * (1 - dark) - dark, carry


@pytest.fixture
def drawn(monkeypatch):
    """Models by folder name, and the blocks of each figure that is drawn."""
    models = {
        "loud": LoudSpeaker(needs()),
        "wide": LoudSpeaker(needs(mouth_size=64)),
        "shown": PictureSpeaker(needs()),
        "dub": LoudSpeaker(needs(target="video")),
    }
    monkeypatch.setattr(parts, "load_speaker", lambda path: (models[path.name], {}))
    blocks = []
    for module in (clips, identities):
        draw = module.plate

        def plate(given, *, note="", draw=draw):
            blocks[:] = given
            return draw(given, note=note, cell=24)

        monkeypatch.setattr(module, "plate", plate)
    return blocks


def test_rows_stand_under_the_real_frames(drawn, tiny_corpus, tmp_path):
    out, lines = tmp_path / "rows.png", []
    options = dict(corpus=tiny_corpus.directory, clips=2, frames=5, show=lines.append)
    clips.rows_figure([tmp_path / "shown"], out, split="train", **options)
    assert [block.title for block in drawn] == ["s1-a", "s2-a"]  # one of each speaker
    clip, other, _ = tiny_corpus.clips("train")[:3]
    block = drawn[0]
    assert list(block.rows) == ["real", "generated"]
    # Five frames from the first to the last within a word, 0.1 to 0.9 s.
    spoken = np.flatnonzero(rows.speech_frames(clip))
    chosen = np.round(np.linspace(spoken[0], spoken[-1], 5)).astype(int)
    assert block.times == pytest.approx((chosen + 0.5) / 25)
    np.testing.assert_array_equal(block.rows["real"], clip.mouth[chosen])
    assert block.words == ["bin", "bin", "blue", "blue", "blue"] and "sentence a" in block.sentence
    # The picture is another clip's first frame, and the generated mouth is made from it.
    assert "another clip" in block.caption
    np.testing.assert_array_equal(block.picture, other.mouth[0])
    made = block.rows["generated"].astype(float)
    ratio = made / np.maximum(other.mouth[0], 1)
    assert ratio.std(axis=(1, 2, 3)).max() < 0.05 and ratio.max() < 1
    # It is darker where the sound that belongs to the clip is louder.
    heard = Sound(clip.sound, clip.sound_rate, clip.sound_start)
    level = [np.std(heard.between(float(t) - 0.02, float(t) + 0.02)) for t in block.times]
    assert np.corrcoef(made.mean(axis=(1, 2, 3)), level)[0, 1] < -0.9
    with Image.open(out) as written:
        assert written.text["Comment"] == COMMENT and written.size[0] > 5 * 24
    assert lines == [f"{out}: 2 clips of train"]


def test_several_models_stand_below_each_other(drawn, tiny_corpus, tmp_path):
    """Each at its own size; the real row is shown at the largest."""
    options = dict(split="val", corpus=tiny_corpus.directory, show=lambda line: None)
    runs = [tmp_path / "loud", tmp_path / "wide"]
    clips.rows_figure(runs, tmp_path / "rows.png", **options)
    assert len(drawn) == 2 and list(drawn[0].rows) == ["real", "loud", "wide"]
    assert [frames.shape[1] for frames in drawn[0].rows.values()] == [64, 32, 64]
    # In val a speaker has one clip, so the picture is its own first frame; the figure says so.
    clip = tiny_corpus.clips("val")[0]
    np.testing.assert_array_equal(drawn[0].picture, resize(clip.mouth[:1], 64)[0])
    assert drawn[0].caption == "given: its own frame 0"
    twice = parts.load_models([tmp_path / "a" / "loud", tmp_path / "b" / "loud"])
    assert len({model.name for model in twice}) == 2


def test_identities_say_every_sound(drawn, tmp_path):
    pytest.importorskip("dlib")
    photo = tmp_path / "face.png"
    Image.fromarray(picture()).save(photo)
    np.save(tmp_path / "face.landmarks.npy", landmarks()[None])
    crop = tmp_path / "mouth.png"
    Image.fromarray(picture()[40:104, 60:124]).save(crop)
    (tmp_path / "broken.png").write_text("no picture")
    film = make_video(tmp_path, 4)
    sounds = [make_wav(tmp_path, 1.0), make_wav(tmp_path, 0.6, loud=[(0.1, 0.5)])]
    lines = []
    files = identities.identities_figure(
        [tmp_path / "loud", tmp_path / "shown"],
        [photo, tmp_path / "broken.png", crop, film],
        [*sounds, tmp_path / "none.wav"],
        tmp_path / "out.png",
        frames=8,
        show=lines.append,
    )
    assert [file.name for file in files] == ["out.png", *(f"out-{s.stem}.mp4" for s in sounds)]
    assert [block.title for block in drawn] == [
        f"{name} says {sound.name}" for sound in sounds for name in ("face.png", "mouth.png")
    ]
    told = "\n".join(lines)
    assert all(name in told for name in ("broken.png", "video.mp4", "none.wav"))
    for block in drawn:
        assert list(block.rows) == ["loud", "shown"] and len(block.times) == 8
        assert all(frames.shape == (8, 32, 32, 3) for frames in block.rows.values())
    # Loud from 0.2 to 0.4 s and from 0.8 to 1.0 s; what lies around them is not shown.
    times, bright = np.array(drawn[0].times), drawn[0].rows["loud"].mean(axis=(1, 2, 3))
    assert (times[0], times[-1]) == pytest.approx((0.22, 0.98), abs=0.021)
    quiet = (times > 0.46) & (times < 0.74)
    loud = (times < 0.4) | (times > 0.8)
    assert quiet.any() and bright[loud].min() > bright[quiet].max() + 60
    assert drawn[0].loudness.max() == 1 and drawn[0].loudness[len(drawn[0].loudness) // 2] < 0.01
    # The portrait shows the face with the mouth, which lies at (96, 86), in its lower half.
    side = drawn[0].picture.shape[0]
    per_pixel = 36 * 3.2 / side  # the crop is 36 px wide
    expected = picture()[86 - int(0.3 * 36) : 86 + int(0.3 * 36), 96 - 10 : 96 + 10].mean()
    y, x = round(0.68 * side), side // 2
    reach = round(10 / per_pixel)
    assert abs(drawn[0].picture[y - reach : y + reach, x - reach : x + reach].mean() - expected) < 3
    info = probe(files[1])
    assert info.has_sound and info.duration == pytest.approx(1.0, abs=0.05)
    frames = np.stack([frame.image for frame in read_video(files[1])]).astype(float)
    panel = frames[:, 36 + 40 : 36 + 150, 194 + 40 : 194 + 150].mean(axis=(1, 2, 3))
    assert panel[6:9].min() > panel[13:18].max() + 60  # the first model's, in step with the sound


def test_one_sound_makes_one_video_beside_the_figure(drawn, tmp_path):
    crop = tmp_path / "grid.png"
    Image.fromarray(picture()[40:104, 60:124]).save(crop)
    make_wav(tmp_path, 0.4).rename(tmp_path / "speech.wav")
    given = ([tmp_path / "loud"], [crop], [tmp_path / "speech.wav"])
    options = dict(face_kind="mouth", frames=99, show=lambda line: None)
    files = identities.identities_figure(*given, tmp_path / "out.png", **options)
    assert [file.name for file in files] == ["out.png", "out.mp4"]
    assert list(drawn[0].rows) == ["generated"] and len(drawn[0].times) == 5  # all that are loud
    files = identities.identities_figure(*given, tmp_path / "no.png", video=False, **options)
    assert files == [tmp_path / "no.png"] and not (tmp_path / "no.mp4").exists()
    with pytest.raises(ConfigError, match=r"grid\.png: would be overwritten"):
        identities.identities_figure(*given, crop, **options)


def test_what_cannot_work_is_found_out_before_anything_is_made(drawn, tiny_corpus, tmp_path):
    def refused(match, *, runs=("loud",), out="out.png", error=ConfigError, **options):
        options = {"corpus": tiny_corpus.directory, "show": print, **options}
        with pytest.raises(error, match=match):
            clips.rows_figure([tmp_path / name for name in runs], tmp_path / out, **options)

    refused("must end in .png", out="out.jpg")
    refused("there is no folder", out="none/out.png")
    refused("at least one trained run", runs=())
    refused("needs a video", runs=("loud", "dub"))
    refused("nowhere", split="nowhere", error=CorpusError)
    refused("at least 1", frames=0)
    sound = make_wav(tmp_path, 0.4)
    (tmp_path / "text.png").write_text("no picture")
    given = [[tmp_path / "loud"], [tmp_path / "text.png"], [sound], tmp_path / "out.png"]
    with pytest.raises(ConfigError, match=r"no face can be used: .*text\.png"):
        identities.identities_figure(*given, show=print)
    assert not drawn and not list(tmp_path.glob("out*"))


def test_frames_are_spread_evenly():
    assert parts.spread_frames(3, 11, 5).tolist() == [3, 5, 7, 9, 11]
    assert parts.spread_frames(2, 4, 16).tolist() == [2, 3, 4]
    assert parts.spread_frames(7, 9, 1).tolist() == [7]


def test_words_reach_the_figures(monkeypatch, capsys, tmp_path):
    seen = []
    monkeypatch.setattr(clips, "rows_figure", lambda *a, **k: seen.append((a, k)))
    monkeypatch.setattr(identities, "identities_figure", lambda *a, **k: seen.append((a, k)))
    monkeypatch.chdir(tmp_path)
    for name in ("run", "a.png", "b.png", "s.wav"):
        (tmp_path / name).touch()
    start = ["figure", "rows", "--workdir", "run", "--out", "o.png"]
    assert cli.main([*start, "--workdir", "run", "--clips", "2"]) == 0
    (runs, out), options = seen.pop()
    assert [path.name for path in runs] == ["run", "run"] and out.name == "o.png"
    assert options == {"split": "test", "corpus": None, "clips": 2, "frames": 16}
    other = ["figure", "identities", *start[2:]]
    assert cli.main([*other, "--faces", "a.png", "b.png", "--audio", "s.wav"]) == 0
    (_, faces, audio, _), options = seen.pop()
    assert [path.name for path in (*faces, *audio)] == ["a.png", "b.png", "s.wav"]
    assert options == {"face_kind": "auto", "landmarks": "auto", "frames": 16}
    for words, says in (
        ([*start, "--faces", "a.png"], "--faces belongs to 'figure identities'"),
        ([*other, "--faces", "a.png", "--split", "val"], "--split belongs to 'figure rows'"),
        ([*other, "--faces", "a.png"], "--audio must be given"),
    ):
        assert cli.main(words) == 2
        error = capsys.readouterr().err
        assert says in error and re.match(r"lipjax figure: error: .*\n\Z", error)
    assert not seen
