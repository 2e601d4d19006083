# SPDX-License-Identifier: Apache-2.0
"""What the training loop knows of a task, which is one stage of training."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from jaxtyping import Array, Float, Key, Scalar, Shaped

from lipjax.state import State

if TYPE_CHECKING:
    from lipjax.data.views import View

Batch = Mapping[str, Shaped[Array, "B ..."]]


@runtime_checkable
class Task(Protocol):
    """One stage of training: networks, losses, and pure steps over a `State`.

    May also have `symptoms`, a tuple of `lipjax.tasks.symptoms.Symptom`: how this stage goes wrong,
    as the log shows it. The loop tells when one begins and ends.
    """

    @property
    def best_metric(self) -> str:
        """Name of the output of `eval_step` that picks the best checkpoint by its lowest mean."""

    @property
    def inputs(self) -> Mapping[str, "View"]:
        """The table of inputs: name in the batch -> view of the corpus."""

    def init(self, key: Key[Array, ""], batch: Batch, given: Mapping[str, Any]) -> State:
        """Makes the state before the first step; runs under jit.

        Args:
            key: for the initial parameters and for the run's base key.
            batch: of the shapes that training will see.
            given: name -> frozen parameters of earlier stages, to be kept in the state.
        """

    def train_step(self, state: State, batch: Batch) -> tuple[State, dict[str, Scalar]]:
        """Returns the next state and the named terms of this step; pure.

        The batch may be spread over devices: a mean over it is a mean over all of them.
        Randomness comes from `state.step_key()`. Updates pass through `lipjax.state.guarded`.
        """

    def eval_step(self, state: State, batch: Batch) -> dict[str, Float[Array, "B"]]:
        """Returns named scores, one value per example; pure, reads the averaged networks."""

    def speaker_params(self, state: State) -> Any:
        """Returns the variables that speaking needs, averaged where there is an average."""
