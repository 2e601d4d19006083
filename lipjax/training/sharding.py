# SPDX-License-Identifier: Apache-2.0
"""Where arrays live: one mesh, one code path from a single CPU device to many accelerators.

The mesh has the axes `replica` and `shard`. A batch is split over both. Parameters, optimiser
and averages are copied to every replica and, where asked, split over `shard`.
"""

import contextlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Shaped

from lipjax.errors import ConfigError
from lipjax.state import State

BATCH_AXES = ("replica", "shard")
_SMALLEST = 4096  # elements; splitting smaller arrays costs more messages than it saves memory


def spread_over_cores(batch_size: int) -> None:
    """Makes several devices of the CPU, as many as there are cores and the batch divides by.

    XLA leaves a part of every core idle between the operations of one device; two devices on two
    cores train small networks a quarter faster than one (wide ones not: `build.is_wide`).
    XLA_FLAGS=--xla_force_host_platform_device_count=1 keeps one. Accelerators are used as before.
    For programs, before their first use of JAX; later it does nothing, nor where the user has
    chosen already.

    Args:
        batch_size: windows of a global batch.
    """
    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    count = max(n for n in range(1, batch_size + 1) if batch_size % n == 0 and n <= (cores or 1))
    with contextlib.suppress(RuntimeError):  # JAX is in use already
        jax.config.update("jax_num_cpu_devices", count)


def make_mesh(devices: Sequence[jax.Device] | None = None, *, shards: int = 1) -> Mesh:
    """Returns the mesh over the devices.

    Args:
        devices: to use; all devices of all processes if None.
        shards: number of devices that share one copy of the parameters; 1 copies them to each.

    Returns:
        A mesh with the axes (replica, shard).

    Raises:
        ConfigError: the number of devices does not divide by `shards`.
    """
    devices = list(jax.devices() if devices is None else devices)
    if shards < 1 or len(devices) % shards:
        fits = [n for n in range(1, len(devices) + 1) if len(devices) % n == 0]
        raise ConfigError(f"{shards} shards on {len(devices)} devices; choose one of {fits}")
    return jax.make_mesh(
        (len(devices) // shards, shards),
        BATCH_AXES,
        axis_types=(AxisType.Auto, AxisType.Auto),
        devices=devices,
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of what every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of arrays whose first axis is the batch."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def _split_largest(mesh: Mesh, leaf: Any, smallest: int) -> NamedSharding:
    shards = mesh.shape["shard"]
    shape = tuple(getattr(leaf, "shape", ()))
    fits = [axis for axis, size in enumerate(shape) if size % shards == 0]
    if shards == 1 or not fits or np.prod(shape) < smallest:
        return replicated(mesh)
    # The last of the largest axes: for weights that is the output features.
    axis = max(fits, key=lambda a: (shape[a], a))
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, "shard"))


def state_shardings(mesh: Mesh, abstract: State, *, smallest: int = _SMALLEST) -> State:
    """Returns the sharding of every leaf of a state.

    Args:
        mesh: from `make_mesh`.
        abstract: the state, or its shapes from `jax.eval_shape`.
        smallest: number of elements from which an array is split over `shard`.

    Returns:
        A state of shardings: parameters, optimiser, averages and given parameters split over
        `shard` along their largest axis that divides; carry split like the batch; the rest whole.
    """

    def of_carry(leaf: Any) -> NamedSharding:
        splits = leaf.ndim > 0 and leaf.shape[0] % mesh.size == 0
        return batch_sharding(mesh) if splits else replicated(mesh)

    whole = jax.tree.map(lambda _: replicated(mesh), abstract)
    split = lambda tree: jax.tree.map(lambda x: _split_largest(mesh, x, smallest), tree)  # noqa: E731
    return whole.replace(
        params=split(abstract.params),
        opt=split(abstract.opt),
        ema=split(abstract.ema),
        given=split(abstract.given),
        carry=jax.tree.map(of_carry, abstract.carry),
    )


def with_shardings(abstract: Any, shardings: Any) -> Any:
    """Returns the shapes with their shardings, as a restore needs them."""
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), abstract, shardings
    )


def check_batch(mesh: Mesh, batch: Mapping[str, Shaped[np.ndarray, "_ ..."]]) -> int:
    """Returns the size of the global batch after checking that the devices can share it.

    Args:
        mesh: from `make_mesh`.
        batch: this process's part.

    Raises:
        ConfigError: inputs of different lengths, or a length that does not divide.
    """
    sizes = {name: len(value) for name, value in batch.items()}
    if len(set(sizes.values())) != 1:
        raise ConfigError(f"inputs of one batch differ in length: {sizes}")
    size = next(iter(sizes.values())) * jax.process_count()
    if size % mesh.size:
        near = max(mesh.size, round(size / mesh.size) * mesh.size)
        raise ConfigError(
            f"a batch of {size} does not divide over {mesh.size} devices; "
            f"set the batch size to {near}"
        )
    return size


def global_shapes(
    mesh: Mesh, batch: Mapping[str, Shaped[np.ndarray, "_ ..."]], *, size: int
) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns shapes and shardings of the global batch that a part of it belongs to.

    Args:
        mesh: from `make_mesh`.
        batch: rows of any number.
        size: rows of the global batch.
    """
    sharding = batch_sharding(mesh)
    return {
        name: jax.ShapeDtypeStruct(
            (size, *value.shape[1:]), jax.dtypes.canonicalize_dtype(value.dtype), sharding=sharding
        )
        for name, value in batch.items()
    }


def put_batch(mesh: Mesh, batch: Mapping[str, Shaped[np.ndarray, "_ ..."]]) -> dict[str, jax.Array]:
    """Spreads this process's part of the global batch over its devices."""
    sharding = batch_sharding(mesh)
    return {
        name: jax.make_array_from_process_local_data(sharding, value)
        for name, value in batch.items()
    }


def put_padded(
    mesh: Mesh, batch: Mapping[str, Shaped[np.ndarray, "_ ..."]], *, size: int
) -> tuple[dict[str, jax.Array], int]:
    """Spreads a batch that every process holds whole, after filling it up with its last row.

    Args:
        mesh: from `make_mesh`.
        batch: of at most `size` examples.
        size: rows wanted; raised to the next multiple of the number of devices.

    Returns:
        The arrays, and how many of their rows are real; the rest must not be counted.
    """
    count = len(next(iter(batch.values())))
    rows = -(-max(size, count) // mesh.size) * mesh.size
    sharding = batch_sharding(mesh)

    def put(value: np.ndarray) -> jax.Array:
        full = np.concatenate([value, np.repeat(value[-1:], rows - count, axis=0)])
        return jax.make_array_from_callback(full.shape, sharding, lambda index: full[index])

    return {name: put(value) for name, value in batch.items()}, count
