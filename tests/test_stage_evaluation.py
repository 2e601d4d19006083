# SPDX-License-Identifier: Apache-2.0
"""Trained earlier stages on whole clips: the command's outputs, and its numbers by other means."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio
from stage_tools import copied, settings, strict

from lipjax import build, cli
from lipjax.config_files import load_config
from lipjax.data.derive import derive
from lipjax.data.views import resize
from lipjax.errors import ConfigError, CorpusError
from lipjax.media import draw
from lipjax.media.optical_flow import farneback
from lipjax.metrics.intervals import Interval
from lipjax.nn.warping import resize_flow
from lipjax.stage_evaluation import contract, job, optical_flow, perceptual
from lipjax.stage_evaluation.contract import Measured
from lipjax.stage_evaluation.result import NETWORK, ClipValues, Column, summarise
from lipjax.training.checkpoints import FOLDER, Checkpoints, load_params
from lipjax.training.logging import MetricWriter

CONFIG = "configs/at_a_glance.py:tiny,row=e"


@pytest.fixture(scope="module")
def corpus(tiny_corpus, tmp_path_factory):
    made = copied(tiny_corpus, tmp_path_factory.mktemp("stages") / "corpus")
    derive("flow", made.directory, size=64, processes=0, show=None)
    return made


@pytest.fixture(scope="module")
def runs(corpus, tmp_path_factory):
    """A folder of runs as training leaves them, but for the training: stage -> workdir."""
    folder = tmp_path_factory.mktemp("runs")
    last = load_config(CONFIG, overrides=settings(corpus))
    pictures = jnp.zeros((1, 2, 64, 64, 3), jnp.uint8)
    for name in ("flow", "perceptual"):
        config, workdir = build.stage_of(last, name), folder / name
        task = build.task_of(config)
        state = jax.jit(task.init)(jax.random.key(0), {"video": pictures}, {})
        # So that their outputs, at first nearly nothing, are something.
        state = state.replace(ema=jax.tree.map(lambda leaf: 3 * leaf, state.ema))
        build.save_description(workdir, build.describe(config, [corpus]))
        checkpoints, writer = Checkpoints(workdir / FOLDER), MetricWriter(workdir)
        checkpoints.save(1, state, loop={})
        checkpoints.close()
        for step in (1, 2):
            writer.row(step, {f"train/{task.best_metric}": 1.0 / step})
        writer.close()
    return folder


def evaluated(run, out, capsys, *words):
    """Runs `lipjax eval`; returns what it printed and what it wrote."""
    assert cli.main(["eval", "--workdir", str(run), "--out", str(out), *words]) == 0
    return capsys.readouterr().out, strict(out / "evaluation.json")


def network_of(run, player, make):
    """The trained network of a run, and its variables."""
    trained = jax.tree.map(jnp.asarray, load_params(run))
    variables = {"params": trained["params"][player], "batch_stats": trained["stats"][player]}
    return make(build.load_description(run)["network"]), variables


def test_a_flow_run_is_measured_on_all_pairs_of_whole_clips(runs, corpus, capsys, tmp_path):
    told, found = evaluated(runs / "flow", tmp_path / "out", capsys)
    clips = list(corpus.clips("test"))
    assert found["facts"]["clips"] == len(clips) == 2
    assert found["facts"]["counted"] == sum(clip.num_frames - 1 for clip in clips)
    network, variables = network_of(runs / "flow", "flow", build.flow_of)
    for clip, values in zip(clips, found["clips"], strict=True):
        video = resize(clip.mouth, 64)
        target = farneback(video).astype(np.float16).astype(np.float32)
        lengths = np.linalg.norm(target, axis=-1)
        rows = values["rows"]
        np.testing.assert_allclose(rows["no motion"]["endpoint_error"], lengths.mean(), rtol=1e-4)
        changes = np.abs(np.diff(video.astype(float), axis=0))
        np.testing.assert_allclose(rows["no motion"]["warping_error"], changes.mean(), rtol=1e-4)
        assert rows["Farneback"]["warping_error"] < 0.9 * changes.mean()
        unit = jnp.asarray(video / np.float32(127.5) - 1)
        raw = network.apply(variables, unit[:-1], unit[1:])[0]
        spread = resize_flow(raw, 64, 64)
        error = np.linalg.norm(spread - target, axis=-1).mean()
        np.testing.assert_allclose(rows["network"]["endpoint_error"], error, rtol=1e-4)
        assert 0 < rows["Farneback on the network's grid"]["endpoint_error"] < lengths.mean()
    assert "endpoint_error" not in rows["Farneback"]
    assert found["table"]["Farneback"]["endpoint_error"]["mean"] is None
    line = next(line for line in told.splitlines() if line.startswith("Farneback  "))
    assert line.split()[1] == "-"
    mean = found["table"]["no motion"]["endpoint_error"]
    assert mean["low"] <= mean["mean"] <= mean["high"] and mean["clips"] == 2
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.count("<img") == 2 and "Training curves" in page and "endpoint_error" in page
    assert "nan to nan" not in page and "<td>nan" not in page


def test_a_perceptual_run_is_measured_on_all_frames(runs, corpus, capsys, tmp_path):
    told, found = evaluated(runs / "perceptual", tmp_path, capsys, "--clips", "1")
    clip = corpus.clips("test")[0]
    assert found["facts"]["clips"] == 1 and found["facts"]["counted"] == clip.num_frames
    video = resize(clip.mouth, 64)
    network, variables = network_of(runs / "perceptual", "perceptual", build.perceptual_of)
    unit = jnp.asarray(video / np.float32(127.5) - 1)
    made = np.asarray(network.apply(variables, unit, train=False))
    made = np.clip(np.round((made + 1) * 127.5), 0, 255).astype(np.uint8)
    still = np.broadcast_to(np.round(video.mean(axis=0)).astype(np.uint8), video.shape)
    for row, frames in (("network", made), ("mean frame of the clip", still)):
        values = found["table"][row]
        errors = np.abs(frames.astype(float) - video).mean()
        np.testing.assert_allclose(values["absolute_error"]["mean"], errors, rtol=1e-3)
        psnr = [peak_signal_noise_ratio(a, b) for a, b in zip(video, frames, strict=True)]
        np.testing.assert_allclose(values["psnr"]["mean"], np.mean(psnr), rtol=1e-4)
        assert values["psnr"]["low"] is None  # one clip has no interval
    blurred = found["table"]["bicubic, 64 to 16 px and back"]
    assert blurred["ssim"]["mean"] > found["table"]["network"]["ssim"]["mean"]
    assert "network - mean frame of the clip" in told and (tmp_path / "report.html").is_file()


@pytest.mark.parametrize("stage", ["flow", "perceptual"])
def test_a_stage_has_no_table_as_released(runs, stage, capsys):
    assert cli.main(["eval", "--workdir", str(runs / stage), "--as-released"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "earlier stage" in error and "leave out" in error
    assert not (runs / stage / "eval").exists()


def test_another_corpus_without_derived_flow_is_told_the_remedy(runs, tiny_corpus, capsys):
    words = ["eval", "--workdir", str(runs / "flow"), "--corpus", str(tiny_corpus.directory)]
    assert cli.main(words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"lipjax derive flow {tiny_corpus.directory}" in error
    # Reconstructions need nothing derived, and go beside the run unless told otherwise.
    words[2] = str(runs / "perceptual")
    assert cli.main([*words, "--clips", "1", "--split", "val"]) == 0
    assert (runs / "perceptual" / "eval" / "val" / "evaluation.json").is_file()


def test_a_workdir_that_talks_is_no_stage(runs, tmp_path):
    description = build.load_description(runs / "flow")
    build.save_description(tmp_path, {**description, "family": "at_a_glance"})
    with pytest.raises(ConfigError, match="'at_a_glance' is no stage"):
        job.evaluate_stage(tmp_path, split="test")


class Counting:
    """A family whose error is its clip's number of frames; some clips cannot be measured."""

    columns = {"error": Column("error", 1)}
    unit, derived, notes, caption = "frames", (), (), ""

    def __init__(self, *broken):
        self.broken = broken

    def measure(self, views):
        if views.clip.id in self.broken:
            raise CorpusError(f"clip {views.clip.id} has none")
        count = views.num_frames
        rows = {"other": {"error": 1.0}, NETWORK: {"error": float(count)}}
        return Measured(count, rows, {})

    def sheet(self, clips):
        return np.zeros((len(clips), 1, 3), np.uint8)


