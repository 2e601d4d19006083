# SPDX-License-Identifier: Apache-2.0
"""Evaluation of systems whose scores are known beforehand."""

import dataclasses
import json
import math

import numpy as np
import pytest
from synthetic import make_clip

from lipjax import report
from lipjax.data.checked import CheckedClips
from lipjax.data.prepare.pack import CorpusWriter
from lipjax.data.reading import open_corpus
from lipjax.data.views import resize
from lipjax.errors import ConfigError, CorpusError
from lipjax.evaluate import evaluate, spread
from lipjax.evaluation import readers, rows, scoring
from lipjax.metrics import table
from lipjax.metrics.stage import measure, rescaled, stage_of


def read_by_darkness(stage, mouths):
    """Finds lips in made-up crops: their height is the number of dark rows in the middle."""
    points = np.full((len(mouths), 68, 2), np.nan, np.float32)
    points[:, 48:68] = [0.0, 10.0]
    size = mouths.shape[1]
    dark = (mouths[:, :, size // 2, 1] < 70).sum(axis=1)
    points[:, 66, 1] += dark
    points[:, 54, 0] = 20.0
    return points


def perfect(clip, identity, sound):
    """Says the truth if it hears the clip's own sound, else stands still."""
    if sound is clip:
        return clip.mouth
    if not sound.sound.any():
        return np.repeat(identity[None], clip.num_frames, 0)
    return clip.mouth[::-1]


@pytest.fixture(scope="module")
def measured(tiny_corpus, tmp_path_factory):
    """A perfect system, measured in this process."""
    out = tmp_path_factory.mktemp("eval")
    lines = []
    options = dict(out_dir=out, processes=1, reader=read_by_darkness, log=lines.append)
    return evaluate(perfect, tiny_corpus, "test", **options), out, lines


def test_a_perfect_system_gets_perfect_scores(measured):
    evaluation, _, _ = measured
    assert list(evaluation.table) == list(rows.ROWS)
    assert evaluation.value("model", "psnr") == 100
    assert evaluation.value("model", "ssim") == pytest.approx(1)
    assert evaluation.value("model", "lmd") == 0
    assert evaluation.value("model", "r") == pytest.approx(1)
    assert evaluation.value("model", "r", "speech") == pytest.approx(1)


def test_honest_rows_are_ordered(measured):
    value = measured[0].value
    noise, still = value(rows.TRUTH_AGAIN, "lmd"), value(rows.MEAN_MOUTH, "lmd")
    assert 0 <= noise < 0.5 * still
    assert value(rows.MISMATCHED, "lmd") > still  # the mean is the best motionless guess
    assert math.isnan(value(rows.MEAN_MOUTH, "psnr")) and math.isnan(value(rows.MEAN_MOUTH, "r"))
    assert math.isnan(value(rows.LINEAR, "ssim"))
    assert value(rows.LINEAR, "r") > value(rows.LINEAR_WRONG, "r") + 0.3
    assert value(rows.STILL, "psnr") < value(rows.TRUTH_AGAIN, "psnr")
    assert math.isnan(value(rows.TRUTH, "lmd"))


def test_differences_are_paired(measured):
    evaluation = measured[0]
    found = evaluation.differences["model - model, wrong sound"]["r"]["all"]
    by_clip = [
        clip.rows["model"]["r"]["all"] - clip.rows["model, wrong sound"]["r"]["all"]
        for clip in evaluation.clips
    ]
    assert found.mean == pytest.approx(np.mean(by_clip)) and found.mean > 0.3
    assert found.low <= found.mean <= found.high


def test_silence_is_reported(measured):
    opening = measured[0].opening
    assert opening["model fed silence, deviation"].mean == pytest.approx(0, abs=1e-6)
    assert opening["model, deviation"].mean == pytest.approx(
        opening["ground truth, deviation"].mean
    )
    assert opening["ground truth, deviation"].mean > 0.05


def test_values_against_arithmetic_by_hand(measured, tiny_corpus):
    """One cell of one row, from the crops on."""
    evaluation = measured[0]
    clip, other = tiny_corpus.clips("test")
    identity = other.mouth[0].astype(float)
    errors = np.mean((clip.mouth.astype(float) - identity) ** 2, axis=(1, 2, 3))
    expected = np.mean(10 * np.log10(255**2 / errors))
    assert evaluation.clips[0].rows[rows.STILL]["psnr"]["all"] == pytest.approx(expected, abs=1e-3)
    words = rows.speech_frames(clip)
    expected = np.mean(10 * np.log10(255**2 / errors[words]))
    found = evaluation.clips[0].rows[rows.STILL]["psnr"]["speech"]
    assert found == pytest.approx(expected, abs=1e-3)
    assert evaluation.clips[0].speech_frames == words.sum()


def test_json_is_strict_and_complete(measured):
    evaluation, out, lines = measured
    text = (out / "evaluation.json").read_text()
    found = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert found["table"]["motionless mean mouth"]["psnr"]["all"]["mean"] is None
    assert found["table"]["model"]["r"]["all"]["mean"] == pytest.approx(1)
    assert [clip["id"] for clip in found["clips"]] == ["s3-a", "s3-d"]
    assert "examples" not in found and "as_released" not in found and found["facts"]["frames"] == 80
    assert "model, wrong sound" in evaluation.text() and len(lines) == 3


def test_report_page_holds_everything(measured, tmp_path):
    evaluation, _, _ = measured
    run = tmp_path / "run"
    run.mkdir()
    lines = [{"step": s, "l1": 1 / s, "eval/l1": 2 / s, "note": None} for s in (1, 2, 3)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    path = report.write_report(
        tmp_path / "report.html", title="Made up", evaluation=evaluation, workdir=run
    )
    text = path.read_text()
    assert text.count("data:video/mp4") == 2 == len(list(tmp_path.glob("side_by_side_*.mp4")))
    assert text.count("data:image/png") == 1  # l1 and eval/l1 in one plot
    assert text.count("data:image/jpeg") == 2
    for row in rows.ROWS:
        assert row.replace("'", "&#x27;") in text


def test_the_released_definitions_are_a_table_of_their_own(tiny_corpus, tmp_path):
    """Asked for, they stand beside the table that is right, labelled, and change nothing in it."""

    def pale(clip, identity, sound):
        return resize(clip.mouth, 64) // 2 + np.uint8(100)

    options = dict(processes=1, reader=read_by_darkness, out_dir=tmp_path, size=64, examples=0)
    evaluation = evaluate(pale, tiny_corpus, "test", as_released=True, **options)
    value = evaluation.as_released.table["model"]
    # Every frame is stretched by itself, so paleness is lost before frames are compared.
    assert evaluation.value("model", "psnr") < 17 < 38 < value["psnr"].mean < 100
    assert evaluation.value("model", "ssim") < 0.9 < 0.98 < value["ssim"].mean
    assert value["lmd_sum"].mean == pytest.approx(20 * value["lmd_mean"].mean)
    quoted = evaluation.as_released.table
    unit = 1.3 * 20 / 64  # mouths are 20 px wide to the reader
    expected = evaluation.value(rows.MISMATCHED, "lmd") * unit
    assert quoted[rows.MISMATCHED]["lmd_mean"].mean == pytest.approx(expected)
    assert quoted[rows.MEAN_MOUTH]["lmd_sum"].mean > 0 and quoted[rows.TRUTH]["cpbd"].clips == 2
    assert math.isnan(quoted[rows.TRUTH]["psnr"].mean)
    told = evaluation.text()
    assert told.index("speech frames:") < told.index("as released (2018 code), for quoting")
    found = json.loads((tmp_path / "evaluation.json").read_text())["as_released"]
    assert found["table"]["model"]["psnr"]["mean"] == value["psnr"].mean and found["paper"] == {}
    assert "27.9 dB" in found["warning"] and found["columns"]["psnr"] == "PSNR, wrapped"
    page = report.write_report(tmp_path / "report.html", title="Made up", evaluation=evaluation)
    assert "for quoting the paper only" in page.read_text()


def test_a_first_frame_that_was_given_is_not_scored(tiny_corpus):
    """In val each speaker has one clip, so the picture is the clip's own first frame."""
    evaluation = evaluate(None, tiny_corpus, "val", processes=1, reader=read_by_darkness)
    assert [clip.frames for clip in evaluation.clips] == [39, 39]
    assert rows.MODEL not in evaluation.table
    assert evaluation.value(rows.STILL, "psnr") < 60  # frame 0 against itself would have 100


def test_rows_can_be_compared_at_another_size(tiny_corpus):
    sizes = []

    def speak(clip, identity, sound):
        sizes.append(identity.shape)
        return np.repeat(identity[None], clip.num_frames, 0)

    options = dict(size=64, max_clips=1, processes=1, reader=read_by_darkness)
    evaluation = evaluate(speak, tiny_corpus, "test", **options)
    assert set(sizes) == {(64, 64, 3)} and evaluation.facts["crop_pixels"] == 64
    assert math.isfinite(evaluation.value(rows.TRUTH, "cpbd"))  # one block fits now
    text = evaluation.text()
    assert "LMD, model - still picture: " in text and "()" not in text  # one clip: no interval


def test_wrong_output_and_wrong_split_are_errors(tiny_corpus):
    options = dict(processes=1, reader=read_by_darkness)
    with pytest.raises(ConfigError, match="s3-a.*uint8"):
        evaluate(lambda clip, identity, sound: clip.mouth[1:], tiny_corpus, "test", **options)
    with pytest.raises(CorpusError, match="nowhere"):
        evaluate(None, tiny_corpus, "nowhere", **options)


def test_clips_are_spread_over_speakers():
    assert spread(["a", "a", "a", "b", "c", "c"], 4) == [0, 1, 3, 4]
    assert spread(["a", "a", "b"], None) == [0, 1, 2]
    with pytest.raises(ConfigError):
        spread(["a"], 0)


def test_several_processes_agree_with_one(tiny_corpus):
    clips = [tiny_corpus.clips("test")[i] for i in (0, 1)]

    def jobs():
        for clip in clips:
            yield scoring.Job(
                id=clip.id,
                speaker=clip.speaker,
                fps=clip.fps,
                spans=(),
                stage=stage_of(clip, 32),
                opening=np.zeros(40),
                scored=np.ones(40, bool),
                speech=np.ones(40, bool),
                mouths={rows.TRUTH: clip.mouth, rows.TRUTH_AGAIN: rows.degraded(clip.mouth)},
                points={},
            )

    reader, _ = readers.choose_reader(CheckedClips(tiny_corpus, "train"), 32)
    alone = list(scoring.measured(reader, jobs(), processes=1))
    together = list(scoring.measured(reader, jobs(), processes=2))
    for a, b in zip(alone, together, strict=True):
        for row in a.mouths:
            np.testing.assert_array_equal(a.points[row], b.points[row])


def test_reader_that_fails_is_replaced(tiny_corpus):
    """dlib cannot read lips on schematic faces; the regression from pixels can."""
    reader, facts = readers.choose_reader(CheckedClips(tiny_corpus, "train"), 32)
    assert isinstance(reader, readers.PixelReader) and "ridge" in facts["name"]
    trial = readers.try_reader(reader, [tiny_corpus.clips("test")[0]], 32)
    assert trial.r > 0.9 and trial.usable


def test_stage_is_one_real_frame_and_transforms_follow_the_size():
    clip = make_clip(frames=12)
    stage = stage_of(clip, 64)
    frames = [clip.frame(t) for t in range(12)]
    assert any(np.array_equal(stage.frame, frame) for frame in frames)
    point = np.array([80.0, 92.0, 1.0])  # the mouth's middle in the frame
    np.testing.assert_allclose(stage.mouth_from_frame @ point, [31.5, 31.5], atol=1e-6)
    back = rescaled(stage.mouth_from_frame, 64, 32)
    np.testing.assert_allclose(back, clip.mouth_from_frames()[0], atol=1e-9)


def test_still_crops_are_read_once():
    calls = []

    def reader(stage, mouths):
        calls.append(len(mouths))
        return np.zeros((len(mouths), 68, 2), np.float32)

    clip = make_clip(frames=6)
    still = np.repeat(clip.mouth[:1], 6, 0)
    points, sharp = measure(reader, stage_of(clip, 32), still)
    assert calls == [1] and points.shape == (6, 68, 2) and np.isnan(sharp).all()


def test_closures_are_calibrated_on_the_truth():
    """A reader that sees closed lips a little open counts them closed all the same."""
    from lipjax.data.schema import Span

    clip = make_clip(frames=10)
    true = np.array([0.3, 0.3, 0.0, 0.3, 0.3, 0.3, 0.0, 0.3, 0.3, 0.3])
    spans = (Span("phone", "b", 0.08, 0.12), Span("phone", "m", 0.24, 0.28))

    def seen(openings):
        points = np.zeros((10, 68, 2), np.float32)
        points[:, 54, 0] = 100.0
        points[:, 66, 1] = 100 * (np.asarray(openings) + 0.09)
        return points

    half = true.copy()
    half[6] = 0.2
    job = scoring.Job(
        id="c",
        speaker="s",
        fps=25.0,
        spans=spans,
        stage=stage_of(clip, 32),
        opening=true,
        scored=np.ones(10, bool),
        speech=np.ones(10, bool),
        mouths={},
        points={rows.TRUTH: seen(true), rows.MODEL: seen(half)},
    )
    found = scoring.closures(job)
    assert found[rows.TRUTH].tolist() == [True, True]
    assert found[rows.MODEL].tolist() == [True, False]


def test_json_of_odd_values():
    value = {"a": np.float32("nan"), "b": (np.int64(3), float("inf")), "c": [None, "x"]}
    assert json.loads(table.to_json(value)) == {"a": None, "b": [3, None], "c": [None, "x"]}


def test_a_damaged_clip_is_left_out_of_evaluation_and_told(tmp_path):
    """Of each split the same clip is damaged; the rest is measured as if it had never been."""
    whole, damaged, less = (tmp_path / name for name in ("whole", "damaged", "less"))
    for directory in (whole, damaged, less):
        directory.mkdir()
        writer = CorpusWriter(directory)
        for split, number in ((s, n) for s in ("train", "test") for n in range(5)):
            clip = make_clip(f"{split}{number}", speaker="s", frames=30, seed=number)
            if number == 1 and directory == less:
                continue
            if number == 1 and directory == damaged:
                landmarks = np.full_like(clip.landmarks, np.nan)
                clip = dataclasses.replace(clip, landmarks=landmarks)
            writer.add(split, clip)
        writer.close({"settings": {"fps": 25.0, "mouth_size": 32, "margin": 1.5}})
    lines = []
    found = {
        directory.name: evaluate(
            perfect,
            open_corpus(directory),
            "test",
            processes=1,
            reader=read_by_darkness,
            out_dir=directory,
            log=lines.append,
        )
        for directory in (damaged, less, whole)
    }
    facts = found["damaged"].facts
    assert facts["clips"] == 4 and facts["clips_without_landmarks"] == 0
    assert facts["clips_left_out"] == facts["clips_left_out_of_fits"] == {"not_finite": 1}
    assert sum(line.startswith("left out: clip t") for line in lines) == 2
    assert "1 clip left out (1 not_finite)" in found["damaged"].text()
    assert found["whole"].facts["clips"] == 5 and "left out" not in found["whole"].text()
    for row in (rows.STILL, rows.MISMATCHED, rows.MODEL, rows.MODEL_WRONG):
        damaged_row, less_row = (repr(found[n].table[row]) for n in ("damaged", "less"))
        assert damaged_row == less_row != repr(found["whole"].table[row])
    # A fit that lacks a clip is not kept for a corpus that is mended later.
    assert not list(damaged.glob("fits/*")) and list(less.glob("fits/*"))
    with pytest.raises(CorpusError, match=r"1 of 5 clips cannot be used.*--max-bad-fraction 0"):
        evaluate(None, open_corpus(damaged), "test", processes=1, max_bad_fraction=0.0)
