# SPDX-License-Identifier: Apache-2.0
"""A batch in parts: the gradient of a batch that is larger than what memory holds at once."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, Scalar

from lipjax.errors import ConfigError
from lipjax.state import State
from lipjax.tasks.contract import Batch
from lipjax.tasks.players import own_gradients

BatchLosses = Callable[
    [dict[str, Any], Mapping[str, Any], Batch, Key[Array, ""]],
    tuple[dict[str, Scalar], tuple[dict[str, Scalar], Mapping[str, Any]]],
]
"""losses(players' parameters, their statistics, batch, key) ->
(player -> its loss, (named terms, player -> new statistics))."""


def batch_gradients(
    losses: BatchLosses, state: State, batch: Batch, *, micro_batches: int = 1
) -> tuple[dict[str, Scalar], dict[str, Any], dict[str, Scalar], dict[str, Any]]:
    """Returns each player's loss and gradient over a batch, worked through in equal parts.

    Losses, gradients and terms are means over the parts. For networks without batch statistics
    that is what the whole batch gives; statistics are those of one part after another. A part is
    every `micro_batches`-th row, so that each device works on rows of its own.

    Args:
        losses: gives every player a loss.
        state: before the step.
        batch: this step's.
        micro_batches: parts; one after another in a loop of the compiled program, unrolled for
            CPUs, whose convolutions are slow inside loops.

    Returns:
        Losses, gradients, terms, new statistics.

    Raises:
        ConfigError: the batch does not divide into so many parts.
    """

    def part(stats: Any, rows: Batch, key: Any) -> tuple[Any, Any]:
        values, grads, (terms, changed) = own_gradients(
            lambda params: losses(params, stats, rows, key), state.params
        )
        return {**stats, **changed}, (values, grads, terms)

    key = state.step_key()
    if micro_batches == 1:
        stats, (values, grads, terms) = part(state.stats, batch, key)
        return values, grads, terms, stats
    parts = {name: _parts(value, micro_batches) for name, value in batch.items()}
    keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(jnp.arange(micro_batches))

    def step(carry: Any, this: Any) -> tuple[Any, None]:
        stats, total = carry
        stats, found = part(stats, *this)
        return (stats, jax.tree.map(jnp.add, total, found)), None

    begun = part(state.stats, *jax.tree.map(lambda x: x[0], (parts, keys)))
    rest = jax.tree.map(lambda x: x[1:], (parts, keys))

    def looped(begun: Any, rest: Any, *, unroll: int) -> Any:
        return jax.lax.scan(step, begun, rest, unroll=unroll)[0]

    stats, total = jax.lax.platform_dependent(
        begun,
        rest,
        cpu=lambda *x: looped(*x, unroll=micro_batches - 1),
        default=lambda *x: looped(*x, unroll=1),
    )
    values, grads, terms = jax.tree.map(lambda x: x / micro_batches, total)
    return values, grads, terms, stats


def _parts(value: Array, count: int) -> Array:
    """(B ...) -> (count, B / count, ...); part i holds the rows i, i + count, ..."""
    if len(value) % count:
        raise ConfigError(
            f"a batch of {len(value)} does not divide into train.micro_batches={count} parts"
        )
    return jnp.moveaxis(value.reshape(-1, count, *value.shape[1:]), 1, 0)
