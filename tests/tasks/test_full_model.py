# SPDX-License-Identifier: Apache-2.0
"""The generator's stage with all four losses and three streams, against the losses written out."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from task_tools import CONTEXT, FRAMES, make_batch, make_task, tolerance

from lipjax.errors import ConfigError
from lipjax.losses import adversarial, correlation, pixel
from lipjax.models.correlation import AudioDerivativeEncoder, FlowEncoder, SpeechDerivativeEncoder
from lipjax.models.discriminators import DIFFERENCE_STRIDES, Discriminator, SoundStream, VideoStream
from lipjax.models.optical_flow import FlowNet, video_flow
from lipjax.models.perceptual import PerceptualEncoder
from lipjax.tasks.at_a_glance import Weights
from lipjax.tasks.correlating import Correlation
from lipjax.tasks.judging import Judge
from lipjax.tasks.players import to_unit

RATE = 1e-2
FLOW_NET = FlowNet(widths=(4, 4, 4), decoder_widths=(4,))
PERCEPTUAL = PerceptualEncoder(widths=(4, 4), residual_blocks=1, norm="batch")


def judge_of(third: str = "flow") -> Judge:
    # Windows of 8 frames: 8 pictures of 64 px end on a map of 1x8x8, so do 7 flows of 16 px.
    third_strides = {
        "flow": ((2, 1, 1), (2, 2, 2), (2, 1, 1)),
        "difference": ((2, 2, 2), (1, 2, 2), (1, 2, 2)),
    }
    taps = {"flow": (3, 3, 3), "difference": (4, 4, 4)}
    shared = {"norm": "none", "negative_slope": 0.2}
    streams = (
        SoundStream(features=4, widths=(4, 4, 4, 4), pool=(4, 4), **shared),
        VideoStream(widths=(4, 4, 4), strides=((2, 2, 2), (2, 2, 2), (1, 2, 2)), **shared),
        VideoStream(
            source=third,
            widths=(4, 4, 4),
            strides=third_strides[third],
            kernel_size=taps[third],
            **shared,
        ),
    )
    discriminator = Discriminator(streams=streams, joint_width=4, joint_kernel=(4, 4), **shared)
    return Judge(discriminator, fake=0.5, mismatched=0.25)


def contrast() -> Correlation:
    return Correlation(
        sound=SpeechDerivativeEncoder(features=8, blocks=1, outputs=4),
        motion=FlowEncoder(widths=(4, 4), norm="none", last_activation=False),
        form="contrast",
        hears="log_mel",
    )


def full_task(**changes):
    descent = optax.sgd(RATE)
    task = dataclasses.replace(
        make_task(rate=RATE),
        weights=Weights(pixel=2.0, adversarial=0.5, perceptual=0.7, correlation=3.0),
        optimizers=dict.fromkeys(("generator", "discriminator", "correlation", "flow"), descent),
        judge=judge_of(),
        correlation=contrast(),
        perceptual=PERCEPTUAL,
        flow=FLOW_NET,
    )
    return dataclasses.replace(task, **changes)


@pytest.fixture(scope="module")
def given():
    frame = jnp.zeros((1, 64, 64, 3))
    keys = jax.random.split(jax.random.key(3), 3)
    flow = FLOW_NET.init(keys[0], frame, frame)
    # A network that has not been trained sees almost no flow; this one sees some.
    flow = jax.tree.map(lambda x: 4 * x, flow)
    return {"flow": flow, "perceptual": PERCEPTUAL.init(keys[1], frame, train=False)}


@pytest.fixture(scope="module")
def stepped(given):
    task, batch = full_task(), make_batch()
    state = jax.jit(task.init)(jax.random.key(0), batch, given)
    new, metrics = jax.jit(task.train_step)(state, batch)
    return task, batch, state, new, metrics


def test_every_player_moves_by_the_gradient_of_its_own_loss_alone(stepped, given):
    task, batch, state, new, metrics = stepped
    assert set(new.params) == {"generator", "discriminator", "correlation"}
    assert set(new.given) == {"flow", "perceptual"} and int(new.skipped) == 0
    video, identity = to_unit(batch["video"]), to_unit(batch["identity"])[:, 0]
    heard = slice(4 * CONTEXT, -4 * CONTEXT)
    right, wrong = batch["log_mel"][:, heard], batch["wrong_log_mel"][:, heard]
    see = lambda clip: video_flow(  # noqa: E731
        lambda *pair: FLOW_NET.apply(given["flow"], *pair), clip
    )
    feel = lambda clip: PERCEPTUAL.apply(  # noqa: E731
        given["perceptual"], clip.reshape(-1, 64, 64, 3), train=False
    )

    def generate(params):
        return task.generator.apply({"params": params}, identity, batch["log_mel"], train=True)[0]

    def judge(params, sound, clip):
        inputs = {"video": clip, "flow": see(clip)}
        return task.judge.discriminator.apply({"params": params}, sound, inputs, train=True)

    def r(params, sound, clip):
        s = task.correlation.sound.apply({"params": params["sound"]}, sound)
        m = task.correlation.motion.apply({"params": params["motion"]}, see(clip))
        return correlation.centred(s, m)

    def belongs(params, clip):
        pair = r(params, right, clip), r(params, wrong, clip)
        return correlation.contrast(*pair, temperature=0.2).mean()

    def generator_loss(params):
        fake = generate(params)
        return (
            2.0 * pixel.l1(fake, video).mean()
            + 0.5 * adversarial.real(judge(state.params["discriminator"], right, fake)).mean()
            + 0.7 * jnp.mean(jnp.square(feel(fake) - feel(video)))
            + 3.0 * belongs(state.params["correlation"], fake)
        )

    def discriminator_loss(params):
        fake = jax.lax.stop_gradient(generate(state.params["generator"]))
        return (
            adversarial.real(judge(params, right, video)).mean()
            + 0.5 * adversarial.fake(judge(params, right, fake)).mean()
            + 0.25 * adversarial.fake(judge(params, wrong, video)).mean()
        )

    losses = {
        "generator": generator_loss,
        "discriminator": discriminator_loss,
        "correlation": lambda params: belongs(params, video),
    }
    for name, loss in losses.items():
        value, gradient = jax.jit(jax.value_and_grad(loss))(state.params[name])
        np.testing.assert_allclose(metrics[f"{name}_loss"], value, rtol=1e-4)
        moved = 0.0
        for old, now, slope in zip(
            *map(jax.tree.leaves, (state.params[name], new.params[name], gradient)), strict=True
        ):
            aim = old - RATE * slope
            np.testing.assert_array_less(jnp.linalg.norm(now - aim), tolerance(aim - old))
            moved += float(jnp.linalg.norm(aim - old))
        assert moved > 1e-5, name


def test_frozen_networks_stay_as_they_were_given(stepped, given):
    _, _, _, new, _ = stepped
    jax.tree.map(np.testing.assert_array_equal, new.given, given)


def test_the_published_form_can_move_the_flow_network_too(given):
    cosine = Correlation(
        sound=AudioDerivativeEncoder(widths=(4, 4, 4)),
        motion=FlowEncoder(widths=(4, 4)),
        form="cosine",
    )
    task = full_task(judge=None, correlation=cosine, train_flow=True, perceptual=None)
    batch = make_batch()
    state = jax.jit(task.init)(jax.random.key(0), batch, given)
    assert set(state.params) == {"generator", "correlation", "flow"}
    assert set(state.given) == {"perceptual"}
    jax.tree.map(np.testing.assert_array_equal, state.params["flow"], given["flow"]["params"])
    new, metrics = jax.jit(task.train_step)(state, batch)
    assert float(metrics["flow_gradient"]) > 0
    np.testing.assert_allclose(
        metrics["correlation_loss"],
        0.5 * (metrics["correlation_real"] + metrics["correlation_fake"]),
        rtol=1e-6,
    )
    changed = jax.tree.map(
        lambda a, b: bool(jnp.any(a != b)), new.params["flow"], given["flow"]["params"]
    )
    assert any(jax.tree.leaves(changed))


def test_a_discriminator_may_look_at_differences_of_frames_instead_of_flow():
    task = full_task(judge=judge_of("difference"), correlation=None, perceptual=None, flow=None)
    batch = make_batch()
    state = task.init(jax.random.key(0), batch, {})
    clip = jax.random.uniform(jax.random.key(1), (2, FRAMES, 64, 64, 3))
    looked_at = task.judge.videos(clip, None)
    np.testing.assert_array_equal(looked_at["difference"], np.diff(np.asarray(clip), axis=1))
    new, _ = jax.jit(task.train_step)(state, batch)
    assert int(new.skipped) == 0 and len(DIFFERENCE_STRIDES) == 4


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"flow": None}, "no flow network"),
        ({"correlation": None, "train_flow": True}, "train_flow without"),
    ],
)
def test_terms_that_lack_a_network_are_refused(changes, says):
    with pytest.raises(ConfigError, match=says):
        full_task(**changes)


def test_contrast_on_what_the_generator_heard_is_refused():
    with pytest.raises(ConfigError, match="hears to 'log_mel'"):
        dataclasses.replace(contrast(), hears="audio_feature")
