# SPDX-License-Identifier: Apache-2.0
"""The perceptual network's training stage: an autoencoder of single frames.

Source: the authors' code; the encoder's feature is the space of the perceptual loss.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Scalar, Shaped

from lipjax.data.views import View
from lipjax.models.perceptual import PerceptualAutoencoder
from lipjax.state import State
from lipjax.tasks.accumulating import batch_gradients
from lipjax.tasks.players import created, to_unit, updated
from lipjax.tasks.symptoms import NO_PICTURE, Symptom

Batch = Mapping[str, Shaped[Array, "B ..."]]


@dataclasses.dataclass(frozen=True)
class PerceptualTask:
    """One stage: train the autoencoder to reconstruct the corpus's own frames.

    Attributes:
        network: the autoencoder.
        optimizers: "perceptual".
        frames: of a window, which are reconstructed one by one.
        ema_decay: of the averaged network that later stages are given.
        micro_batches: parts that a batch is worked through in.
    """

    network: PerceptualAutoencoder
    optimizers: Mapping[str, optax.GradientTransformation]
    frames: int = 4
    ema_decay: float = 0.99
    micro_batches: int = 1
    best_metric: str = "squared_error"

    @property
    def inputs(self) -> dict[str, View]:
        """`video` of a window."""
        return {"video": View("mouth", self.frames)}

    @property
    def symptoms(self) -> tuple[Symptom, ...]:
        """What can go wrong; see docs/health.md."""
        return (NO_PICTURE,)

    def init(self, key: Array, batch: Batch, given: Mapping[str, Any]) -> State:
        """Initialises the network on the shapes of a batch."""
        network_key, base_key = jax.random.split(key)
        frames = to_unit(batch["video"])[0]
        variables = {"perceptual": self.network.init(network_key, frames[:1], train=False)}
        return created(
            base_key, variables, optimizers=self.optimizers, ema=("perceptual",), given=given
        )

    def train_step(self, state: State, batch: Batch) -> tuple[State, dict[str, Scalar]]:
        """Moves the network by one step; the loss is the mean squared error, as released."""

        def losses(params: Any, stats: Any, batch: Batch, key: Any) -> Any:
            frames = _frames(batch)
            variables = {"params": params["perceptual"], "batch_stats": stats["perceptual"]}
            made, changed = self.network.apply(
                variables, frames, train=True, mutable=["batch_stats"]
            )
            loss = jnp.mean(jnp.square(made - frames))
            stats = {"perceptual": changed.get("batch_stats", {})}
            return {"perceptual": loss}, ({"squared_error": loss}, stats)

        _, grads, terms, stats = batch_gradients(
            losses, state, batch, micro_batches=self.micro_batches
        )
        return updated(
            state, grads, stats, terms, optimizers=self.optimizers, ema_decay=self.ema_decay
        )

    def eval_step(self, state: State, batch: Batch) -> dict[str, Float[Array, "B"]]:
        """Squared and absolute error of the reconstruction, beside those of the window's mean."""
        frames = _frames(batch)
        made: Any = self.network.apply(self.speaker_params(state), frames, train=False)
        video = to_unit(batch["video"])
        mean = jnp.broadcast_to(video.mean(axis=(1, 2, 3), keepdims=True), video.shape)
        per_window = lambda x: x.reshape(len(video), -1).mean(axis=1)  # noqa: E731
        return {
            "squared_error": per_window(jnp.square(made - frames)),
            "absolute_error": per_window(jnp.abs(made - frames)),
            "squared_error_mean_colour": per_window(jnp.square(mean - video)),
        }

    def speaker_params(self, state: State) -> dict[str, Any]:
        """The averaged network's variables."""
        return {
            "params": state.ema["params"]["perceptual"],
            "batch_stats": state.ema["stats"]["perceptual"],
        }


def _frames(batch: Batch) -> Float[Array, "N H W 3"]:
    video = to_unit(batch["video"])
    return video.reshape(-1, *video.shape[2:])
