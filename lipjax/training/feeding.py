# SPDX-License-Identifier: Apache-2.0
"""Batches on their way to the devices, for training and for evaluation."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Shaped

from lipjax.errors import ConfigError
from lipjax.state import State
from lipjax.tasks.contract import Task
from lipjax.training import sharding

HostBatch = Mapping[str, Shaped[np.ndarray, "_ ..."]]


@runtime_checkable
class Windows(Protocol):
    """Training data: this process's part of the global batch of any step.

    May also have `iterate(start)`, which yields batch(start), batch(start + 1), ... made ahead,
    and `faults`, kind of fault -> clips left out so far, which goes to TensorBoard.
    """

    def batch(self, step: int) -> HostBatch:
        """Returns the batch of a step, a pure function of the step."""


def device_batches(
    mesh: jax.sharding.Mesh, windows: Windows, start: int, *, ahead: int
) -> Iterator[dict[str, jax.Array]]:
    """Yields batches on the devices, the transfer of the next ones already under way.

    Args:
        mesh: to split the batches over.
        windows: training data.
        start: step of the first batch.
        ahead: how many transfers run ahead.
    """
    if hasattr(windows, "iterate"):
        source = windows.iterate(start)
    else:
        source = (windows.batch(step) for step in itertools.count(start))
    queue: list[dict[str, jax.Array]] = []
    try:
        for batch in source:
            queue.append(sharding.put_batch(mesh, batch))
            if len(queue) > ahead:
                yield queue.pop(0)
    finally:
        if hasattr(source, "close"):
            source.close()


def mean_scores(
    program: Callable, mesh: jax.sharding.Mesh, state: State, batches: Sequence[HostBatch]
) -> dict[str, float]:
    """Returns the mean of every score over all examples, each counted once.

    Args:
        program: (state, batch) -> name -> score of each example, compiled for one batch size.
        mesh: to split the batches over.
        state: that is evaluated.
        batches: of any sizes; smaller ones are padded to the largest, and the padding not counted.
    """
    size = max(len(next(iter(batch.values()))) for batch in batches)
    scores: dict[str, list[float]] = {}
    for batch in batches:
        arrays, count = sharding.put_padded(mesh, batch, size=size)
        for name, values in jax.device_get(program(state, arrays)).items():
            scores.setdefault(name, []).extend(np.asarray(values, np.float64)[:count].tolist())
    return {name: math.fsum(values) / len(values) for name, values in scores.items()}


def best_of(task: Task, evaluation: Mapping[str, float | int]) -> float | None:
    """Returns the score that the task calls its best metric, None where it is not finite.

    Raises:
        ConfigError: the evaluation has no such score.
    """
    if task.best_metric not in evaluation:
        raise ConfigError(
            f"the task's best_metric {task.best_metric!r} is none of its evaluation's scores "
            f"{sorted(evaluation)}"
        )
    value = evaluation[task.best_metric]
    return value if math.isfinite(value) else None
