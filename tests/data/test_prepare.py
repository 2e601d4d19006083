# SPDX-License-Identifier: Apache-2.0
"""Prepare from end to end on small drawn faces: content, odd inputs, resuming, adding."""

import json
import shutil

import av
import numpy as np
import pytest
from talking import RATE, openings, remux, speech, write_talk

from lipjax.data.prepare import PrepareSettings, job, prepare
from lipjax.data.prepare.lag import lip_opening
from lipjax.data.reading import open_corpus
from lipjax.data.schema import INTERPOLATED, MEASURED
from lipjax.errors import ConfigError, CorpusError
from lipjax.media import crops
from lipjax.media.audio import Sound

SMALL = PrepareSettings(mouth_size=32)


def run(videos, out, settings=SMALL, **options):
    return prepare(videos, out, settings=settings, **{"processes": 0, **options})


def all_clips(out):
    corpus = open_corpus(out)
    return {clip.id: clip for split in corpus.splits for clip in corpus.clips(split)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three speakers, a few clips each, one with words."""
    root = tmp_path_factory.mktemp("videos")
    for number, name in enumerate(("anna/one", "anna/two", "bob/one", "bob/two", "carl/one")):
        write_talk(root / f"{name}.mp4", seed=number)
    spans = [["word", "bin", 0.2, 0.6], ["word", "blue", 0.6, 1.2]]
    (root / "anna/one.spans.json").write_text(json.dumps(spans))
    return root


@pytest.fixture(scope="module")
def prepared(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("prepared") / "corpus"
    return run(folder, out), out


def test_a_clip_holds_what_the_video_shows(folder, prepared):
    clip = all_clips(prepared[1])["anna-one"]
    points = np.load(folder / "anna/one.landmarks.npy")
    assert clip.num_frames == 40 and clip.mouth_size == 32 and clip.fps == 25.0
    np.testing.assert_array_equal(clip.landmarks, points)
    assert (clip.landmark_status == MEASURED).all()
    np.testing.assert_array_equal(clip.source_frames, np.arange(40))
    np.testing.assert_allclose(np.diff(clip.source_times), 1 / 25, atol=1e-3)
    assert clip.sentence == "bin blue" and clip.source == "anna/one.mp4"
    assert [(s.text, s.start, s.end) for s in clip.spans] == [("bin", 0.2, 0.6), ("blue", 0.6, 1.2)]
    # The crop shows the mouth: centre dark when open, and the corners 2/3 of its width apart.
    corners = clip.mouth_landmarks()[:, [48, 54]]
    width = np.linalg.norm(corners[:, 0] - corners[:, 1], axis=-1)
    np.testing.assert_allclose(width, 32 / 1.5, rtol=0.05)
    opening = lip_opening(clip.landmarks, clip.landmark_status)
    dark = clip.mouth.astype(float).mean((1, 2, 3))
    assert np.corrcoef(opening, dark)[0, 1] < -0.9
    # The stored frame is the source inside one box: same picture by both ways.
    again = crops.warp(clip.frame(7), clip.mouth_from_frames()[7], 32).astype(float)
    assert np.abs(again - clip.mouth[7]).mean() < 8


def test_sound_lies_in_time_and_level(prepared):
    for clip in all_clips(prepared[1]).values():
        assert abs(clip.lag) < 0.8 and clip.lag_correlation > 0.5
        seconds = len(clip.sound) / clip.sound_rate
        assert clip.sound_start <= 0.01 and clip.sound_start + seconds >= 1.55
        assert -40 < clip.sound_level < -5


def test_splits_and_report(prepared):
    report, out = prepared
    corpus = open_corpus(out)
    speakers = {split: set(corpus.index(split).speaker.tolist()) for split in corpus.splits}
    assert len(speakers["test"]) == 1 and not speakers["test"] & speakers["train"]
    assert sum(report.clips.values()) == 5 and report.seconds_kept == pytest.approx(8.0)
    told = json.loads((out / "report.json").read_text())
    assert told["seconds_kept"] == pytest.approx(8.0) and len(told["sources"]) == 5
    page = (out / "report.html").read_text()
    assert "data:image/" in page and "http" not in page.replace("http://www.w3.org", "")
    assert not (out / "work").exists()


def test_same_input_same_bytes_with_any_number_of_processes(folder, prepared, tmp_path):
    run(folder, tmp_path / "again", processes=2)
    names = sorted(path.name for path in prepared[1].iterdir())
    assert names == sorted(path.name for path in (tmp_path / "again").iterdir())
    for name in names:
        if not name.startswith("report"):
            assert (prepared[1] / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_a_long_source_a_gap_and_short_gaps(tmp_path):
    settings = PrepareSettings(mouth_size=32, max_seconds=2.0)
    write_talk(tmp_path / "v/a/long.mp4", frames=130, missing=slice(50, 60))
    write_talk(tmp_path / "v/b/gap.mp4", frames=40, missing=slice(10, 13))
    report = run(tmp_path / "v", tmp_path / "out", settings)
    clips = all_clips(tmp_path / "out")
    assert sorted(clips) == ["a-long-000", "a-long-001", "a-long-002", "b-gap"]
    assert [len(clips[f"a-long-00{n}"].mouth) for n in range(3)] == [50, 35, 35]
    assert clips["a-long-001"].source_frames[0] == 60
    long = next(entry for entry in report.sources if entry["path"] == "a/long.mp4")
    assert long["kept_seconds"] == pytest.approx(4.8)
    assert long["seconds_without_face"] == pytest.approx(0.4)
    status = clips["b-gap"].landmark_status
    assert np.flatnonzero(status == INTERPOLATED).tolist() == [10, 11, 12]
    # Sound of the second clip is the sound at its place, with real sound around it.
    second = clips["a-long-001"]
    assert second.sound_start == pytest.approx(-0.5, abs=1e-3)
    assert abs(second.lag) < 0.8


@pytest.mark.parametrize("fps", [24.0, 30000 / 1001, 30.0])
def test_any_frame_rate(fps, tmp_path):
    write_talk(tmp_path / "v/a/x.mp4", frames=60, fps=fps)
    run(tmp_path / "v", tmp_path / "out")
    clips = sorted(all_clips(tmp_path / "out").values(), key=lambda clip: clip.id)
    for clip in clips:
        begin = clip.source_times[0]
        slots = begin + (np.arange(clip.num_frames) + 0.5) / 25
        # The picture shown in a slot began before its middle, at most one picture earlier.
        late = slots - clip.source_times
        assert (late > -1 / 25).all() and (late < 1 / 25 + 1 / fps).all()
    assert abs(max(clips, key=lambda clip: clip.num_frames).lag) < 0.8


def test_sound_longer_and_shorter_than_the_picture(tmp_path):
    write_talk(tmp_path / "v/a/long.mp4", frames=125)
    remux(tmp_path / "v/a/long.mp4", pictures=range(75))
    write_talk(tmp_path / "v/b/short.mp4", frames=75)
    remux(tmp_path / "v/b/short.mp4", sound_until=2.0)
    run(tmp_path / "v", tmp_path / "out")
    clips = all_clips(tmp_path / "out")
    assert clips["a-long"].num_frames in (75, 76) and abs(clips["a-long"].lag) < 0.8
    assert 50 <= clips["b-short"].num_frames <= 54 and abs(clips["b-short"].lag) < 0.8
    end = clips["a-long"].sound_start + len(clips["a-long"].sound) / RATE
    assert end == pytest.approx(clips["a-long"].num_frames / 25 + 0.5, abs=0.01)


def bad_videos(root):
    """Writes one video of each kind that cannot be used; returns path -> expected reason."""
    whole = root / "ok/fine.mp4"
    write_talk(whole, frames=50)
    write_talk(root / "x/mute.mp4", sound=None)
    write_talk(root / "x/silent.mp4", sound=Sound(np.zeros(RATE * 2, np.int16), RATE))
    write_talk(root / "x/faceless.mp4", missing=slice(0, 40))
    write_talk(root / "x/short.mp4", frames=10)
    (root / "x/empty.mp4").write_bytes(b"")
    (root / "x/lying.mp4").write_text("this is no video\n" * 100)
    (root / "x/truncated.mp4").write_bytes(whole.read_bytes()[:1500])
    with av.open(str(root / "x/blind.mp4"), "w") as output:
        stream = output.add_stream("aac", rate=RATE)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, RATE), np.float32), "fltp", "mono")
        frame.sample_rate = RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            output.mux(packet)
    shutil.copy(root / "x/faceless.landmarks.npy", root / "x/blind.landmarks.npy")
    return {
        "x/mute.mp4": "no sound",
        "x/silent.mp4": "silence",
        "x/faceless.mp4": "no face",
        "x/short.mp4": "too short",
        "x/empty.mp4": "unreadable",
        "x/lying.mp4": "unreadable",
        "x/truncated.mp4": "unreadable",
        "x/blind.mp4": "unreadable",
    }


def test_bad_files_are_told_and_counted(tmp_path):
    expected = bad_videos(tmp_path / "v")
    report = run(tmp_path / "v", tmp_path / "out")
    reasons = {e["path"]: e["reason"] for e in report.sources if e["reason"]}
    assert reasons == expected
    assert sum(report.dropped.values()) == len(expected)
    assert "lying.mp4" in (tmp_path / "out/report.html").read_text()
    with pytest.raises(CorpusError, match="x/.*strict"):
        run(tmp_path / "v", tmp_path / "strict", strict=True)
    with pytest.raises(CorpusError, match="x/.*strict"):
        run(tmp_path / "v", tmp_path / "out", strict=True)  # also when found in an earlier run
    shutil.rmtree(tmp_path / "v/ok")
    with pytest.raises(CorpusError, match="none of 8 videos gave a clip.*unreadable"):
        run(tmp_path / "v", tmp_path / "none")


def test_a_lying_extension_and_other_containers(tmp_path):
    write_talk(tmp_path / "v/a/x.mkv")
    write_talk(tmp_path / "v/b/y.mov", seed=1)
    write_talk(tmp_path / "v/c/z.mp4", seed=2)
    (tmp_path / "v/c/z.mp4").rename(tmp_path / "v/c/z.avi")
    run(tmp_path / "v", tmp_path / "out")
    clips = all_clips(tmp_path / "out")
    assert set(clips) == {"a-x", "b-y", "c-z"}
    assert all(clip.num_frames == 40 and abs(clip.lag) < 0.8 for clip in clips.values())


def test_variable_frame_rate_goes_by_timestamps(tmp_path):
    """Every third picture is missing from the file; its neighbour stays up for longer."""
    write_talk(tmp_path / "v/a/x.mp4", frames=75)
    points = np.load(tmp_path / "v/a/x.landmarks.npy")
    kept = [n for n in range(75) if n % 3 != 1]
    remux(tmp_path / "v/a/x.mp4", pictures=kept)
    np.save(tmp_path / "v/a/x.landmarks.npy", points[kept])
    run(tmp_path / "v", tmp_path / "out", PrepareSettings(mouth_size=32, max_seconds=20.0))
    clip = all_clips(tmp_path / "out")["a-x"]
    assert clip.num_frames in (75, 76) and abs(clip.lag) < 1.0
    shown = np.array([max(k for k in kept if k <= n) for n in range(75)])
    np.testing.assert_array_equal(clip.landmarks[:75], points[shown])


@pytest.mark.parametrize("late", [5, -5])
@pytest.mark.parametrize("offset", ["report", "shift", "drop"])
def test_moved_sound(late, offset, tmp_path):
    opening = openings(75, 7)
    true = speech(opening)
    moved = np.roll(true.samples, round(late / 25 * RATE))
    write_talk(tmp_path / "v/a/moved.mp4", frames=75, seed=7, sound=Sound(moved, RATE))
    write_talk(tmp_path / "v/b/fine.mp4", frames=75, seed=8)
    settings = PrepareSettings(mouth_size=32, offset=offset)
    report = run(tmp_path / "v", tmp_path / "out", settings)
    clips = all_clips(tmp_path / "out")
    assert abs(clips["b-fine"].lag) < 0.8
    if offset == "drop":
        assert sorted(clips) == ["b-fine"] and report.dropped == {"sound out of step": 1}
        return
    clip = clips["a-moved"]
    found = clip.lag if offset == "report" else late
    assert found == pytest.approx(late, abs=0.8)
    start = 0.0 if offset == "report" else -late / 25
    assert clip.sound_start == pytest.approx(start, abs=0.8 / 25)
    if offset == "shift":
        assert abs(clip.lag) < 0.1


def test_resuming_adds_and_refuses_other_settings(folder, prepared, tmp_path, monkeypatch):
    videos, out = tmp_path / "v", tmp_path / "out"
    shutil.copytree(folder / "anna", videos / "anna")
    shutil.copytree(folder / "bob", videos / "bob")
    worked = []
    real = job.clips.stage

    def counting(source, beat, **rest):
        worked.append(source.path)
        if len(worked) == 3:
            raise KeyboardInterrupt
        return real(source, beat, **rest)

    monkeypatch.setattr(job.clips, "stage", counting)
    with pytest.raises(KeyboardInterrupt):
        run(videos, out)
    with pytest.raises(CorpusError, match="not finished"):
        open_corpus(out)
    with pytest.raises(CorpusError, match="margin was 1.5, now 1.6"):
        run(videos, out, PrepareSettings(mouth_size=32, margin=1.6))
    run(videos, out)
    assert len(worked) == 2 + 1 + 2  # two done, one interrupted, that one and the last again
    before = all_clips(out)
    assert len(before) == 4 and not (out / "work").exists()
    splits = {
        name: set(open_corpus(out).index(name).id.tolist()) for name in open_corpus(out).splits
    }

    run(videos, out)  # nothing new
    assert len(worked) == 5
    write_talk(videos / "carl/one.mp4", seed=4)
    write_talk(videos / "anna/three.mp4", seed=9)
    run(videos, out)
    assert worked[5:] == ["anna/three.mp4", "carl/one.mp4"]
    after = open_corpus(out)
    assert len(all_clips(out)) == 6
    for name, ids in splits.items():
        assert ids <= set(after.index(name).id.tolist())
    assert np.array_equal(all_clips(out)["anna-one"].mouth, before["anna-one"].mouth)
    with pytest.raises(CorpusError, match="mouth_size was 32, now 48"):
        run(videos, out, PrepareSettings(mouth_size=48))


def test_an_interrupted_move_is_finished(folder, tmp_path, monkeypatch):
    def interrupted(out, work):
        if (work / "packed").exists():
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(job.finish, "move_in", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(folder, out)
    (out / "work/packed/corpus.json").rename(out / "half.json")  # any file may be moved already
    (out / "half.json").rename(out / "corpus.json")
    assert sum(run(folder, out).clips.values()) == 5
    assert not (out / "work").exists() and len(all_clips(out)) == 5


def test_one_person_is_split_in_time_with_a_gap(tmp_path):
    write_talk(tmp_path / "v/me/talk.mp4", frames=400)
    run(tmp_path / "v", tmp_path / "out", PrepareSettings(mouth_size=32, max_seconds=3.0))
    corpus = open_corpus(tmp_path / "out")
    train, val = corpus.clips("train"), corpus.clips("val")
    last = max(clip.source_frames[-1] for clip in train)
    first = min(clip.source_frames[0] for clip in val)
    assert first - last >= 25 and 355 <= first <= 365
    assert corpus.splits == ("train", "val")


def test_a_limit_is_shared_among_speakers_and_said(tmp_path):
    for name in ("a/one", "a/two", "b/one", "c/one"):
        write_talk(tmp_path / f"v/{name}.mp4", frames=50)
    report = run(tmp_path / "v", tmp_path / "out", limit_seconds=5.0)
    assert {entry["path"] for entry in report.sources} == {"a/one.mp4", "b/one.mp4", "c/one.mp4"}
    assert report.seconds_kept == pytest.approx(5.0, abs=0.1)
    assert any("at most 5 seconds" in note for note in report.notes)


def test_wrong_places_and_names(folder, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/letter.txt").write_text("mine")
    with pytest.raises(CorpusError, match="not empty"):
        run(folder, tmp_path / "full")
    with pytest.raises(ConfigError, match="no such folder"):
        run(tmp_path / "nothing", tmp_path / "out")
    with pytest.raises(ConfigError, match="'bobb'.*did you mean 'bob'"):
        run(folder, tmp_path / "out", PrepareSettings(test_speakers=("bobb",)))
    with pytest.raises(ConfigError, match="did you mean 'shift'"):
        PrepareSettings(offset="shit")
    with pytest.raises(ConfigError, match="margin must be above 0"):
        PrepareSettings(margin=-1.0)


def test_progress_tells_clips_and_time(folder, tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(job.Progress, "frames", lambda self, count: self._say(always=True))
    run(folder, tmp_path / "out", progress=lines.append)
    assert "5/5 videos, 5 clips" in lines[-1]
    assert any("left" in line and "/s" in line for line in lines)


def test_two_faces_are_told(tmp_path, monkeypatch):
    real = job.clips.faces.load_backend

    def doubled(name, *, video):
        backend = real(name, video=video)

        def faces(image, index, near):
            (face,) = backend(image, index, near)
            x0, y0, x1, y1 = face.box
            box = (x0 + 60, y0 + 20, x0 + 90, y0 + 50)
            other = job.clips.faces.Face(face.landmarks * 0.4 + 70, box, 0.5)
            return [face] if near and near[0] < x0 + 30 else [other] if near else [face, other]

        return faces

    monkeypatch.setattr(job.clips.faces, "load_backend", doubled)
    write_talk(tmp_path / "v/a/x.mp4")
    report = run(tmp_path / "v", tmp_path / "out")
    assert report.sources[0]["seconds_with_two_faces"] == pytest.approx(1.6)
    assert "larger, steadier" in report.sources[0]["notes"][0]
    clip = all_clips(tmp_path / "out")["a-x"]
    np.testing.assert_array_equal(clip.landmarks, np.load(tmp_path / "v/a/x.landmarks.npy"))
