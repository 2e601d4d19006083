# SPDX-License-Identifier: Apache-2.0
"""The loop: learns, equals itself on other devices, resumes exactly, names what goes wrong."""

import json
import os
import shutil
import signal

import jax
import numpy as np
import pytest
from toy_training import ToyTask, ToyWindows

from lipjax.errors import ConfigError
from lipjax.training.checkpoints import Checkpoints, load_params
from lipjax.training.logging import read_metrics
from lipjax.training.loop import train


def run(task, windows, workdir, **options):
    settings = dict(steps=30, log_every=10, eval_every=10, checkpoint_every=10, show=lambda _: None)
    return train(task, windows, workdir=workdir, **(settings | options))


def leaves(tree):
    """Every leaf as NumPy, keys as their bits."""

    def raw(x):
        is_key = jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
        return jax.random.key_data(x) if is_key else x

    return [np.asarray(raw(leaf)) for leaf in jax.tree.leaves(tree)]


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(leaves(a), leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


def test_learns_and_logs(tmp_path, toy_task, toy_windows, eval_batches):
    lines = []
    result = run(
        toy_task(), toy_windows(), tmp_path, steps=300, log_every=50, eval_every=100,
        eval_batches=eval_batches, show=lines.append,
    )  # fmt: skip
    rows = read_metrics(tmp_path)
    assert [row["step"] for row in rows] == [50, 100, 150, 200, 250, 300]
    assert rows[0]["train/loss"] > 2.0 and rows[-1]["train/loss"] < 1e-2
    assert result.evaluation["error"] < 0.1
    assert {row["step"] for row in rows if "eval/error" in row} == {100, 200, 300}
    assert int(result.state.step) == 300 and int(result.state.skipped) == 0
    assert any("compiled" in line for line in lines)
    assert any("steps/s" in line and "windows/s" in line and "left" in line for line in lines)
    assert result.compile_seconds > 0 and result.windows_per_second > result.steps_per_second


def test_eval_counts_each_example_once(tmp_path, toy_task, toy_windows, eval_batches):
    result = run(toy_task(), toy_windows(), tmp_path, steps=1, eval_batches=eval_batches)
    p = load_params(tmp_path)["params"]["line"]
    x, y = (np.concatenate([batch[n] for batch in eval_batches]) for n in ("x", "y"))
    assert len(x) == 21
    expected = np.mean((x @ p["w"] + p["b"] - y) ** 2)
    np.testing.assert_allclose(result.evaluation["error"], expected, rtol=1e-5)


@pytest.mark.parametrize("shards", [1, 4, 8])
def test_eight_devices_equal_one(tmp_path, toy_task, toy_windows, eval_batches, shards):
    task, windows = toy_task(noise=0.1), toy_windows()
    one = run(task, windows, tmp_path / "1", eval_batches=eval_batches, devices=jax.devices()[:1])
    many = run(task, windows, tmp_path / "8", eval_batches=eval_batches, shards=shards)
    w = many.state.params["line"]["w"]
    assert len(w.sharding.device_set) == 8
    assert w.addressable_shards[0].data.shape == (8, 512 // shards)
    for a, b in zip(leaves(one.state), leaves(many.state), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(one.evaluation["error"], many.evaluation["error"], rtol=1e-4)


def test_resume_equals_unbroken(tmp_path, toy_task, toy_windows, eval_batches):
    task, windows = toy_task(noise=0.1), toy_windows(poisoned=(12, 22))
    options = dict(eval_batches=eval_batches, log_every=10, checkpoint_every=7)
    whole = run(task, windows, tmp_path / "a", **options)
    # Stopped between two rows of the log, twice; then rows beyond the checkpoint are added,
    # as a run leaves them that was killed before it saved.
    broken = tmp_path / "b"
    stop_at(14, task, windows, broken, **options)
    with (broken / "metrics.jsonl").open("a") as file:
        file.write('{"step": 20, "train/loss": 1.0}\n{"step": 30, "tr')
    stop_at(25, task, windows, broken, **options)
    result = run(task, windows, broken, **options)
    assert_same(whole.state, result.state)
    assert int(result.state.skipped) == 2
    a, b = (folder / "metrics.jsonl" for folder in (tmp_path / "a", broken))
    assert a.read_text() == b.read_text()
    assert whole.best == result.best and whole.best_step == result.best_step


def stop_at(step, task, windows, workdir, *, number=signal.SIGINT, **options):
    """Runs until a signal arrives in the step after `step` batches were drawn."""

    class Interrupting:
        def batch(self, n):
            if n == step - 1 and n > 0:
                os.kill(os.getpid(), number)
            return windows.batch(n)

    expected = KeyboardInterrupt if number == signal.SIGINT else SystemExit
    with pytest.raises(expected):
        run(task, Interrupting(), workdir, **options)
    manager = Checkpoints(workdir / "checkpoints")
    assert manager.latest == step
    manager.close()


def test_sigterm_saves_and_names_its_code(tmp_path, toy_task, toy_windows):
    before = signal.getsignal(signal.SIGTERM)
    stop_at(12, toy_task(), toy_windows(), tmp_path, number=signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before


def test_finished_run_is_left_alone(tmp_path, toy_task, toy_windows):
    first = run(toy_task(), toy_windows(), tmp_path)
    text = (tmp_path / "metrics.jsonl").read_text()
    again = run(toy_task(), toy_windows(), tmp_path)
    assert_same(first.state, again.state)
    assert (tmp_path / "metrics.jsonl").read_text() == text
    longer = run(toy_task(), toy_windows(), tmp_path, steps=40)
    assert int(longer.state.step) == 40


MOVES = (  # from devices, shards of the parameters over them; to the same
    *(((8, 8), (4, 2)), ((8, 4), (2, 2)), ((8, 1), (1, 1)), ((8, 2), (4, 4))),
    *(((4, 2), (8, 8)), ((2, 2), (8, 4)), ((1, 1), (8, 1)), ((2, 1), (4, 4))),
)


@pytest.mark.parametrize(
    ("before", "after"),
    MOVES,
    ids=lambda mesh: f"{mesh[0]}x{mesh[1]}",
)
def test_resumes_on_other_devices(once, before, after, toy_task, toy_windows):
    task, windows = toy_task(noise=0.1), toy_windows()
    whole, saved = once("whole", (1, 1), 20), once(f"at 10 on {before}", before, 10)
    workdir = saved.parent / f"{before} to {after}"
    shutil.copytree(saved, workdir)
    devices, shards = jax.devices()[: after[0]], after[1]
    moved = run(task, windows, workdir, steps=20, devices=devices, shards=shards)
    w = moved.state.params["line"]["w"]
    assert len(w.sharding.device_set) == after[0]
    assert w.addressable_shards[0].data.shape == (8, 512 // after[1])
    there = Checkpoints(whole / "checkpoints")
    unmoved, _ = there.restore(jax.tree.map(lambda x: x, moved.state))
    there.close()
    assert int(moved.state.step) == int(unmoved.step) == 20
    for a, b in zip(leaves(unmoved), leaves(moved.state), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """Workdirs of runs that several tests go on from, each trained once."""
    folder = tmp_path_factory.mktemp("meshes")

    def trained(name, mesh, steps):
        if not (folder / name).is_dir():
            devices = jax.devices()[: mesh[0]]
            task, windows = ToyTask(noise=0.1), ToyWindows()
            run(task, windows, folder / name, steps=steps, devices=devices, shards=mesh[1])
        return folder / name

    return trained


def test_moving_back_and_forth_changes_no_bit(tmp_path, toy_task, toy_windows):
    """What is saved on 8 devices and read on others is the same to the last bit."""
    run(toy_task(noise=0.1), toy_windows(), tmp_path / "run", steps=3, shards=8)
    states = []
    for devices, shards in ((8, 1), (4, 4), (2, 1), (1, 1), (8, 8)):
        result = run(
            toy_task(noise=0.1), toy_windows(), tmp_path / "run", steps=3,
            devices=jax.devices()[:devices], shards=shards,
        )  # fmt: skip
        states.append(result.state)
    for state in states[1:]:
        assert_same(states[0], state)


def test_skipped_update_is_named_and_counted(tmp_path, toy_task, toy_windows):
    result = run(toy_task(), toy_windows(poisoned=(3, 12)), tmp_path, steps=20)
    first, second = read_metrics(tmp_path)
    assert (first["skipped"], second["skipped"]) == (1, 2)
    assert first["nonfinite/loss"] == 1 and "nonfinite/input" not in first
    assert np.isfinite(first["train/loss"])
    assert all(np.isfinite(leaf).all() for leaf in leaves(result.state.params))
    assert int(result.state.step) == 20


def test_start_from_parameters_only(tmp_path, toy_task, toy_windows, eval_batches):
    run(toy_task(), toy_windows(), tmp_path / "a", steps=20, eval_batches=eval_batches)
    lines = []
    options = dict(steps=1, from_checkpoint=tmp_path / "a", show=lines.append)
    result = run(toy_task(learning_rate=0.0), toy_windows(), tmp_path / "b", **options)
    assert set(result.start.matched) == {"params/line/b", "params/line/w", "stats/line/mean"}
    assert not result.start.missing and not result.start.mismatched
    source = load_params(tmp_path / "a", averaged=False)["params"]["line"]
    np.testing.assert_array_equal(result.state.params["line"]["w"], source["w"])
    np.testing.assert_allclose(result.state.ema["params"]["line"]["w"], source["w"], rtol=1e-6)
    assert int(result.state.step) == 1  # not 21: the step is its own
    assert any("3 arrays match" in line for line in lines)
    # The same command again goes on; a run with another start does not.
    assert int(run(toy_task(), toy_windows(), tmp_path / "b", **options).state.step) == 1
    with pytest.raises(ConfigError, match="already holds a run"):
        run(toy_task(), toy_windows(), tmp_path / "a", from_checkpoint=tmp_path / "b")
    with pytest.raises(ConfigError, match="no checkpoint"):
        run(toy_task(), toy_windows(), tmp_path / "c", from_checkpoint=tmp_path / "nothing")


def test_previews_and_progress(tmp_path, toy_task, toy_windows):
    def preview(params, step):
        assert params["w"].shape == (8, 512)
        return {
            "sheet": np.full((4, 6, 3), step, np.uint8),
            "clip": np.zeros((3, 4, 4, 3), np.uint8),
        }

    run(toy_task(), toy_windows(), tmp_path, preview=preview, preview_every=15)
    names = sorted(path.name for path in (tmp_path / "previews").iterdir())
    assert names == [
        f"{n}-{s:08d}.{e}" for n, e in (("clip", "gif"), ("sheet", "png")) for s in (15, 30)
    ]
    assert json.loads((tmp_path / "progress.json").read_text())["step"] == 30


def test_wrong_settings_are_named(tmp_path, toy_task, toy_windows, eval_batches):
    with pytest.raises(ConfigError, match="batch of 12 does not divide over 8 devices"):
        run(toy_task(), toy_windows(batch_size=12), tmp_path / "a")
    with pytest.raises(ConfigError, match="3 shards on 8 devices"):
        run(toy_task(), toy_windows(), tmp_path / "b", shards=3)
    with pytest.raises(ConfigError, match="'eror' is none"):
        run(toy_task(best_metric="eror"), toy_windows(), tmp_path / "c", eval_batches=eval_batches)
    run(toy_task(), toy_windows(), tmp_path / "d", steps=1)
    with pytest.raises(ConfigError, match="another model"):
        run(toy_task(), Narrow(toy_windows()), tmp_path / "d")


class Narrow:
    def __init__(self, windows):
        self.windows = windows

    def batch(self, step):
        return {**self.windows.batch(step), "x": self.windows.batch(step)["x"][:, :4]}
