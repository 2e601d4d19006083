# SPDX-License-Identifier: Apache-2.0
"""The state: averages warm up, bad updates are dropped and counted, randomness follows the step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lipjax.state import State, all_finite, ema_decay, ema_update, guarded


def make(**changes):
    params = {"a": {"w": jnp.arange(3.0)}, "b": {"w": jnp.ones(2)}}
    stats = {"a": {"mean": jnp.zeros(2), "count": jnp.zeros((), jnp.int32)}}
    state = State.create(
        key=jax.random.key(3), params=params, stats=stats, opt={}, ema=("a",), **changes
    )
    return state


def test_create_averages_only_what_is_named():
    state = make()
    assert set(state.ema["params"]) == set(state.ema["stats"]) == {"a"}
    assert state.stats["b"] == {}
    assert int(state.step) == int(state.skipped) == 0
    # A donated state must not hold one buffer twice.
    assert (
        state.ema["params"]["a"]["w"].unsafe_buffer_pointer()
        != state.params["a"]["w"].unsafe_buffer_pointer()
    )


@pytest.mark.parametrize(("step", "expected"), [(0, 0.1), (8, 0.5), (10**6, 0.99)])
def test_decay_warms_up(step, expected):
    np.testing.assert_allclose(ema_decay(step, 0.99), expected, rtol=1e-6)


def test_average_of_a_constant_forgets_the_start():
    state = make()
    params = {"a": {"w": jnp.full(3, 5.0)}, "b": {"w": jnp.zeros(2)}}
    stats = {"a": {"mean": jnp.full(2, 2.0), "count": jnp.int32(7)}, "b": {}}
    ema, remains = state.ema, 1.0
    for step in range(20):
        ema = ema_update(ema, params, stats, step, 0.999)
        remains *= (1 + step) / (10 + step)
    expected = 5.0 + remains * (np.arange(3.0) - 5.0)
    np.testing.assert_allclose(ema["params"]["a"]["w"], expected, rtol=1e-5)
    np.testing.assert_allclose(ema["stats"]["a"]["mean"], 2.0, rtol=1e-5)
    assert int(ema["stats"]["a"]["count"]) == 7


def test_guard_drops_and_counts_under_jit():
    old = make(carry=jnp.ones(4))

    @jax.jit
    def step(state, value):
        params = {**state.params, "b": {"w": state.params["b"]["w"] + value}}
        new = state.replace(step=state.step + 1, params=params, carry=state.carry * value)
        return guarded(new, state, all_finite(value, {"x": jnp.ones(2)}))

    good = step(old, 2.0)
    np.testing.assert_array_equal(good.params["b"]["w"], 3.0)
    assert (int(good.step), int(good.skipped)) == (1, 0)
    for value in (jnp.nan, jnp.inf):
        bad = step(good, value)
        np.testing.assert_array_equal(bad.params["b"]["w"], 3.0)
        np.testing.assert_array_equal(bad.carry, 2.0)
        assert (int(bad.step), int(bad.skipped)) == (2, 1)


def test_step_keys_follow_the_step_alone():
    state = make()
    later = state.replace(step=jnp.int32(5))
    keys = [jax.random.key_data(s.step_key()).tolist() for s in (state, later, later)]
    assert keys[0] != keys[1] == keys[2]
