# SPDX-License-Identifier: Apache-2.0
"""A batch in parts: the same update, and statistics that go from one part to the next."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from task_tools import make_batch, make_task, tolerance

from lipjax.errors import ConfigError
from lipjax.state import ema_update
from lipjax.tasks.players import own_gradients


def test_parts_give_the_update_of_the_whole_batch():
    batch, task = make_batch(6), make_task()
    state = task.init(jax.random.key(0), batch, {})
    whole, terms = jax.jit(task.train_step)(state, batch)
    split = dataclasses.replace(task, micro_batches=3)
    parts, others = jax.jit(split.train_step)(state, batch)
    assert terms.keys() == others.keys()
    for name in terms:
        np.testing.assert_allclose(others[name], terms[name], rtol=2e-3, err_msg=name)
    for old, a, b in zip(
        *(jax.tree.leaves((x.params, x.ema["params"])) for x in (state, whole, parts)),
        strict=True,
    ):
        assert jnp.linalg.norm(b - a) <= tolerance(a - old)


def test_batch_statistics_go_from_part_to_part_as_when_written_out():
    batch, task = make_batch(6, seed=3), make_task(norm="batch", rate=0.1)
    state = task.init(jax.random.key(1), batch, {})
    got, terms = jax.jit(dataclasses.replace(task, micro_batches=3).train_step)(state, batch)

    # One part after another, each by the gradients that a step of one part is made of.
    @jax.jit
    def of_part(stats, rows):
        return own_gradients(
            lambda params: task._losses(params, stats, {}, rows, state.step_key()), state.params
        )

    stats, totals, pixel = state.stats, [], []
    for number in range(3):
        _, grads, (told, changed) = of_part(stats, {n: v[number::3] for n, v in batch.items()})
        stats = {**stats, **changed}
        pixel.append(float(told["pixel"]))
        totals.append(grads)
    totals = jax.tree.map(lambda *parts: sum(parts), *totals)
    wanted = {}
    for player, total in totals.items():
        mean = jax.tree.map(lambda x: x / 3, total)
        updates, _ = task.optimizers[player].update(mean, state.opt[player], state.params[player])
        wanted[player] = optax.apply_updates(state.params[player], updates)
    ema = ema_update(state.ema, wanted, stats, state.step, task.ema_decay)

    np.testing.assert_allclose(terms["pixel"], np.mean(pixel), rtol=1e-4)
    moved = 0.0
    for old, a, b in zip(
        *(jax.tree.leaves(x) for x in (state.params, wanted, got.params)), strict=True
    ):
        moved += float(jnp.linalg.norm(a - old))
        assert jnp.linalg.norm(b - a) <= tolerance(a - old)
    assert moved > 0
    changes = [
        np.abs(np.asarray(new) - np.asarray(old)).max()
        for old, new in zip(jax.tree.leaves(state.stats), jax.tree.leaves(stats), strict=True)
    ]
    assert max(changes) > 1e-3, "the statistics of this test never move"
    for a, b in zip(
        jax.tree.leaves((stats, ema["stats"])),
        jax.tree.leaves((got.stats, got.ema["stats"])),
        strict=True,
    ):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)


def test_one_part_with_a_bad_number_skips_the_whole_step():
    batch, task = make_batch(4), dataclasses.replace(make_task(judged=False), micro_batches=2)
    state = task.init(jax.random.key(0), batch, {})
    bad = {**batch, "log_mel": batch["log_mel"].at[1, 0, 0].set(jnp.nan)}
    after, _ = jax.jit(task.train_step)(state, bad)
    assert int(after.skipped) == 1 and int(after.step) == 1
    for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(after.params), strict=True):
        np.testing.assert_array_equal(a, b)


def test_parts_stay_on_their_devices():
    task = dataclasses.replace(make_task(judged=False), micro_batches=2)
    batch = make_batch(4)
    state = task.init(jax.random.key(0), batch, {})
    mesh = jax.make_mesh((2,), ("replica",), devices=jax.devices()[:2])
    split = jax.NamedSharding(mesh, jax.P("replica"))
    whole = jax.NamedSharding(mesh, jax.P())
    program = jax.jit(task.train_step, in_shardings=(whole, split)).lower(state, batch).compile()
    text = program.as_text()
    assert "all-reduce" in text and "all-to-all" not in text and "all-gather" not in text


def test_a_batch_that_does_not_divide_is_named():
    batch, task = make_batch(3), dataclasses.replace(make_task(judged=False), micro_batches=2)
    state = task.init(jax.random.key(0), batch, {})
    with pytest.raises(ConfigError, match="batch of 3 does not divide into train.micro_batches=2"):
        jax.eval_shape(task.train_step, state, batch)
