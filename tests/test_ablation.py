# SPDX-License-Identifier: Apache-2.0
"""Rows of the paper's Table 2: what is trained when, and what the table says."""

import json
import math

import pytest
from stage_tools import settings, strict

from lipjax import ablation, cli
from lipjax.ablation import PAPER, Result
from lipjax.evaluation import rows
from lipjax.metrics.table import COLUMNS

CONFIG = "configs/at_a_glance.py:tiny"


def cells(value: float) -> dict:
    """A row of an evaluation's table that is `value` throughout."""
    mean = {"mean": value, "low": None, "high": None, "clips": 1}
    return {column: {"all": mean, "speech": mean} for column in COLUMNS}


class Pretended:
    """Training and evaluation that only note what they are asked."""

    def __init__(self, monkeypatch):
        self.asked: list[str] = []
        self.given: list[str] = []
        monkeypatch.setattr("lipjax.train.train", self.train)
        monkeypatch.setattr("lipjax.train._derive_flow", lambda *rest: self.asked.append("derive"))
        monkeypatch.setattr(ablation, "evaluate_workdir", self.evaluate)

    def train(self, config, workdir, start=None):
        name = "/".join(workdir.parts[-2:])
        self.asked.append(f"train {name}, seed {config.seed}")
        if config.task == "at_a_glance":
            self.given.append(config.given.flow)
        workdir.mkdir(parents=True, exist_ok=True)
        (workdir / "progress.json").write_text(json.dumps({"step": config.train.steps}))

    def evaluate(self, run, *, split, clips, show):
        letter, seed = run.parts[-2:]
        self.asked.append(f"evaluate {letter}/{seed} on {clips} of {split}")
        value = {"b": 1.0, "e": 2.0}[letter] + 0.5 * int(seed)
        table = {
            rows.MEAN_MOUTH: {**cells(7.25), "psnr": cells(None)["psnr"]},
            rows.MODEL: cells(value),
            rows.MODEL_WRONG: cells(-value),
        }
        facts = {"corpus": "made-up", "split": split, "clips": clips}
        # Clips differ far more than rows do: only paired by clip is a difference seen.
        hard = [{"all": value + 10.0 * number} for number in range(clips)]
        seen = [{"rows": {rows.MODEL: dict.fromkeys(COLUMNS, values)}} for values in hard]
        file = run / "eval" / split / "evaluation.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({"table": table, "facts": facts, "clips": seen}))


def words(workdir, corpus, *more, letters="b,e", seeds="2"):
    plan = ["--rows", letters, "--seeds", seeds, "--workdir", str(workdir)]
    return ["ablation", "--config", CONFIG, *plan, *more, *settings(corpus)]


def test_shared_stages_come_first_and_nothing_is_done_twice(tiny_corpus, tmp_path, monkeypatch):
    work = Pretended(monkeypatch)
    asked = words(tmp_path, tiny_corpus, "--clips", "3", "--split", "val")
    assert cli.main(asked) == 0
    runs = [(row, seed) for row in "be" for seed in (0, 1)]
    evaluations = [f"evaluate {row}/{seed} on 3 of val" for row, seed in runs]
    trainings = [f"train {row}/{seed}, seed {seed}" for row, seed in runs]
    each = [step for pair in zip(trainings, evaluations, strict=True) for step in pair]
    stages = ["derive", "train stages/flow, seed 0", "train stages/perceptual, seed 0"]
    assert work.asked == stages + each
    assert work.given == ["", "", *[str(tmp_path / "stages" / "flow")] * 2]
    work.asked.clear()
    assert cli.main(asked) == 0 and not work.asked
    # A seed more is that seed alone.
    assert cli.main([*asked, "--seeds", "3"]) == 0
    assert [step for step in work.asked if "train" in step] == [
        "train b/2, seed 2",
        "train e/2, seed 2",
    ]