def test_clips_that_cannot_be_measured_are_told_and_counted(tiny_corpus):
    log_mel = {"rate": 16_000, "bands": 40}
    description = {"family": "x", "mouth_size": 32, "log_mel": log_mel, "fps": 25.0}
    told = []

    def run(*broken, **limit):
        family = Counting(*broken)
        return job.evaluate(family, description, tiny_corpus, "train", show=told.append, **limit)

    made = run("s1-a", "s1-c")
    assert made.facts["clips"] == 4 and made.facts["clips_left_out"] == {"unreadable": 2}
    assert [line for line in told if "s1-" in line] == [
        "left out: clip s1-a: unreadable: clip s1-a has none",
        "left out: clip s1-c: unreadable: clip s1-c has none",
    ]
    assert "4 clips, 140 frames, 2 clips left out (2 unreadable)" in made.about()
    assert {clip.id for clip in made.clips} == {"s1-b", "s2-a", "s2-b", "s2-c"}
    with pytest.raises(CorpusError, match="no clip of 'train' can be measured"):
        run(*tiny_corpus.index("train").id, max_bad_fraction=1.0)
    with pytest.raises(CorpusError, match="4 of 6 clips cannot be used .*3 are allowed"):
        run(*tiny_corpus.index("train").id)


def test_every_counted_thing_weighs_the_same_and_differences_are_paired():
    clips = [
        ClipValues(str(n), "", n, {"other": {"error": n + 1.0}, NETWORK: {"error": float(n)}})
        for n in (1, 3)
    ]
    table, differences = summarise(clips, Counting.columns)
    assert table[NETWORK]["error"].mean == pytest.approx((1 * 1 + 3 * 3) / 4)
    assert differences == {"other": {"error": Interval(-1.0, -1.0, -1.0, 2)}}


