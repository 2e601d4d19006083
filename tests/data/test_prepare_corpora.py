# SPDX-License-Identifier: Apache-2.0
"""LRW and LDC2009V01 through prepare: tiny trees laid out like the real ones, their splits."""

import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from talking import openings, speech, write_talk

from lipjax.cli import main
from lipjax.data.prepare import PrepareSettings, prepare
from lipjax.data.reading import open_corpus
from lipjax.errors import ConfigError

SMALL = PrepareSettings(mouth_size=32)
NTSC = Fraction(30_000, 1001)


def members(out: Path) -> dict[str, set[tuple[str, str]]]:
    """Split -> (speaker, sentence) of its clips."""
    corpus = open_corpus(out)
    return {s: {(c.speaker, c.sentence) for c in corpus.clips(s)} for s in corpus.splits}


def write_lrw(root: Path) -> None:
    """Two words; train, val and test, each numbered from 1; 29 pictures and a text file each."""
    seed = 0
    for word in ("ABOUT", "SPEECH"):
        for split, count in (("train", 2), ("val", 1), ("test", 1)):
            for number in range(1, count + 1):
                file = root / f"lipread_mp4/{word}/{split}/{word}_{number:05d}.mp4"
                write_talk(file, frames=29, seed=seed)
                lines = ("Disk reference: 6001000", "Channel: BBC1", "Duration: 0.40 seconds")
                file.with_suffix(".txt").write_text("\n".join(lines) + "\n")
                seed += 1


def write_quicktime(path: Path, *, frames: int, seed: int, missing: slice | None = None) -> None:
    """A talk at 29.97 pictures per second whose sound is 16-bit PCM, the data of one file."""
    draft = path.with_name("draft.mp4")
    write_talk(draft, frames=frames, fps=float(NTSC), seed=seed, missing=missing)
    (path.with_name("draft.landmarks.npy")).rename(path.with_name(f"{path.stem}.landmarks.npy"))
    sound = speech(openings(frames, seed), fps=float(NTSC))
    with av.open(str(draft)) as source, av.open(str(path), "w") as output:
        picture = output.add_stream_from_template(source.streams.video[0])
        heard = output.add_stream("pcm_s16le", rate=sound.rate, layout="mono")
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = picture
                output.mux(packet)
        frame = av.AudioFrame.from_ndarray(sound.samples[None], "s16", "mono")
        frame.sample_rate, frame.pts = sound.rate, 0
        output.mux([*heard.encode(frame), *heard.encode(None)])
    draft.unlink()


@pytest.fixture(scope="module")
def ldc(tmp_path_factory) -> Path:
    """Two speakers to train on, F02 and M01; M02's face is lost in the middle of each video."""
    root, seed = tmp_path_factory.mktemp("ldc"), 0
    for speaker, items in (("F01", 5), ("M02", 5), ("F02", 2), ("M01", 2)):
        for item in range(items):
            folder = root / f"LDC2009V01/av_db_am_eng/data/{speaker}"
            gap = slice(30, 42) if speaker == "M02" else None
            folder.mkdir(parents=True, exist_ok=True)
            file = folder / f"{speaker}_TIMIT_SX{item}.mov"
            write_quicktime(file, frames=72 if gap else 40, seed=seed, missing=gap)
            seed += 1
    return root / "LDC2009V01"


def test_lrw_keeps_its_official_splits(tmp_path, capsys):
    write_lrw(tmp_path)
    videos, out = tmp_path / "lipread_mp4", tmp_path / "corpus"
    command = ["prepare", videos, "--out", out, "--layout", "lrw", "--processes", 1]
    assert main([*map(str, command), "--mouth-size", "32"]) in (0, None)
    corpus = open_corpus(out)
    assert corpus.settings["layout"] == "lrw"
    assert {s: len(corpus.clips(s)) for s in corpus.splits} == {"train": 4, "val": 2, "test": 2}
    for split in corpus.splits:
        for clip in corpus.clips(split):
            assert f"/{split}/" in clip.source and f"-{split}-" in clip.id
            assert clip.speaker == "" and clip.num_frames == 29
            assert clip.sentence in ("about", "speech") and clip.id.lower().startswith(
                clip.sentence
            )
            (word,) = clip.spans
            assert (word.start, word.end) == pytest.approx((0.38, 0.78))


def test_a_part_of_lrw_takes_from_every_split_and_word(tmp_path):
    write_lrw(tmp_path)
    prepare(tmp_path, tmp_path / "out", settings=SMALL, processes=0, limit_seconds=6 * 1.16)
    found = members(tmp_path / "out")
    assert found == {split: {("", "about"), ("", "speech")} for split in ("train", "val", "test")}


def test_ldc_holds_out_f02_and_m01_and_a_part_of_the_sentences(ldc, tmp_path):
    prepare(ldc, tmp_path / "out", settings=SMALL, processes=0)
    corpus = open_corpus(tmp_path / "out")
    assert corpus.settings["layout"] == "ldc"
    found = members(tmp_path / "out")
    assert found["test"] == {(s, f"timit sx{n}") for s in ("F02", "M01") for n in range(2)}
    assert {speaker for speaker, _ in found["train"]} == {"F01", "M02"}
    assert {speaker for speaker, _ in found["val"]} == {"F01", "M02"}
    # One item of five is val, for both speakers, and for both pieces of M02's video of it.
    sources = {s: sorted(Path(c.source).stem for c in corpus.clips(s)) for s in ("train", "val")}
    (item,) = {stem.split("_", 1)[1] for stem in sources["val"]}
    assert sources["val"] == [f"F01_{item}", f"M02_{item}", f"M02_{item}"]
    assert len(sources["train"]) == 12 and not any(item in stem for stem in sources["train"])


def test_ldc_sound_and_pictures_of_quicktime_files_lie_in_time(ldc, tmp_path):
    prepare(ldc / "av_db_am_eng/data/F01", tmp_path / "out", settings=SMALL, processes=0)
    corpus = open_corpus(tmp_path / "out")
    clips = [clip for split in corpus.splits for clip in corpus.clips(split)]
    assert len(clips) >= 4
    for clip in clips:
        assert clip.fps == 25.0 and abs(clip.num_frames - 40 / float(NTSC) * 25) <= 1
        assert abs(clip.lag) < 0.8 and clip.lag_correlation > 0.5
        np.testing.assert_allclose(np.diff(clip.source_frames).mean(), float(NTSC) / 25, rtol=0.03)


def test_ldc_with_a_further_speaker_held_out_and_one_added_later(ldc, tmp_path):
    out, data = tmp_path / "out", tmp_path / "data"
    for speaker in ("F01", "M02", "F02"):
        shutil.copytree(ldc / f"av_db_am_eng/data/{speaker}", data / speaker)
    wrong = PrepareSettings(mouth_size=32, test_speakers=("M03",))
    with pytest.raises(ConfigError, match="'M03' does not occur.*did you mean"):
        prepare(data, out, settings=wrong, processes=0)
    settings = PrepareSettings(mouth_size=32, test_speakers=("F02", "M02"))
    prepare(data, out, settings=settings, processes=0)
    assert {speaker for speaker, _ in members(out)["test"]} == {"F02", "M02"}
    shutil.copytree(ldc / "av_db_am_eng/data/M01", data / "M01")
    prepare(data, out, settings=settings, processes=0)
    found = members(out)
    assert {speaker for speaker, _ in found["test"]} == {"F02", "M02", "M01"}
    assert {speaker for speaker, _ in found["train"] | found["val"]} == {"F01"}