def test_the_table_has_ours_with_spread_the_papers_and_the_honest_rows(
    tiny_corpus, tmp_path, monkeypatch, capsys
):
    Pretended(monkeypatch)
    assert cli.main(words(tmp_path, tiny_corpus, "--clips", "3")) == 0
    told = (tmp_path / "ablation.txt").read_text(encoding="utf-8")
    assert told in capsys.readouterr().out
    about, head, b, e, still, less = told.splitlines()
    assert "made-up, test: 3 clips; mean over 2 seeds" in about and "on other clips" in about
    # Seeds 1.0 and 1.5: mean 1.25, deviation of a sample of two 0.5 / sqrt(2).
    assert b.split()[:4] == ["(b)", "pixel", "1.250", "±0.354"]
    assert b.split()[-4:] == ["1.28", "0.79", "29.81", "0.006"]
    assert "-1.250 ±0.354" in b and head.index("r wrong sound") < head.index("paper LMD")
    assert e.startswith("(e)") and "2.250 ±0.354" in e and "d + correlation" in e
    assert e.split()[-4:] == ["1.18", "0.73", "29.98", "0.175"]
    assert still.split() == [*rows.MEAN_MOUTH.split(), "7.250", "7.250", "7.250", "-", "7.250"]
    assert less.startswith("(e) - (b): LMD +1.000 (+1.000 to +1.000), r +1.000 (")
    content = strict(tmp_path / "ablation.json")
    assert content["rows"]["e"]["clips"]["lmd"] == [2.25, 12.25, 22.25]
    assert content["rows"]["e"]["values"]["lmd"] == [2.0, 2.5] and content["seeds"] == 2
    assert content["rows"]["b"]["evaluations"] == [f"b/{n}/eval/test/evaluation.json" for n in "01"]
    assert content["paper"]["e"] == [1.18, 0.73, 29.98, 0.175]
    assert content["honest"][rows.MEAN_MOUTH]["psnr"]["all"]["mean"] is None


@pytest.mark.parametrize(
    ("letters", "config", "says"),
    [
        ("b,z", CONFIG, "--rows b,z: rows are a, b, c, d, e, f, g, h, i"),
        (",", CONFIG, "rows are a, b"),
        ("b", f"{CONFIG},row=e", "leave out row=, --rows names them"),
    ],
)
def test_rows_that_are_none_are_told_in_one_line(
    tiny_corpus, tmp_path, capsys, letters, config, says
):
    asked = ["ablation", "--config", config, "--rows", letters, "--workdir", str(tmp_path / "x")]
    assert cli.main([*asked, *settings(tiny_corpus)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and says in error
    assert not (tmp_path / "x").exists()


def result(**values) -> Result:
    nothing = dict.fromkeys((*COLUMNS, "r_wrong"), [math.nan])
    return Result({**nothing, **values}, [])


def test_spread_is_over_the_seeds_that_have_a_value():
    facts = {"corpus": "made-up", "split": "test", "clips": 2}
    made = {"a": result(lmd=[1.0, 2.0, 4.0], ssim=[0.5, math.nan, 0.5], r=[0.25])}
    about, _, line = ablation.text(made, {}, facts).splitlines()
    assert "mean over 3 seeds" in about
    numbers = line.removeprefix("(a)  adversarial, 3 streams").split()
    # LMD with the deviation of (1, 2, 4); one r, no spread; SSIM without its NaN; PSNR has none.
    assert numbers[:7] == ["2.333", "±1.528", "0.250", "0.500", "±0.000", "-", "-"]
    about = ablation.text({"a": result(lmd=[1.0])}, {}, facts).splitlines()[0]
    assert "one seed, no spread" in about


def test_the_papers_numbers_are_those_of_its_table():
    assert list(PAPER) == list("abcdefghi") == list(ablation.LOSSES)
    assert min(PAPER, key=lambda row: PAPER[row][0]) == "e"  # the best LMD
    assert PAPER["f"] == (1.96, 0.52, 28.6, 0.218)
