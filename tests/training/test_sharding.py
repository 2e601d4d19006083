# SPDX-License-Identifier: Apache-2.0
"""Where arrays land on simulated devices."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from lipjax.errors import ConfigError
from lipjax.state import State
from lipjax.training import sharding

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def test_large_arrays_split_along_their_largest_axis_that_divides():
    mesh = sharding.make_mesh(shards=4)
    params = {
        "kernel": jnp.zeros((3, 3, 64, 64)),
        "tall": jnp.zeros((4098, 4)),
        "odd": jnp.zeros((4099, 3)),
        "bias": jnp.zeros(64),
    }
    state = State.create(
        key=jax.random.key(0),
        params={"net": params},
        opt={"net": params},
        carry={"h": jnp.zeros((16, 5)), "n": jnp.zeros(())},
    )
    specs = jax.tree.map(lambda s: s.spec, sharding.state_shardings(mesh, state))
    for tree in (specs.params["net"], specs.opt["net"]):
        assert tree["kernel"] == PartitionSpec(None, None, None, "shard")
        assert tree["tall"] == PartitionSpec(None, "shard")
        assert tree["odd"] == tree["bias"] == PartitionSpec()
    assert specs.carry == {"h": PartitionSpec(("replica", "shard")), "n": PartitionSpec()}
    assert specs.step == specs.key == PartitionSpec()


def test_batch_is_split_over_both_axes():
    mesh = sharding.make_mesh(shards=2)
    x = np.arange(16)[:, None]
    array = sharding.put_batch(mesh, {"x": x})["x"]
    assert [s.data.shape for s in array.addressable_shards] == [(2, 1)] * 8
    np.testing.assert_array_equal(array, x)


def test_padding_repeats_the_last_row_and_is_counted():
    mesh = sharding.make_mesh()
    arrays, count = sharding.put_padded(mesh, {"x": np.arange(5)}, size=12)
    assert count == 5
    np.testing.assert_array_equal(arrays["x"], [0, 1, 2, 3] + [4] * 12)


def test_wrong_batches_are_named():
    mesh = sharding.make_mesh()
    assert sharding.check_batch(mesh, {"x": np.zeros(16)}) == 16
    with pytest.raises(ConfigError, match="set the batch size to 8"):
        sharding.check_batch(mesh, {"x": np.zeros(3)})
    with pytest.raises(ConfigError, match="differ in length"):
        sharding.check_batch(mesh, {"x": np.zeros(8), "y": np.zeros(16)})


@pytest.mark.parametrize(
    ("before", "flags", "expected"),
    [
        ("", "", max(n for n in (1, 2, 3, 6) if n <= CORES)),
        ("jax.devices()", "", 1),  # too late: nothing happens
        ("", "--xla_force_host_platform_device_count=5", 5),  # the user's choice stands
    ],
)
def test_programs_get_a_device_per_core_that_divides_the_batch(before, flags, expected):
    code = (
        "import jax; from lipjax.training.sharding import spread_over_cores\n"
        f"{before}\nspread_over_cores(6)\nprint(jax.device_count())"
    )
    env = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    run = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120
    )
    assert run.stdout.split() == [str(expected)], run.stderr