@pytest.mark.parametrize("count", [1, contract.BLOCK, contract.BLOCK + 1])
def test_blocks_of_one_length_give_what_the_whole_gives(count):
    lengths = set()

    def double(x, y):
        lengths.add(len(x))
        return {"sum": x + 2 * y}

    x, y = np.arange(count), np.arange(count) ** 2
    np.testing.assert_array_equal(contract.in_blocks(double, x, y)["sum"], x + 2 * y)
    assert lengths == {contract.BLOCK}


def noted(monkeypatch):
    """The rows of the sheets that are drawn from now on."""
    drawn, contact_sheet = {}, draw.contact_sheet

    def note(rows):
        drawn.update(rows)
        return contact_sheet(rows)

    monkeypatch.setattr(draw, "contact_sheet", note)
    return drawn


def test_sheets_show_the_liveliest_pairs_under_names_that_the_font_has(monkeypatch):
    drawn = noted(monkeypatch)
    video = np.zeros((21, 8, 8, 3), np.uint8)
    video[:] = np.arange(21)[:, None, None, None]
    flow = np.zeros((20, 8, 8, 2), np.float32)
    flow[6:18] = 1.0
    pictures = {"video": video, "measured": flow, "found": flow}
    optical_flow.FlowFamily.sheet(None, [Measured(20, {}, pictures)])
    np.testing.assert_array_equal(drawn["1 frames"][:, 0, 0, 0], np.arange(6, 18))
    assert all(name.isascii() for name in drawn) and any("Farneback" in name for name in drawn)
    monkeypatch.undo()
    short = {name: part[: 5 + (name == "video")] for name, part in pictures.items()}
    sheet = optical_flow.FlowFamily.sheet(
        None, [Measured(20, {}, pictures), Measured(5, {}, short)]
    )
    assert sheet.shape[1] == 120 + 5 * (8 + 2) - 2


def test_the_reconstruction_sheet_puts_frames_above_what_became_of_them(monkeypatch):
    family = object.__new__(perceptual.PerceptualFamily)
    family.bicubic = "small"
    drawn = noted(monkeypatch)
    video = np.arange(23, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    family.sheet([Measured(23, {}, {"frames": video, NETWORK: video + 100, "small": video})])
    assert list(drawn) == ["1 frames", "1 network", "1 small"]
    np.testing.assert_array_equal(drawn["1 frames"][[0, -1], 0, 0, 0], [0, 22])
    np.testing.assert_array_equal(drawn["1 network"], drawn["1 frames"] + 100)
