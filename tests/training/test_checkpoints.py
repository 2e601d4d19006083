# SPDX-License-Identifier: Apache-2.0
"""Which checkpoints stay, what a restore gives back, and reading parameters alone."""

import os
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lipjax.errors import ConfigError
from lipjax.state import State
from lipjax.training import sharding
from lipjax.training.checkpoints import Checkpoints, find_checkpoint, load_params
from lipjax.training.start import start_from
from lipjax.training.weights import save_weights


def make(value=1.0, *, shards=1, devices=None, width=4, extra=False):
    params = {"net": {"w": jnp.full((4, width), value), "b": jnp.full(width, value)}}
    params["bare"] = {"v": jnp.full(3, value)}  # a network without statistics
    if extra:
        params["net"]["scale"] = jnp.ones(2)
    state = State.create(
        key=jax.random.key(5),
        params=params,
        stats={"net": {"mean": jnp.full(2, value)}},
        opt={"net": optax.adam(1e-3).init(params["net"])},
        ema=("net",),
    )
    average = jax.tree.map(lambda x: x * 10, state.ema)
    state = state.replace(step=jnp.int32(value), ema=average)
    mesh = sharding.make_mesh(devices, shards=shards)
    return jax.device_put(state, sharding.state_shardings(mesh, state, smallest=1))


def save(folder, metrics, **options):
    manager = Checkpoints(folder / "checkpoints", **options)
    for step, metric in metrics.items():
        manager.save(step, make(float(step)), loop={"step": step}, metric=metric)
        manager.wait()
    return manager


def test_keeps_the_latest_and_the_best(tmp_path):
    metrics = {1: 3.0, 2: 1.0, 3: 2.0, 4: None, 5: float("nan"), 6: 5.0}
    manager = save(tmp_path, metrics, keep_latest=2)
    assert manager.steps == [2, 5, 6] and manager.latest == 6
    manager.close()
    assert find_checkpoint(tmp_path, "best").name == "2"
    assert find_checkpoint(tmp_path, "latest").name == "6"
    assert find_checkpoint(tmp_path / "checkpoints" / "5").name == "5"
    with pytest.raises(ConfigError, match=r"step 3; there is: \[2, 5, 6\]"):
        find_checkpoint(tmp_path, 3)


def test_best_without_any_metric_is_the_latest(tmp_path):
    save(tmp_path, {1: None, 2: None}).close()
    (tmp_path / "checkpoints" / "3" / "state").mkdir(parents=True)  # half written
    assert find_checkpoint(tmp_path).name == "2"


def test_restores_onto_other_devices(tmp_path):
    manager = Checkpoints(tmp_path)
    state = make(7.0, shards=4)
    manager.save(7, state, loop={"best": None, "pending": [{"loss": 0.1}]})
    target = make(0.0, shards=2, devices=jax.devices()[:2])
    shardings = jax.tree.map(lambda x: x.sharding, target)
    restored, loop = manager.restore(sharding.with_shardings(target, shardings))
    manager.close()
    assert loop == {"best": None, "pending": [{"loss": 0.1}]}
    assert restored.params["net"]["w"].sharding == target.params["net"]["w"].sharding
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    same = lambda a, b: np.testing.assert_array_equal(np.asarray(a), np.asarray(b))  # noqa: E731
    jax.tree.map(same, restored.replace(key=0), state.replace(key=0))
    same(jax.random.key_data(restored.key), jax.random.key_data(state.key))


def test_another_model_is_named(tmp_path):
    manager = save(tmp_path, {1: None})
    with pytest.raises(ConfigError, match=r"params/net/b is \(8,\) .* \(4,\) in the checkpoint"):
        manager.restore(make(width=8))
    with pytest.raises(ConfigError, match="params/net/scale is .* absent in the checkpoint"):
        manager.restore(make(extra=True))
    manager.close()


