# SPDX-License-Identifier: Apache-2.0
"""What tasks say of their health: in columns that they log, from scores that are what they say."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sick_runs import Mouths, quick_task
from task_tools import make_batch, make_task

from lipjax.losses import correlation
from lipjax.models.optical_flow import FlowNet
from lipjax.models.perceptual import PerceptualAutoencoder
from lipjax.tasks.correlating import Correlation
from lipjax.tasks.optical_flow import OpticalFlowTask
from lipjax.tasks.perceptual import PerceptualTask


def published(**changes):
    loss = dataclasses.replace(quick_task().correlation, form="cosine")
    return dataclasses.replace(quick_task(), correlation=loss, **changes)


def small_flow():
    network = FlowNet(widths=(4, 8), decoder_widths=(8,))
    return OpticalFlowTask(network, (1.0, 1.0), {"flow": optax.sgd(1e-2)}, frames=8)


def small_perceptual():
    network = PerceptualAutoencoder(widths=(4, 4), residual_blocks=1, norm="batch")
    return PerceptualTask(network, {"perceptual": optax.sgd(1e-2)}, frames=8)


GENERATOR = {"sound_ignored", "sound_useless", "worse_than_still"}
JUDGED = {"discriminator_saturated", "discriminator_blind", "discriminator_deaf"}
TASKS = {
    "pixels": (lambda: make_task(judged=False), GENERATOR),
    "judged": (make_task, GENERATOR | JUDGED),
    "all": (quick_task, GENERATOR | JUDGED | {"correlation_stuck"}),
    "published": (published, GENERATOR | JUDGED | {"correlation_stuck"}),
    "flow": (small_flow, {"no_flow"}),
    "perceptual": (small_perceptual, {"no_picture"}),
}


@pytest.mark.parametrize("name", TASKS)
def test_a_task_logs_every_column_that_its_symptoms_read(name):
    make, expected = TASKS[name]
    task = make()
    batch = make_batch() | {"flow": jnp.zeros((2, 7, 64, 64, 2))}
    state = jax.eval_shape(task.init, jax.random.key(0), batch, {})
    terms = jax.eval_shape(task.train_step, state, batch)[1]
    scores = jax.eval_shape(task.eval_step, state, batch)
    logged = {f"train/{term}" for term in terms} | {f"eval/{score}" for score in scores}
    assert {symptom.name for symptom in task.symptoms} == expected
    for symptom in task.symptoms:
        assert set(symptom.reads) <= logged
        assert symptom.seen and symptom.advice and symptom.steps >= 50 and symptom.rows >= 2


def test_a_judge_that_is_shown_no_wrong_sound_is_not_blamed_for_not_hearing():
    judge = dataclasses.replace(make_task().judge, mismatched=0.0)
    assert [symptom.name for symptom in judge.symptoms] == ["discriminator_saturated"]


def test_the_sounds_effect_is_measured_by_swapping_it():
    task, batch = make_task(judged=False), make_batch()
    state = jax.jit(task.init)(jax.random.key(0), batch, {})
    evaluate = jax.jit(task.eval_step)
    speak = jax.jit(lambda *x: task.generator.apply(*x, train=False)[0])
    scores = evaluate(state, batch)
    same = evaluate(state, {**batch, "wrong_log_mel": batch["log_mel"]})
    np.testing.assert_array_equal(same["sound_effect"], 0.0)
    np.testing.assert_array_equal(same["l1_wrong_sound"], same["l1"])
    variables = task.speaker_params(state)
    identity = batch["identity"][:, 0].astype(jnp.float32) / 127.5 - 1.0
    right, wrong = (
        np.asarray(speak(variables, identity, batch[name])) for name in ("log_mel", "wrong_log_mel")
    )
    effect = np.abs(right - wrong).reshape(2, -1).mean(1)
    np.testing.assert_allclose(scores["sound_effect"], effect, rtol=1e-4, atol=1e-7)
    assert (effect > 0).all()
    video = np.asarray(batch["video"], np.float64) / 127.5 - 1.0
    motion = np.abs(video - video.mean(1, keepdims=True)).reshape(2, -1).mean(1)
    np.testing.assert_allclose(scores["motion"], motion, rtol=1e-4)


class Passing(nn.Module):
    """An encoder that gives what it gets."""

    def __call__(self, x, *, train):
        return x


def test_the_published_form_too_says_what_it_gives_a_wrong_sound():
    rng = np.random.default_rng(0)
    loss = Correlation(Passing(), Passing(), form="cosine", sees="video")
    sound = jnp.asarray(rng.uniform(size=(3, 5, 4)), jnp.float32)
    real, fake = sound + 0.01, jnp.asarray(rng.uniform(size=(3, 5, 4)), jnp.float32)
    variables = {kind: {"sound": {}, "motion": {}} for kind in ("params", "batch_stats")}
    own, _, terms, _ = loss(variables, (sound, None), (real, fake))
    others = jnp.stack([sound[2], sound[0], sound[1]])
    expected = 1.0 - correlation.cosine(others, real).mean()
    np.testing.assert_allclose(terms["r_real_wrong_sound"], expected, rtol=1e-6)
    np.testing.assert_allclose(terms["r_real"], 1.0 - terms["correlation_real"], rtol=1e-6)
    assert terms["r_real"] > terms["r_real_wrong_sound"] + 0.01
    np.testing.assert_allclose(
        own, 0.5 * (terms["correlation_real"] + terms["correlation_fake"]), rtol=1e-6
    )
    # A clip that is alone in its batch has no other's sound.
    _, _, alone, _ = loss(variables, (sound[:1], None), (real[:1], fake[:1]))
    assert set(alone) == {"correlation_real", "correlation_fake"}


def test_shuffled_mouths_have_another_clips_sound_and_nothing_else_changed():
    right, shuffled = Mouths().batch(3), Mouths(shuffled=True).batch(3)
    for name in ("video", "identity", "wrong_log_mel"):
        np.testing.assert_array_equal(right[name], shuffled[name])
    assert weakest_link(right) > 0.9 > 0.5 > weakest_link(shuffled)


def weakest_link(batch):
    """The lowest correlation of brightness and loudness over the clips of a batch."""
    heard = batch["log_mel"][:, 8:-8].mean(2).reshape(4, -1, 4).mean(2)
    seen = batch["video"].mean(axis=(2, 3, 4))
    return min(np.corrcoef(h, s)[0, 1] for h, s in zip(heard, seen, strict=True))
