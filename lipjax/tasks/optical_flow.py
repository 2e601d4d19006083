# SPDX-License-Identifier: Apache-2.0
"""The optical-flow network's training stage: it learns to see what Farnebäck's method measures.

All pairs of a window go through the network in one batch (the released code takes a step per pair,
and its schedule never moves).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Scalar, Shaped

from lipjax.data.views import View
from lipjax.losses import optical_flow
from lipjax.models.optical_flow import FlowNet
from lipjax.nn.warping import resize_flow
from lipjax.state import State
from lipjax.tasks.accumulating import batch_gradients
from lipjax.tasks.players import created, to_unit, updated
from lipjax.tasks.symptoms import NO_FLOW, Symptom

Batch = Mapping[str, Shaped[Array, "B ..."]]


@dataclasses.dataclass(frozen=True)
class OpticalFlowTask:
    """One stage: train the flow network on the corpus's derived flow.

    Attributes:
        network: the flow network.
        scale_weights: of the multi-scale loss, finest prediction first.
        optimizers: "flow".
        frames: of a window.
        ema_decay: of the averaged network that later stages are given.
        micro_batches: parts that a batch is worked through in.
    """

    network: FlowNet
    scale_weights: Sequence[float]
    optimizers: Mapping[str, optax.GradientTransformation]
    frames: int = 16
    ema_decay: float = 0.99
    micro_batches: int = 1
    best_metric: str = "endpoint_error"

    @property
    def inputs(self) -> dict[str, View]:
        """`video` of a window, and the `flow` between its frames."""
        return {"video": View("mouth", self.frames), "flow": View("flow", self.frames - 1)}

    @property
    def symptoms(self) -> tuple[Symptom, ...]:
        """What can go wrong; see docs/health.md."""
        return (NO_FLOW,)

    def init(self, key: Array, batch: Batch, given: Mapping[str, Any]) -> State:
        """Initialises the network on the shapes of a batch."""
        network_key, base_key = jax.random.split(key)
        frames = to_unit(batch["video"])[0, :2]
        variables = {"flow": self.network.init(network_key, frames[:1], frames[1:])}
        return created(base_key, variables, optimizers=self.optimizers, ema=("flow",), given=given)

    def train_step(self, state: State, batch: Batch) -> tuple[State, dict[str, Scalar]]:
        """Moves the network by one step."""

        def losses(params: Any, stats: Any, batch: Batch, key: Any) -> Any:
            first, second, target = _pairs(batch)
            predictions: Any = self.network.apply({"params": params["flow"]}, first, second)
            loss = optical_flow.multi_scale(predictions, target, self.scale_weights).mean()
            error = optical_flow.endpoint_error(self._full(predictions[0], target), target)
            return {"flow": loss}, ({"multi_scale": loss, "endpoint_error": error.mean()}, {})

        _, grads, terms, stats = batch_gradients(
            losses, state, batch, micro_batches=self.micro_batches
        )
        return updated(
            state, grads, stats, terms, optimizers=self.optimizers, ema_decay=self.ema_decay
        )

    def eval_step(self, state: State, batch: Batch) -> dict[str, Float[Array, "B"]]:
        """Errors of a window in pixels, and differences of warped pictures.

        End-point error and warping error of the network, beside those of no motion at all and,
        for the warping error, of the target itself.
        """
        first, second, target = _pairs(batch)
        predictions = self.network.apply(self.speaker_params(state), first, second)
        found = self._full(predictions[0], target)
        still = jnp.zeros_like(target)
        scores = {
            "endpoint_error": optical_flow.endpoint_error(found, target),
            "endpoint_error_no_motion": optical_flow.endpoint_error(still, target),
            "warping_error": optical_flow.warping_error(first, second, found),
            "warping_error_no_motion": optical_flow.warping_error(first, second, still),
            "warping_error_farneback": optical_flow.warping_error(first, second, target),
        }
        count = len(batch["video"])
        return {name: value.reshape(count, -1).mean(axis=1) for name, value in scores.items()}

    def speaker_params(self, state: State) -> dict[str, Any]:
        """The averaged network's variables."""
        return {"params": state.ema["params"]["flow"]}

    @staticmethod
    def _full(flow: Array, target: Array) -> Array:
        return resize_flow(flow, *target.shape[1:3])


def _pairs(batch: Batch) -> tuple[Array, Array, Array]:
    """First and second frame of all pairs of a batch, and the flow between them."""
    video = to_unit(batch["video"])
    flat = lambda x: x.reshape(-1, *x.shape[2:])  # noqa: E731
    return flat(video[:, :-1]), flat(video[:, 1:]), flat(batch["flow"])
