# SPDX-License-Identifier: Apache-2.0
"""The jobs one after another, as the command line runs them, on a tiny corpus."""

import json

import jax
import numpy as np
import pytest
from PIL import Image
from talking import openings, speech

import lipjax
from lipjax import cli
from lipjax.media.audio import write_wav
from lipjax.media.video import probe
from lipjax.training.stored import load_params

QUICK = {
    "train.steps": 2,
    "train.log_every": 1,
    "train.eval_every": 2,
    "train.checkpoint_every": 2,
    "train.preview_every": 2,
    "train.eval_windows": 8,
    "data.batch_size": 8,
    "weights.adversarial": 0,
    "generator.residual_blocks": 0,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_corpus):
    """A workdir after two steps, and the words that trained it."""
    workdir = tmp_path_factory.mktemp("jobs") / "run"
    config = {**QUICK, "data.dirs": tiny_corpus.directory}
    words = ["train", "--config", "configs/at_a_glance.py:tiny", "--workdir", str(workdir)]
    words += [f"--config.{name}={value}" for name, value in config.items()]
    assert cli.main(words) == 0
    return workdir, words


def test_training_leaves_curves_and_what_the_other_jobs_need(trained):
    workdir, _ = trained
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    terms = {name for line in lines for name in line}
    assert {line["step"] for line in lines if "step" in line} >= {1, 2}
    assert any("pixel" in name for name in terms) and any("l1" in name for name in terms)
    assert json.loads((workdir / "model.json").read_text())["mouth_size"] == 64
    assert list((workdir / "previews").iterdir()) and list((workdir / "checkpoints").iterdir())


def test_the_same_words_go_on_and_others_are_refused(trained, capsys):
    workdir, words = trained
    assert cli.main(words) == 0
    assert "resumed from step 2" in capsys.readouterr().out
    assert cli.main([*words, "--config.generator.fusion_width=9"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "(network.fusion_width was 8, now 9)" in error


def test_the_run_is_evaluated(trained, capsys, tmp_path):
    workdir, _ = trained
    words = ["eval", "--workdir", str(workdir), "--clips", "1", "--out", str(tmp_path)]
    assert cli.main([*words, "--as-released"]) == 0
    told = capsys.readouterr().out
    assert "for quoting the paper only" in told
    for row in ("ground truth", "still picture", "mean mouth", "linear predictor", "wrong sound"):
        assert row in told
    assert {"evaluation.json", "report.html"} <= {path.name for path in tmp_path.iterdir()}


def test_the_run_makes_a_mouth_speak(trained, capsys, tmp_path):
    face, sound, out = (str(tmp_path / name) for name in ("mouth.png", "speech.wav", "talk.mp4"))
    Image.fromarray(np.full((64, 64, 3), (190, 120, 110), np.uint8)).save(face)
    write_wav(sound, speech(openings(20)))
    words = ["generate", "--workdir", str(trained[0]), "--face", face, "--audio", sound]
    assert cli.main([*words, "--out", out, "--face-kind", "mouth"]) == 0
    assert "20 frames" in capsys.readouterr().out
    info = probe(out)
    assert info.has_sound and info.duration == pytest.approx(0.8, abs=0.02)
    # Many at once: what can be made is made.
    (tmp_path / "pairs.csv").write_text(
        "face,audio,out,face_kind\nmouth.png,speech.wav,one.mp4,mouth\nmouth.png,no.wav,two.mp4,\n"
    )
    words = ["generate", "--workdir", str(trained[0]), "--list", str(tmp_path / "pairs.csv")]
    assert cli.main(words) == 0
    assert "1 made, 1 failed" in capsys.readouterr().out
    assert (tmp_path / "one.mp4").is_file() and not (tmp_path / "two.mp4").exists()


def test_the_run_is_exported_and_taken_like_a_workdir(trained, capsys, tmp_path):
    workdir, words = trained
    out = tmp_path / "model"
    assert cli.main(["export", "--workdir", str(workdir), "--out", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == {"model.json", "weights.npz", "MODEL_CARD.md"}
    pairs = [load_params(folder)["params"]["generator"] for folder in (workdir, out)]
    jax.tree.map(np.testing.assert_array_equal, *pairs)
    told = "".join(path.read_text() for path in out.iterdir() if path.suffix != ".npz")
    assert (
        str(workdir.parent) not in told
        and "/" not in json.loads((out / "model.json").read_text())["corpora"]
    )
    mouth = np.full((64, 64, 3), (190, 120, 110), np.uint8)
    sound = speech(openings(10))
    one, other = (lipjax.load(f)(mouth, sound.samples, rate=sound.rate) for f in (workdir, out))
    np.testing.assert_array_equal(one, other)
    assert cli.main(["export", "--workdir", str(workdir), "--out", str(out)]) == 2
    assert "is there already" in capsys.readouterr().err
