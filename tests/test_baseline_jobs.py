# SPDX-License-Identifier: Apache-2.0
"""The baselines of Table 3 are trained and evaluated by the same commands as everything else."""

import json

import pytest

from lipjax import cli

QUICK = {
    "train.steps": 2,
    "train.log_every": 1,
    "train.eval_every": 2,
    "train.checkpoint_every": 2,
    "train.preview_every": 2,
    "train.eval_windows": 8,
    "data.batch_size": 8,
    # The authors' sound feature wants 44.1 kHz, the made-up corpus has 16.
    "data.log_mel.rate": 16_000,
    "data.log_mel.hop": 160,
    "data.log_mel.fmax": 8000.0,
}


@pytest.mark.parametrize(
    ("form", "players"),
    [("chung", {"generator"}), ("vondrick", {"generator", "discriminator"})],
)
def test_a_baseline_is_trained_and_evaluated(tmp_path, tiny_corpus, capsys, form, players):
    run = tmp_path / form
    words = ["train", "--config", f"configs/at_a_glance.py:tiny,form={form}"]
    words += ["--workdir", str(run), f"--config.data.dirs={tiny_corpus.directory}"]
    words += [f"--config.{name}={value}" for name, value in QUICK.items()]
    assert cli.main(words) == 0, capsys.readouterr().err
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    losses = {key.rpartition("/")[2] for key in last if key.endswith("_loss")}
    assert {f"{name}_loss" for name in players} <= losses
    assert ("train/pixel" in last) == (form == "chung") and "eval/l1" in last
    out = tmp_path / "report"
    words = ["eval", "--workdir", str(run), "--clips", "1", "--out", str(out)]
    assert cli.main(words) == 0, capsys.readouterr().err
    table = json.loads((out / "evaluation.json").read_text())["table"]
    assert table["model"]["psnr"]["all"]["mean"] > 5.0
