# SPDX-License-Identifier: Apache-2.0
"""Which checkpoints stay, what a restore gives back, and reading parameters alone."""

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


def test_start_from_a_stranger_is_an_error(tmp_path):
    save(tmp_path, {4: 1.0}).close()
    other = State.create(key=jax.random.key(0), params={"other": {"v": jnp.ones(3)}}, opt={})
    with pytest.raises(ConfigError, match="no array has a name and shape"):
        start_from(other, tmp_path)
