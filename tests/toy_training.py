# SPDX-License-Identifier: Apache-2.0
"""A toy task that must learn: linear regression with an averaged copy, in a few dozen lines."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lipjax.state import State, all_finite, ema_update, guarded

INPUTS, OUTPUTS = 8, 512  # enough elements to be split over `shard`


@dataclasses.dataclass(frozen=True)
class ToyTask:
    learning_rate: float = 0.05
    noise: float = 0.0
    width: int = OUTPUTS
    best_metric: str = "error"

    @property
    def inputs(self):
        return {}

    @property
    def optimizer(self):
        return optax.chain(optax.clip_by_global_norm(100.0), optax.adam(self.learning_rate))

    def init(self, key, batch, given):
        weight_key, base_key = jax.random.split(key)
        w = jax.random.normal(weight_key, (batch["x"].shape[1], self.width))
        params = {"line": {"w": w, "b": jnp.zeros(self.width)}}
        return State.create(
            key=base_key,
            params=params,
            stats={"line": {"mean": jnp.zeros(batch["x"].shape[1])}},
            opt={"line": self.optimizer.init(params["line"])},
            ema=("line",),
            given=given,
        )

    def train_step(self, state, batch):
        x = batch["x"] + self.noise * jax.random.normal(state.step_key(), batch["x"].shape)

        def loss(p):
            return jnp.mean((x @ p["w"] + p["b"] - batch["y"]) ** 2)

        value, grads = jax.value_and_grad(loss)(state.params["line"])
        updates, opt = self.optimizer.update(grads, state.opt["line"], state.params["line"])
        params = {"line": optax.apply_updates(state.params["line"], updates)}
        stats = {"line": {"mean": 0.9 * state.stats["line"]["mean"] + 0.1 * x.mean(0)}}
        new = state.replace(
            step=state.step + 1,
            params=params,
            stats=stats,
            opt={"line": opt},
            ema=ema_update(state.ema, params, stats, state.step, 0.99),
        )
        metrics = {"loss": value, "input": jnp.mean(jnp.abs(batch["x"]))}
        return guarded(new, state, all_finite(value, grads)), metrics

    def eval_step(self, state, batch):
        p = state.ema["params"]["line"]
        return {"error": jnp.mean((batch["x"] @ p["w"] + p["b"] - batch["y"]) ** 2, axis=1)}

    def speaker_params(self, state):
        return state.ema["params"]["line"]


@dataclasses.dataclass(frozen=True)
class ToyWindows:
    batch_size: int = 16
    poisoned: tuple[int, ...] = ()  # steps whose targets are not finite
    process: tuple[int, int] = (0, 1)  # (index, count)

    def batch(self, step):
        rng = np.random.default_rng([7, step])
        x = rng.normal(size=(self.batch_size, INPUTS)).astype(np.float32)
        truth = np.random.default_rng(1).normal(size=(INPUTS, OUTPUTS)).astype(np.float32)
        y = x @ truth + 0.5
        if step in self.poisoned:
            y[0, 0] = np.nan
        index, count = self.process
        mine = slice(index * len(x) // count, (index + 1) * len(x) // count)
        return {"x": x[mine], "y": y[mine]}


def eval_batches_of(windows: ToyWindows) -> list[dict[str, np.ndarray]]:
    """Fixed examples, the last batch smaller; the same for every process."""
    whole = dataclasses.replace(windows, process=(0, 1))
    first, second = whole.batch(10_000), whole.batch(10_001)
    return [first, {name: value[:5] for name, value in second.items()}]
