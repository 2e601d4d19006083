# SPDX-License-Identifier: Apache-2.0
"""The state of a training run: one pytree, its averaged copy, and the guard of its updates."""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key


class State(flax.struct.PyTreeNode):
    """Everything that a step of training reads and writes.

    Fields are typed loosely, because JAX and Orbax also fill the tree with shapes, shardings and
    settings.

    Attributes:
        step: int32 scalar; steps done so far, skipped ones included. Data, schedules and
            randomness follow from it.
        key: PRNG key of the run; never changes. See `step_key`.
        params: network name -> trained parameters.
        stats: network name -> statistics that are not trained (batch normalisation), or {}.
        opt: name -> state of the optimiser.
        ema: {"params": {name: ...}, "stats": {name: ...}}: averaged copies of some networks.
        given: name -> parameters of earlier stages; written once, never changed.
        carry: what a recurrent task takes from one batch to the next; batch axis first.
        skipped: int32 scalar; steps whose update was dropped because of non-finite numbers.
        streak: int32 scalar; how many of the latest steps were dropped in a row.
    """

    step: Any
    key: Any
    params: Any
    stats: Any
    opt: Any
    ema: Any
    given: Any
    carry: Any
    skipped: Any
    streak: Any

    @classmethod
    def create(
        cls,
        *,
        key: Key[Array, ""],
        params: Mapping[str, Any],
        opt: Mapping[str, Any],
        stats: Mapping[str, Any] | None = None,
        ema: Sequence[str] = (),
        given: Mapping[str, Any] | None = None,
        carry: Any = (),
    ) -> "State":
        """Returns a state before its first step.

        Args:
            key: PRNG key of the run.
            params: network name -> parameters.
            opt: name -> initialised optimiser state.
            stats: network name -> statistics; {} for names that are absent.
            ema: names of the networks that get an averaged copy.
            given: name -> frozen parameters of earlier stages.
            carry: of a recurrent task.

        Returns:
            The state at step 0; averages start as copies.
        """
        stats = {name: (stats or {}).get(name, {}) for name in params}
        copy = lambda tree: {name: jax.tree.map(jnp.copy, tree[name]) for name in ema}  # noqa: E731
        return cls(
            step=jnp.zeros((), jnp.int32),
            key=key,
            params=dict(params),
            stats=stats,
            opt=dict(opt),
            ema={"params": copy(params), "stats": copy(stats)},
            given=dict(given or {}),
            carry=carry,
            skipped=jnp.zeros((), jnp.int32),
            streak=jnp.zeros((), jnp.int32),
        )

    def step_key(self) -> Key[Array, ""]:
        """The PRNG key of this step, so that a resumed run draws what an unbroken one draws."""
        return jax.random.fold_in(self.key, self.step)


def ema_decay(step: Any, decay: float) -> Float[Array, ""]:
    """Returns min(decay, (1 + step) / (10 + step)), so that the average forgets its start.

    Args:
        step: steps done before this one.
        decay: decay reached in the end, in [0, 1).
    """
    done = jnp.asarray(step, jnp.float32)
    return jnp.minimum(jnp.float32(decay), (1.0 + done) / (10.0 + done))


def ema_update(
    ema: Mapping[str, Any],
    params: Mapping[str, Any],
    stats: Mapping[str, Any],
    step: Any,
    decay: float,
) -> dict[str, Any]:
    """Moves the averaged copies towards the new parameters and statistics.

    Args:
        ema: as in `State`; only the networks named there are averaged.
        params: network name -> new parameters.
        stats: network name -> new statistics.
        step: steps done before this one.
        decay: decay reached in the end, in [0, 1).

    Returns:
        The new averages; leaves that are no floats are copied.
    """
    rate = 1.0 - ema_decay(step, decay)

    def move(old: Any, new: Any) -> Any:
        if not jnp.issubdtype(old.dtype, jnp.floating):
            return new
        return old + (rate * (new - old)).astype(old.dtype)

    new = {"params": params, "stats": stats}
    return {
        kind: {name: jax.tree.map(move, tree, new[kind][name]) for name, tree in trees.items()}
        for kind, trees in ema.items()
    }


def all_finite(*trees: Any) -> Bool[Array, ""]:
    """Returns whether every number in the trees is finite."""
    leaves = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(trees)]
    return jnp.all(jnp.stack(leaves)) if leaves else jnp.ones((), bool)


def guarded(new_state: State, old_state: State, finite: Bool[Array, ""]) -> State:
    """Returns the new state if its numbers are finite, else the old one with the step counted.

    Args:
        new_state: after the update, its step already raised.
        old_state: before the update.
        finite: whether losses and gradients were finite; see `all_finite`.

    Returns:
        A state whose step is the new one's in both cases, so that the data moves on; `skipped`
        and `streak` are raised by one if the update was dropped, and `streak` is 0 if not.
    """
    kept = {
        name: jax.tree.map(
            lambda new, old: jnp.where(finite, new, old),
            getattr(new_state, name),
            getattr(old_state, name),
        )
        for name in ("params", "stats", "opt", "ema", "carry")
    }
    dropped = jnp.where(finite, 0, 1).astype(jnp.int32)
    return new_state.replace(
        **kept,
        skipped=old_state.skipped + dropped,
        streak=(old_state.streak + 1) * dropped,
    )
