# SPDX-License-Identifier: Apache-2.0
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from task_tools import CONTEXT, make_batch, make_task, tolerance

from lipjax.losses import adversarial, pixel
from lipjax.tasks.at_a_glance import Weights
from lipjax.tasks.players import to_unit
from lipjax.training import loop


@pytest.fixture(scope="module")
def stepped():
    task, batch = make_task(rate=1e-2), make_batch()
    state = task.init(jax.random.key(0), batch, {})
    step = jax.jit(task.train_step)
    return task, batch, state, step


def test_one_forward_gives_each_player_the_gradient_of_its_own_loss(stepped):
    """Against the losses written out one by one, with the fake clips held fixed for the judge."""
    task, batch, state, step = stepped
    new, metrics = step(state, batch)
    assert int(new.skipped) == 0
    video, identity = to_unit(batch["video"]), to_unit(batch["identity"])[:, 0]
    heard = slice(4 * CONTEXT, -4 * CONTEXT)
    right, wrong = batch["log_mel"][:, heard], batch["wrong_log_mel"][:, heard]

    def generate(params):
        return task.generator.apply({"params": params}, identity, batch["log_mel"], train=True)[0]

    def judge(params, sound, clip):
        return task.judge.discriminator.apply(
            {"params": params}, sound, {"video": clip}, train=True
        )

    def generator_loss(params):
        fake = generate(params)
        fooled = adversarial.real(judge(state.params["discriminator"], right, fake))
        return 2.0 * pixel.l1(fake, video).mean() + fooled.mean()

    def discriminator_loss(params):
        fake = jax.lax.stop_gradient(generate(state.params["generator"]))
        return (
            adversarial.real(judge(params, right, video)).mean()
            + 0.5 * adversarial.fake(judge(params, right, fake)).mean()
            + 0.25 * adversarial.fake(judge(params, wrong, video)).mean()
        )

    for name, loss in (("generator", generator_loss), ("discriminator", discriminator_loss)):
        value, gradient = jax.jit(jax.value_and_grad(loss))(state.params[name])
        np.testing.assert_allclose(metrics[f"{name}_loss"], value, rtol=1e-5)
        expected = jax.tree.map(lambda p, g: p - 1e-2 * g, state.params[name], gradient)
        for old, moved, aim in zip(
            *map(jax.tree.leaves, (state.params[name], new.params[name], expected)), strict=True
        ):
            np.testing.assert_array_less(jnp.linalg.norm(moved - aim), tolerance(aim - old))


def test_a_step_with_a_non_finite_number_changes_nothing_but_the_count(stepped):
    _, batch, state, step = stepped
    bad = {**batch, "log_mel": jnp.full_like(batch["log_mel"], jnp.nan)}
    new, metrics = step(state, bad)
    assert not np.isfinite(metrics["pixel"])
    assert int(new.skipped) == 1 and int(new.step) == 1
    jax.tree.map(np.testing.assert_array_equal, new.params, state.params)
    jax.tree.map(np.testing.assert_array_equal, new.ema, state.ema)


def test_mouths_learn_to_follow_their_sound():
    """Clips that look alike but for their sound: only a model that listens can tell them apart."""
    task = dataclasses.replace(
        make_task(),
        weights=Weights(pixel=10.0, adversarial=0.01),
        huber_delta=0.3,
        optimizers=dict.fromkeys(("generator", "discriminator"), optax.adam(1e-2)),
    )
    batch = make_batch()
    state = task.init(jax.random.key(1), batch, {})
    step = jax.jit(task.train_step)
    for _ in range(150):
        state, _ = step(state, batch)
    after = {name: float(v.mean()) for name, v in jax.jit(task.eval_step)(state, batch).items()}
    assert int(state.skipped) == 0
    assert after["l1"] < 0.75 * after["l1_still_picture"], after
    assert after["l1"] < 0.75 * after["l1_wrong_sound"], after


def test_pixel_loss_alone_trains_without_a_judge():
    task, batch = make_task(judged=False, rate=1e-2, norm="batch"), make_batch()
    state = task.init(jax.random.key(0), batch, {})
    assert set(state.params) == {"generator"}
    new, metrics = jax.jit(task.train_step)(state, batch)
    assert set(metrics) == {"pixel", "generator_loss", "generator_gradient"}
    np.testing.assert_allclose(metrics["generator_loss"], 2.0 * metrics["pixel"], rtol=1e-6)
    moved = jax.tree.map(
        lambda a, b: bool(jnp.any(a != b)), new.stats["generator"], state.stats["generator"]
    )
    assert all(jax.tree.leaves(moved)), "batch statistics must follow the data"


def test_both_players_move_alike_on_eight_devices_and_on_one(tmp_path):
    task = make_task(rate=1e-2)
    batch = {name: np.asarray(value) for name, value in make_batch(8).items()}

    class Same:
        def batch(self, step):
            return batch

    def run(name, devices):
        options = {"steps": 1, "eval_every": 9, "show": lambda line: None}
        return loop.train(task, Same(), workdir=tmp_path / name, devices=devices, **options).state

    one, many = run("one", jax.devices()[:1]), run("many", jax.devices())
    start = jax.jit(task.init)(jax.random.key(0), make_batch(8), {})
    for name in ("generator", "discriminator"):
        for old, a, b in zip(
            *(jax.tree.leaves(s.params[name]) for s in (start, one, many)), strict=True
        ):
            a, b, old = np.asarray(a), np.asarray(b), np.asarray(old)
            np.testing.assert_array_less(np.linalg.norm(a - b), tolerance(a - old))


@pytest.mark.parametrize("delta", [0.0, 0.3])
def test_a_motion_share_weights_the_pixel_loss_by_how_much_places_move(delta):
    plain = dataclasses.replace(make_task(judged=False), huber_delta=delta)
    moving = dataclasses.replace(plain, motion_share=0.5)
    video = jnp.zeros((1, 4, 8, 8, 3)).at[:, ::2, 2].set(1.0)  # one row of eight moves
    on_it, beside_it = video.at[:, :, 2].add(0.2), video.at[:, :, 5].add(0.2)
    assert moving._pixel(on_it, video)[0] > 4 * plain._pixel(on_it, video)[0]
    still = moving._pixel(beside_it, video) / plain._pixel(beside_it, video)
    np.testing.assert_allclose(still, 0.5, rtol=0.01)