def test_load_params_prefers_the_average(tmp_path):
    save(tmp_path, {1: 2.0, 2: 1.0, 3: 5.0}).close()
    best = load_params(tmp_path)
    assert set(best) == {"params", "stats"} and isinstance(best["params"]["net"]["w"], np.ndarray)
    np.testing.assert_array_equal(best["params"]["net"]["w"], np.full((4, 4), 20.0))
    np.testing.assert_array_equal(best["stats"]["net"]["mean"], [20.0, 20.0])
    np.testing.assert_array_equal(best["params"]["bare"]["v"], [2.0] * 3)  # has no average
    assert best["stats"]["bare"] == {}
    raw = load_params(tmp_path, which=3, averaged=False)
    np.testing.assert_array_equal(raw["params"]["net"]["b"], [3.0] * 4)
    with pytest.raises(ConfigError, match="no checkpoint"):
        load_params(tmp_path / "nowhere")


def test_start_lists_what_matched(tmp_path):
    save(tmp_path, {4: 1.0}).close()
    state, report = start_from(make(0.0, width=8, extra=True), tmp_path)
    assert report.matched == ("params/bare/v", "stats/net/mean")
    assert report.missing == ("params/net/scale",)
    assert report.mismatched == {
        "params/net/b": ((8,), (4,)),
        "params/net/w": ((4, 8), (4, 4)),
    }
    assert int(state.step) == 0
    np.testing.assert_array_equal(state.stats["net"]["mean"], [4.0, 4.0])
    np.testing.assert_array_equal(state.ema["stats"]["net"]["mean"], [4.0, 4.0])
    text = report.summary()
    assert "2 arrays match" in text and "params/net/w is (4, 8) here, (4, 4) there" in text


def test_start_from_an_exported_model(tmp_path):
    networks = {"net": {"w": np.full((4, 4), 7.0, np.float32), "b": np.full(5, 7.0, np.float32)}}
    save_weights(tmp_path, {"params": networks, "stats": {"net": {"mean": np.full(2, 7.0)}}})
    state, report = start_from(make(0.0), tmp_path)
    assert report.matched == ("params/net/w", "stats/net/mean")
    assert report.missing == ("params/bare/v",) and "params/net/b" in report.mismatched
    np.testing.assert_array_equal(state.params["net"]["w"], np.full((4, 4), 7.0))
    np.testing.assert_array_equal(state.ema["params"]["net"]["w"], np.full((4, 4), 7.0))
    assert int(state.step) == 0


def test_start_from_a_stranger_is_an_error(tmp_path):
    save(tmp_path, {4: 1.0}).close()
    other = State.create(key=jax.random.key(0), params={"other": {"v": jnp.ones(3)}}, opt={})
    with pytest.raises(ConfigError, match="no array has a name and shape"):
        start_from(other, tmp_path)


# ---- Checkpoints that are not whole.


def damaged(tmp_path, name, change):
    """A workdir with checkpoints 1, 2 and 3, the last of which is changed."""
    root = tmp_path / name
    save(root, {1: 3.0, 2: 1.0, 3: 2.0}, keep_latest=3).close()
    change(root / "checkpoints" / "3")
    return root


def arrays(checkpoint):
    """The files that hold the arrays."""
    return [path for path in checkpoint.rglob("*") if path.is_file() and path.parent.name == "d"]


def empty(path):
    path.write_bytes(b"")


