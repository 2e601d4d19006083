# SPDX-License-Identifier: Apache-2.0
"""The two earlier stages: what they learn, and that their scores are what they say."""

import cv2
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lipjax.losses.optical_flow import multi_scale
from lipjax.models.optical_flow import FlowNet
from lipjax.models.perceptual import PerceptualAutoencoder
from lipjax.state import ema_decay
from lipjax.tasks.contract import Task
from lipjax.tasks.optical_flow import OpticalFlowTask
from lipjax.tasks.perceptual import PerceptualTask

SIZE, FRAMES = 32, 3
SMALL = FlowNet(widths=(4, 8, 8), decoder_widths=(8,))


def moving(windows: int = 6, seed: int = 0) -> dict[str, jax.Array]:
    """Smooth patterns that each move in their own way: two velocities per window, known exactly."""
    rng = np.random.default_rng(seed)
    shape = (windows, FRAMES, SIZE, SIZE, 3)
    video, flow = np.zeros(shape, np.uint8), np.zeros((windows, FRAMES - 1, SIZE, SIZE, 2))
    for number in range(windows):
        noise = rng.normal(size=(2 * SIZE, 2 * SIZE, 3)).astype(np.float32)
        pattern = cv2.GaussianBlur(noise, (0, 0), 3)
        pattern = np.clip(128 + 60 * pattern / pattern.std(), 0, 255)
        velocity = rng.uniform(-2.5, 2.5, (FRAMES - 1, 2))
        for t, (x, y) in enumerate(np.cumsum([[0, 0], *velocity], axis=0)):
            back = np.float32([[1, 0, SIZE / 2 - x], [0, 1, SIZE / 2 - y]])
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            video[number, t] = cv2.warpAffine(pattern, back, (SIZE, SIZE), flags=flags)
        flow[number] = velocity[:, None, None]
    return {"video": jnp.asarray(video), "flow": jnp.asarray(flow, jnp.float32)}


def flow_task(rate: float = 4e-3, **changes) -> OpticalFlowTask:
    fields = {
        "network": FlowNet(widths=(12, 16, 16, 24), decoder_widths=(16, 12)),
        "scale_weights": (1.0, 1.0, 1.0),
        "optimizers": {"flow": optax.adam(rate)},
        "frames": FRAMES,
        "ema_decay": 0.9,
    }
    return OpticalFlowTask(**{**fields, **changes})


def perceptual_task(**changes) -> PerceptualTask:
    fields = {
        "network": PerceptualAutoencoder(widths=(8, 12), residual_blocks=1, norm="batch"),
        "optimizers": {"perceptual": optax.adam(1e-2)},
        "frames": FRAMES,
        "ema_decay": 0.9,
    }
    return PerceptualTask(**{**fields, **changes})


def trained(task: Task, steps: int):
    """Trains on fresh patterns at every step; returns the state and what it says of new ones."""
    state = jax.jit(task.init)(jax.random.key(0), moving(), {})
    step = jax.jit(task.train_step)
    for number in range(steps):
        state, _ = step(state, moving(seed=number + 1))
    assert int(state.skipped) == 0
    scores = jax.jit(task.eval_step)(state, moving(seed=10_000))
    return state, {name: float(values.mean()) for name, values in scores.items()}


def test_the_flow_network_learns_to_see_motion():
    _, scores = trained(flow_task(), 120)
    assert scores["endpoint_error"] < 0.6 * scores["endpoint_error_no_motion"], scores
    assert scores["warping_error"] < 0.65 * scores["warping_error_no_motion"], scores
    assert scores["warping_error_farneback"] < 0.25 * scores["warping_error_no_motion"], scores


def test_the_perceptual_network_learns_to_reconstruct():
    _, scores = trained(perceptual_task(), 70)
    assert scores["squared_error"] < 0.4 * scores["squared_error_mean_colour"], scores


def test_all_pairs_of_all_windows_go_through_the_flow_network_at_once():
    seen = []

    def note(call, arguments, named, context):
        if isinstance(context.module, FlowNet) and context.method_name == "__call__":
            seen.append([pictures.shape for pictures in arguments])
        return call(*arguments, **named)

    task, batch = flow_task(network=SMALL, scale_weights=(1.0, 0.5)), moving(4)
    state = jax.eval_shape(task.init, jax.random.key(0), batch, {})
    with nn.intercept_methods(note):
        jax.eval_shape(task.train_step, state, batch)
        jax.eval_shape(task.eval_step, state, batch)
    assert seen == [[(4 * (FRAMES - 1), SIZE, SIZE, 3)] * 2] * 2


@pytest.fixture(scope="module")
def flow_state():
    """A task of plain gradient descent, and a network that sees more than nothing."""
    descent = {"flow": optax.sgd(1e-2)}
    task = flow_task(network=SMALL, scale_weights=(1.0, 0.5), optimizers=descent)
    state = jax.jit(task.init)(jax.random.key(1), moving(), {})
    more = jax.tree.map(lambda x: 3 * x, state.params)
    return task, state.replace(params=more)


