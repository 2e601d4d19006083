# SPDX-License-Identifier: Apache-2.0
"""Two systems as unlike at-a-glance as can be, to show that the contracts take no side."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from lipjax.data.views import View
from lipjax.speakers.contract import Needs
from lipjax.state import State, all_finite, guarded

FRAMES, COLUMNS, SIZE = 8, 4, 16


def unit(video):
    return video.astype(jnp.float32) / 127.5 - 1.0


def per_frame(log_mel):
    return log_mel.reshape(len(log_mel), -1, COLUMNS * log_mel.shape[-1])


@dataclasses.dataclass(frozen=True)
class FitTask:
    """What the toys' stages share: one loss, one optimiser, a squared error per example."""

    best_metric: str = "error"
    inputs = {"video": View("mouth", FRAMES), "log_mel": View("log_mel", FRAMES)}
    optimizer = optax.adam(1e-2)

    def create(self, key, params, given, carry=()):
        opt = {name: self.optimizer.init(tree) for name, tree in params.items()}
        return State.create(key=key, params=params, opt=opt, given=given, carry=carry)

    def train_step(self, state, batch):
        def mean_loss(params):
            errors, carry = self.errors(params, state, batch)
            return errors.mean(), carry

        (loss, carry), grads = jax.value_and_grad(mean_loss, has_aux=True)(state.params)
        params, opt = {}, {}
        for name, tree in state.params.items():
            updates, opt[name] = self.optimizer.update(grads[name], state.opt[name])
            params[name] = optax.apply_updates(tree, updates)
        new = state.replace(step=state.step + 1, params=params, opt=opt, carry=carry)
        return guarded(new, state, all_finite(loss, grads)), {"loss": loss}

    def eval_step(self, state, batch):
        return {"error": self.errors(state.params, state, batch)[0]}

    def speaker_params(self, state):
        return {**state.given, **state.params}


# --- A recurrent system in two stages: what is heard now, then what is remembered. ---


class ListenTask(FitTask):
    """Stage one: brightness of a frame from its own sound."""

    def init(self, key, batch, given):
        width = COLUMNS * batch["log_mel"].shape[-1]
        return self.create(key, {"ear": {"weights": jnp.zeros(width)}}, given)

    def errors(self, params, state, batch):
        heard = per_frame(batch["log_mel"]) @ params["ear"]["weights"]
        shown = unit(batch["video"]).mean(axis=(2, 3, 4))
        return jnp.mean((heard - shown) ** 2, axis=1), state.carry


def remember(params, memory, log_mel):
    """Runs the second stage's leaky memory over a chunk: levels B T, memory B."""
    heard = per_frame(log_mel) @ params["ear"]["weights"]
    leak, gain = jax.nn.sigmoid(params["memory"]["leak"]), params["memory"]["gain"]

    def tick(memory, now):
        memory = leak * memory + gain * now
        return memory, memory

    memory, levels = jax.lax.scan(tick, memory, heard.T)
    return levels.T, memory


class RememberTask(FitTask):
    """Stage two: starts from a frozen ear, keeps its memory from chunk to chunk."""

    def init(self, key, batch, given):
        memory = {"memory": {"leak": jnp.zeros(()), "gain": jnp.ones(())}}
        return self.create(key, memory, given, carry=jnp.zeros(len(batch["video"])))

    def errors(self, params, state, batch):
        kept = jnp.where(batch["start"], 0.0, state.carry)
        levels, memory = remember({**state.given, **params}, kept, batch["log_mel"])
        shown = unit(batch["video"]).mean(axis=(2, 3, 4))
        return jnp.mean((levels - shown) ** 2, axis=1), jax.lax.stop_gradient(memory)


@dataclasses.dataclass(frozen=True)
class RememberSpeaker:
    needs: Needs

    def begin(self, params, target):
        return jnp.zeros(len(target))

    def step(self, params, carry, sound, target_chunk):
        levels, memory = remember(params, carry, sound)
        size = self.needs.mouth_size
        return jnp.broadcast_to(
            levels[..., None, None, None], (*levels.shape, size, size, 3)
        ), memory


# --- One person's coordinate network: (x, y, sound) to colour, painted into her own video. ---


def paint(params, log_mel, target):
    """Colours from pixel coordinates and sound, laid over the target where the mouth is."""
    size = target.shape[-2]
    axis = jnp.linspace(-1, 1, size)
    place = jnp.stack(jnp.meshgrid(axis, axis), -1).reshape(-1, 2)
    waves = jnp.concatenate([jnp.sin(k * jnp.pi * place) for k in (0.5, 1, 2)], -1)
    net = params["painter"]
    hidden = waves @ net["place"] + (per_frame(log_mel) @ net["sound"])[:, :, None]
    colour = jnp.tanh(jax.nn.relu(hidden + net["bias"]) @ net["out"])
    colour = colour.reshape(*target.shape)
    inside = (jnp.sum(place**2, -1) < 0.5).reshape(size, size, 1)
    return jnp.where(inside, colour, target)


class PaintTask(FitTask):
    def init(self, key, batch, given):
        sound = COLUMNS * batch["log_mel"].shape[-1]
        shapes = {"place": (6, 16), "sound": (sound, 16), "bias": (16,), "out": (16, 3)}
        keys = jax.random.split(key, len(shapes))
        draw: Callable = lambda k, shape: 0.3 * jax.random.normal(k, shape)  # noqa: E731
        net = {name: draw(k, s) for k, (name, s) in zip(keys, shapes.items(), strict=True)}
        return self.create(key, {"painter": net}, given)

    def errors(self, params, state, batch):
        video = unit(batch["video"])
        made = paint(params, batch["log_mel"], video)
        return jnp.mean((made - video) ** 2, axis=(1, 2, 3, 4)), state.carry


@dataclasses.dataclass(frozen=True)
class PaintSpeaker:
    needs: Needs

    def begin(self, params, target):
        return ()

    def step(self, params, carry, sound, target_chunk):
        return paint(params, sound, target_chunk), carry