def half(path):
    os.truncate(path, path.stat().st_size // 2)


DAMAGES = {
    "no files": lambda c: [shutil.rmtree(c), c.mkdir()],
    "no _CHECKPOINT_METADATA": lambda c: (c / "_CHECKPOINT_METADATA").unlink(),
    "empty _CHECKPOINT_METADATA": lambda c: empty(c / "_CHECKPOINT_METADATA"),
    "no state": lambda c: shutil.rmtree(c / "state"),
    "no loop": lambda c: shutil.rmtree(c / "loop"),
    "empty loop": lambda c: empty(c / "loop" / "metadata"),
    "empty metrics": lambda c: empty(c / "metrics" / "metrics"),
    "half state/_METADATA": lambda c: half(c / "state" / "_METADATA"),
    "empty _sharding": lambda c: empty(c / "state" / "_sharding"),
    "no manifest": lambda c: (c / "state" / "manifest.ocdbt").unlink(),
    "empty arrays": lambda c: [empty(path) for path in arrays(c)],
    "half arrays": lambda c: [half(path) for path in arrays(c)],
    "no arrays": lambda c: [path.unlink() for path in arrays(c)],
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_checkpoint_is_told_put_aside_and_not_restored(tmp_path, name):
    root = damaged(tmp_path, "run", DAMAGES[name])
    lines = []
    manager = Checkpoints(root / "checkpoints", keep_latest=3, show=lines.append)
    restored, loop = manager.restore(make())
    assert int(restored.step) == 2 and loop == {"step": 2} and manager.latest == 2
    assert len(lines) == 1 and "WARNING: checkpoint 3 is damaged" in lines[0]
    assert "goes on from step 2" in lines[0]
    assert (root / "checkpoints" / "damaged" / "3").is_dir()
    assert find_checkpoint(root, "latest").name == "2"
    # The run writes it anew, and nothing disturbs the one that was put aside.
    manager.save(3, make(3.0), loop={"step": 3}, metric=2.0)
    manager.close()
    again = Checkpoints(root / "checkpoints", show=lines.append)
    assert int(again.restore(make())[0].step) == 3 and len(lines) == 1
    again.close()


def test_a_damaged_checkpoint_without_an_older_one_is_an_error_and_stays(tmp_path):
    for change, says in ((DAMAGES["no loop"], "no loop/metadata"), (DAMAGES["half arrays"], "")):
        root = tmp_path / says.replace("/", " ")
        save(root, {7: None}).close()
        change(root / "checkpoints" / "7")
        with pytest.raises(ConfigError, match=rf"checkpoints/7 is damaged \({says}.*delete"):
            manager = Checkpoints(root / "checkpoints")
            try:
                manager.restore(make())
            finally:
                manager.close()
        assert (root / "checkpoints" / "7").is_dir()


def test_every_older_one_is_tried(tmp_path):
    root = damaged(tmp_path, "run", DAMAGES["no loop"])
    DAMAGES["half arrays"](root / "checkpoints" / "2")
    lines = []
    manager = Checkpoints(root / "checkpoints", show=lines.append)
    assert int(manager.restore(make())[0].step) == 1 and len(lines) == 2
    manager.close()


def test_what_fits_no_longer_is_not_taken_for_damage(tmp_path, monkeypatch):
    root = damaged(tmp_path, "run", lambda _: None)
    other = make().replace(opt={"net": optax.sgd(1e-3, momentum=0.9).init(make().params["net"])})
    manager = Checkpoints(root / "checkpoints")
    with pytest.raises(ConfigError, match="opt/net/0/.* in the checkpoint; use the config"):
        manager.restore(other)

    def broken(*_, **__):
        raise ValueError("a version that reads otherwise")

    monkeypatch.setattr(manager._manager, "restore", broken)
    with pytest.raises(ConfigError, match="cannot be restored .*a version that reads otherwise"):
        manager.restore(make())
    manager.close()
    assert not (root / "checkpoints" / "damaged").exists()


def test_what_was_being_written_or_deleted_is_no_checkpoint(tmp_path):
    root = damaged(tmp_path, "run", lambda _: None)
    folder = root / "checkpoints"
    shutil.copytree(folder / "3", folder / "4.orbax-checkpoint-tmp")
    shutil.copytree(folder / "1", folder / "deleted.orbax-checkpoint-tmp" / "0")
    assert find_checkpoint(root, "latest").name == "3"
    manager = Checkpoints(folder)
    assert manager.steps == [1, 2, 3] and int(manager.restore(make())[0].step) == 3
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2", "3"]
    manager.close()


def test_nothing_is_deleted_under_its_own_name(tmp_path, monkeypatch):
    """A kill while an old checkpoint is deleted cannot leave half of it behind as a checkpoint."""
    seen = []
    rmtree = shutil.rmtree

    def watching(path, **options):
        seen.append(str(path))
        rmtree(path, **options)

    monkeypatch.setattr(shutil, "rmtree", watching)
    save(tmp_path, {step: None for step in (1, 2, 3, 4)}).close()
    assert seen and all(path.endswith("deleted.orbax-checkpoint-tmp") for path in seen)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["3", "4"]
