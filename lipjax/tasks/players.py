# SPDX-License-Identifier: Apache-2.0
"""What every training step ends with: gradients of each player's own loss, and one update."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Scalar, UInt8

from lipjax.state import State, ema_update, guarded

Losses = Callable[[dict[str, Any]], tuple[dict[str, Scalar], Any]]
"""losses(parameters of all players) -> (player -> its loss, whatever else)."""


def own_gradients(
    losses: Losses, params: Mapping[str, Any]
) -> tuple[dict[str, Scalar], dict[str, Any], Any]:
    """Returns each player's loss and its gradient in that player's own parameters, one forward.

    Each loss is pulled back to the parameters of its player alone: what the others would get is
    dropped by the compiler, and no stop_gradient is needed between them.

    Args:
        losses: gives every player in `params` a loss.
        params: player -> parameters.

    Returns:
        Losses, gradients, and what else `losses` returned.
    """
    values, pull, aux = jax.vjp(losses, dict(params), has_aux=True)
    grads = {}
    for player in params:
        chosen = {name: jnp.float32(name == player) for name in values}
        grads[player] = pull(chosen)[0][player]
    return values, grads, aux


def updated(
    state: State,
    grads: Mapping[str, Any],
    stats: Mapping[str, Any],
    metrics: Mapping[str, Scalar],
    *,
    optimizers: Mapping[str, optax.GradientTransformation],
    ema_decay: float,
) -> tuple[State, dict[str, Scalar]]:
    """Moves every player by its optimiser; a step with non-finite numbers moves none, counted.

    Args:
        state: before the step.
        grads: player -> gradient.
        stats: player -> new statistics; a player that is absent keeps its own.
        metrics: named terms of this step.
        optimizers: player -> optimiser.
        ema_decay: of the averaged copies.

    Returns:
        The next state, and the metrics with each gradient's norm.
    """
    params, opt, told = {}, {}, dict(metrics)
    for name, gradient in grads.items():
        updates, opt[name] = optimizers[name].update(gradient, state.opt[name], state.params[name])
        params[name] = optax.apply_updates(state.params[name], updates)
        told[f"{name}_gradient"] = optax.tree.norm(gradient)
    new_stats = {**state.stats, **stats}
    new = state.replace(
        step=state.step + 1,
        params=params,
        stats=new_stats,
        opt=opt,
        ema=ema_update(state.ema, params, new_stats, state.step, ema_decay),
    )
    finite = jnp.all(jnp.isfinite(jnp.stack(list(told.values()))))
    return guarded(new, state, finite), told


def created(
    key: Array,
    variables: Mapping[str, Mapping[str, Any]],
    *,
    optimizers: Mapping[str, optax.GradientTransformation],
    ema: tuple[str, ...],
    given: Mapping[str, Any],
) -> State:
    """Returns the state before the first step.

    Args:
        key: the run's base key.
        variables: player -> Linen variables, {"params": ..., "batch_stats": ...}.
        optimizers: player -> optimiser.
        ema: players that get an averaged copy.
        given: name -> frozen variables of earlier stages.
    """
    params = {name: tree["params"] for name, tree in variables.items()}
    return State.create(
        key=key,
        params=params,
        stats={name: tree.get("batch_stats", {}) for name, tree in variables.items()},
        opt={name: optimizers[name].init(tree) for name, tree in params.items()},
        ema=ema,
        given=given,
    )


def to_unit(images: UInt8[Array, "*B H W 3"]) -> Array:
    """Maps uint8 pictures to floats in [-1, 1]."""
    return images.astype(jnp.float32) / 127.5 - 1.0
