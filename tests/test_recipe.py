# SPDX-License-Identifier: Apache-2.0
"""Recipes of stages, as the command line runs them on a tiny corpus."""

import contextlib
import io
import json

import pytest
from stage_tools import copied, quick_programs, settings, strict

from lipjax import build, cli
from lipjax.config_files import load_config
from lipjax.train import steps_done

CONFIG = "configs/at_a_glance.py:tiny"


@pytest.fixture(scope="module", autouse=True)
def quick(tmp_path_factory):
    with quick_programs(tmp_path_factory.mktemp("programs")):
        yield


@pytest.fixture(scope="module")
def corpus(tiny_corpus, tmp_path_factory):
    """A corpus from which nothing has been derived yet."""
    return copied(tiny_corpus, tmp_path_factory.mktemp("recipe") / "corpus")


def trains(corpus, workdir, *words, row="e", **more) -> list[str]:
    config = ["--config", f"{CONFIG},row={row}", "--workdir", str(workdir)]
    return ["train", *config, *words, *settings(corpus, **more)]


def refused(capsys, words) -> str:
    """Checks that a command ends with code 2 and one line, which is returned."""
    assert cli.main(words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


@pytest.fixture(scope="module")
def recipe(corpus, tmp_path_factory):
    """The workdir of a whole recipe, and what it told."""
    workdir, told = tmp_path_factory.mktemp("runs") / "run", io.StringIO()
    with contextlib.redirect_stdout(told):
        assert cli.main(trains(corpus, workdir, "--recipe")) == 0
    return workdir, told.getvalue()


def test_a_recipe_trains_its_stages_in_order_and_says_so(recipe, corpus):
    workdir, told = recipe
    flow, perceptual = (workdir / "stages" / name for name in ("flow", "perceptual"))
    announced = [line for line in told.splitlines() if line.startswith(("recipe", "=="))]
    assert announced == [
        "recipe: flow, then perceptual, then generator",
        f"== stage 1 of 3, flow: 2 steps, in {flow}",
        f"== stage 2 of 3, perceptual: 2 steps, in {perceptual}",
        f"== stage 3 of 3, generator: 2 steps, in {workdir}",
    ]
    assert "deriving optical flow" in told and corpus.derived("flow", "train")
    assert [steps_done(run) for run in (flow, perceptual, workdir)] == [2, 2, 2]
    families = [build.load_description(run)["family"] for run in (flow, perceptual, workdir)]
    assert families == ["optical_flow", "perceptual", "at_a_glance"]
    for run in (flow, perceptual, workdir):
        assert list((run / "previews").iterdir()), run
    terms = json.loads((workdir / "metrics.jsonl").read_text().splitlines()[-1])
    told = " ".join(terms)
    assert all(term in told for term in ("pixel", "perceptual", "correlation", "discriminator"))


def test_a_recipe_that_is_done_is_done_once(recipe, corpus, capsys):
    workdir, _ = recipe
    before = {path: path.stat().st_mtime_ns for path in workdir.rglob("*") if path.is_file()}
    assert cli.main(trains(corpus, workdir, "--recipe")) == 0
    told = capsys.readouterr().out
    assert told.count("done already (2 steps") == 3 and "deriving" not in told
    assert {p: p.stat().st_mtime_ns for p in workdir.rglob("*") if p.is_file()} == before


def test_losses_without_their_networks_are_told_every_way_out(corpus, tmp_path, capsys):
    error = refused(capsys, trains(corpus, tmp_path / "run"))
    assert "the flow network, which is not trained" in error
    for way in ("--recipe", "--stage flow", "--config.given.flow=WORKDIR"):
        assert way in error
    assert not (tmp_path / "run").exists()


def test_one_stage_trains_alone(recipe, corpus, tmp_path, capsys):
    workdir = tmp_path / "perceptual"
    assert cli.main(trains(corpus, workdir, "--stage", "perceptual")) == 0
    assert build.load_description(workdir)["family"] == "perceptual" and steps_done(workdir) == 2
    assert not (workdir / "stages").exists()
    error = refused(capsys, trains(corpus, tmp_path / "x", "--stage", "flwo"))
    assert "no stage 'flwo' (did you mean 'flow'?)" in error
    error = refused(capsys, trains(corpus, tmp_path / "x", "--stage", "flow", "--recipe"))
    assert "choose" in error


def test_stages_may_be_given_from_elsewhere(recipe, corpus, tmp_path, capsys):
    stages = recipe[0] / "stages"
    given = {"given.flow": stages / "flow", "given.perceptual": stages / "perceptual"}
    config = load_config(f"{CONFIG},row=e", overrides=settings(corpus, **given))
    loaded = build.load_given(config, tmp_path)
    assert set(loaded["perceptual"].variables["params"]) == {"down", "residual_1"}
    swapped = {"given.flow": given["given.perceptual"], "given.perceptual": given["given.flow"]}
    error = refused(capsys, trains(corpus, tmp_path / "run", **swapped))
    assert "holds a model of family 'perceptual', not 'optical_flow'" in error
    error = refused(capsys, trains(corpus, tmp_path / "run", **{"given.flow": tmp_path}))
    assert f"{tmp_path} holds no trained model" in error


def test_a_recipe_trains_only_what_its_losses_need(corpus, tmp_path, monkeypatch, capsys):
    trained = []

    def train(config, workdir, start=None):
        trained.append((config.task, workdir, start))
        workdir.mkdir(parents=True, exist_ok=True)
        (workdir / "progress.json").write_text(json.dumps({"step": config.train.steps}))

    monkeypatch.setattr("lipjax.train.train", train)
    workdir, other = tmp_path / "run", tmp_path / "other"
    words = trains(corpus, workdir, "--recipe", "--from", str(tmp_path), row="h")
    assert cli.main(words) == 0
    assert trained == [
        ("perceptual", workdir / "stages" / "perceptual", None),
        ("at_a_glance", workdir, tmp_path),
    ]
    assert "recipe: perceptual, then generator\n" in capsys.readouterr().out
    trained.clear()
    # More steps are more to do, in the last stage alone.
    assert cli.main([*words, "--config.train.steps=3"]) == 0
    assert [task for task, *_ in trained] == ["at_a_glance"]
    trained.clear()
    given = {"given.perceptual": workdir / "stages" / "perceptual"}
    assert cli.main(trains(corpus, other, "--recipe", row="h", **given)) == 0
    assert trained == [("at_a_glance", other, None)]
    assert f"taken from {given['given.perceptual']}" in capsys.readouterr().out


def test_rows_of_the_ablation_train_and_are_evaluated(recipe, corpus, tmp_path, capsys):
    """In earnest, with the recipe's stages; the rest is tested on pretended runs."""
    stages, runs = recipe[0] / "stages", tmp_path / "runs"
    given = {f"given.{name}": stages / name for name in ("flow", "perceptual")}
    words = ["ablation", "--config", CONFIG, "--rows", "b,e", "--workdir", str(runs)]
    words += settings(corpus, **given)
    assert cli.main(words) == 0
    told = capsys.readouterr().out
    assert told.count("== row (") == 2 and not (runs / "stages").exists()
    honest = ("ground truth again", "motionless mean mouth", "still picture", "linear predictor")
    for row in ("(b)  pixel", "(e)  d + correlation", *honest):
        assert row in (runs / "ablation.txt").read_text(encoding="utf-8")
    content = strict(runs / "ablation.json")
    psnr = [content["rows"][row]["values"]["psnr"] for row in "be"]
    assert psnr[0] != psnr[1] and all(len(p) == 1 and 5 < p[0] < 60 for p in psnr)
    before = {path: path.stat().st_mtime_ns for path in runs.glob("*/*/**/*.json")}
    assert len(before) > 6
    assert cli.main(words) == 0
    assert capsys.readouterr().out.count("done already") == 2
    assert {path: path.stat().st_mtime_ns for path in before} == before