def test_a_flow_step_descends_the_loss_of_its_pairs_one_by_one(flow_state):
    task, state = flow_state
    batch = moving(2, seed=3)
    video = batch["video"] / np.float32(127.5) - 1

    @jax.jit
    @jax.value_and_grad
    def loss(params, first, second, target):
        found = task.network.apply({"params": params}, first[None], second[None])
        return multi_scale(found, target[None], (1.0, 0.5))[0]

    alone = [
        loss(state.params["flow"], video[window, t], video[window, t + 1], batch["flow"][window, t])
        for window in range(2)
        for t in range(FRAMES - 1)
    ]
    value, gradient = jax.tree.map(lambda *each: sum(each) / len(each), *alone)
    new, metrics = jax.jit(task.train_step)(state, batch)
    np.testing.assert_allclose(metrics["multi_scale"], value, rtol=1e-4)
    np.testing.assert_allclose(metrics["flow_gradient"], optax.tree.norm(gradient), rtol=1e-3)
    aim = jax.tree.map(lambda p, g: p - 1e-2 * g, state.params["flow"], gradient)
    for moved, wanted in zip(*map(jax.tree.leaves, (new.params["flow"], aim)), strict=True):
        np.testing.assert_allclose(moved, wanted, atol=1e-4)


def test_flow_scores_are_those_of_each_window_worked_out_by_other_means(flow_state):
    task, state = flow_state
    state = state.replace(ema={**state.ema, "params": {"flow": state.params["flow"]}})
    batch = moving(2, seed=5)
    scores = jax.jit(task.eval_step)(state, batch)
    assert set(scores) >= {"endpoint_error", "warping_error"}
    grid = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE)), -1).astype(np.float32)

    def warping(first, second, flow):
        at = np.clip(grid + flow, 0, SIZE - 1)
        # Not cv2.remap, whose places are multiples of 1/32 pixel.
        low = np.minimum(at.astype(int), SIZE - 2)
        (x, y), (u, v) = np.moveaxis(low, -1, 0), np.moveaxis((at - low)[..., None, :], -1, 0)
        top = second[y, x] * (1 - u) + second[y, x + 1] * u
        bottom = second[y + 1, x] * (1 - u) + second[y + 1, x + 1] * u
        return np.abs(first - top * (1 - v) - bottom * v).mean()

    for window in range(2):
        video, target = batch["video"][window] / np.float32(127.5) - 1, batch["flow"][window]
        expected = {name: [] for name in scores}
        for t in range(FRAMES - 1):
            pair = video[t], video[t + 1]
            raw = task.network.apply({"params": state.params["flow"]}, *(p[None] for p in pair))
            found = np.asarray(raw[0][0])
            found = cv2.resize(found, (SIZE, SIZE)) * (SIZE / found.shape[0])
            for name, flow in (("", found), ("_no_motion", 0 * found), ("_farneback", target[t])):
                error = np.linalg.norm(flow - target[t], axis=-1).mean()
                expected.setdefault(f"endpoint_error{name}", []).append(error)
                expected[f"warping_error{name}"].append(warping(*pair, flow))
        for name, values in scores.items():
            np.testing.assert_allclose(values[window], np.mean(expected[name]), rtol=1e-4)


@pytest.fixture(scope="module")
def perceptual_step():
    """A task, its state before and after a step, and the step's metrics."""
    task = perceptual_task(
        network=PerceptualAutoencoder(widths=(4, 8), residual_blocks=1, norm="batch"),
        optimizers={"perceptual": optax.sgd(1e-1)},
    )
    state = jax.jit(task.init)(jax.random.key(2), moving(2), {})
    return task, state, *jax.jit(task.train_step)(state, moving(2))


def test_perceptual_scores_are_those_of_each_window_alone(perceptual_step):
    task, _, state, _ = perceptual_step
    batch = moving(2, seed=7)
    scores = jax.jit(task.eval_step)(state, batch)
    variables = task.speaker_params(state)
    apply = jax.jit(lambda frame: task.network.apply(variables, frame[None], train=False)[0])
    for window, pixels in enumerate(batch["video"]):
        video = pixels / np.float32(127.5) - 1
        # One frame at a time: with running statistics none depends on another.
        difference = np.stack([apply(frame) for frame in video]) - video
        colour = video.reshape(-1, 3).mean(axis=0)
        for name, value in {
            "squared_error": np.square(difference).mean(),
            "absolute_error": np.abs(difference).mean(),
            "squared_error_mean_colour": np.square(video - colour).mean(),
        }.items():
            np.testing.assert_allclose(scores[name][window], value, rtol=1e-4)


def test_a_perceptual_step_moves_parameters_statistics_and_both_averages(perceptual_step):
    task, state, new, metrics = perceptual_step
    assert set(metrics) == {"squared_error", "perceptual_gradient"} and int(new.skipped) == 0
    rate = 1 - ema_decay(0, task.ema_decay)
    for kind in ("params", "stats"):
        old, now = (getattr(s, kind)["perceptual"] for s in (state, new))
        pairs = list(zip(*map(jax.tree.leaves, (old, now)), strict=True))
        assert sum(bool(np.any(a != b)) for a, b in pairs) > 0.7 * len(pairs) > 5, kind
        averages = jax.tree.leaves(new.ema[kind]["perceptual"])
        for (a, b), average in zip(pairs, averages, strict=True):
            np.testing.assert_allclose(average - a, rate * (b - a), rtol=1e-3, atol=1e-6)
