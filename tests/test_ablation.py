# SPDX-License-Identifier: Apache-2.0
"""Rows of the paper's Table 2: what is trained when, and what the table says."""

import json
import math

import pytest
from stage_tools import copied, quick_programs, settings

from lipjax import ablation, cli
from lipjax.ablation import PAPER, Result
from lipjax.evaluation import rows
from lipjax.metrics.table import COLUMNS

CONFIG = "configs/at_a_glance.py:tiny"


def strict(path):
    """Reads JSON in which NaN is an error."""

    def refuse(constant):
        raise AssertionError(f"{constant} in {path}")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


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
        file = run / "eval" / split / "evaluation.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({"table": table, "facts": facts}))


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
    about, head, b, e, still = told.splitlines()
    assert "made-up, test: 3 clips; mean over 2 seeds" in about and "on other clips" in about
    # Seeds 1.0 and 1.5: mean 1.25, deviation of a sample of two 0.5 / sqrt(2).
    assert b.split()[:4] == ["(b)", "pixel", "1.250", "±0.354"]
    assert b.split()[-4:] == ["1.28", "0.79", "29.81", "0.006"]
    assert "-1.250 ±0.354" in b and head.index("r wrong sound") < head.index("paper LMD")
    assert e.startswith("(e)") and "2.250 ±0.354" in e and "d + correlation" in e
    assert e.split()[-4:] == ["1.18", "0.73", "29.98", "0.175"]
    assert still.split() == [*rows.MEAN_MOUTH.split(), "7.250", "7.250", "7.250", "-", "7.250"]
    content = strict(tmp_path / "ablation.json")
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


def test_rows_train_and_are_evaluated_in_earnest(tiny_corpus, tmp_path, capsys):
    corpus = copied(tiny_corpus, tmp_path / "corpus")
    asked = words(tmp_path / "runs", corpus, "--clips", "1")
    with quick_programs(tmp_path / "programs"):
        assert cli.main(asked) == 0
    told = capsys.readouterr().out
    assert "deriving optical flow" in told and told.count("row (") == 4
    told = (tmp_path / "runs" / "ablation.txt").read_text(encoding="utf-8")
    for row in ("(b)  pixel", "(e)  d + correlation", *ablation._HONEST):
        assert row in told
    content = strict(tmp_path / "runs" / "ablation.json")
    for letter in "be":
        values = content["rows"][letter]["values"]
        assert len(values["lmd"]) == len(values["psnr"]) == 2 and values["psnr"][0] > 5
        assert values["psnr"][0] != values["psnr"][1]  # seeds differ
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "runs").glob("*/*/**/*.json")}
    assert cli.main(asked) == 0
    assert capsys.readouterr().out.count("done already") == 6
    assert {p: p.stat().st_mtime_ns for p in before} == before
