# SPDX-License-Identifier: Apache-2.0
"""A plan of a run: mesh, shardings, memory and traffic of the step that training would compile."""

import dataclasses
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from lipjax import build
from lipjax.errors import ConfigError
from lipjax.planning.collectives import Traffic, traffic_of
from lipjax.planning.shapes import empty_batch, given_of
from lipjax.training import sharding
from lipjax.training.programs import Programs, programs_of

_LARGEST = 8  # arrays that are listed
_QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""For CPUs: machine code that nobody runs need not be fast. Program and buffers are the same."""
HBM = {
    "TPU v4": 32e9,
    "TPU v5 lite": 16e9,
    "TPU v5": 95e9,
    "TPU v6 lite": 32e9,
}
"""Kind of device -> bytes of its memory, as published."""


@dataclasses.dataclass(frozen=True)
class Leaf:
    """One array of the state.

    Attributes:
        name: its path.
        shape: of the whole array.
        dtype: of its elements.
        bytes: of the whole array.
        device_bytes: of one device's part.
        split: axis -> mesh axes that split it; empty where every device holds it whole.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    device_bytes: int
    split: dict[int, str]


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes on one device while a step runs, as the compiler planned it.

    Attributes:
        arguments: state and batch.
        outputs: state and metrics.
        in_place: of the outputs, what is written over the arguments.
        temporaries: everything between.
        capacity: of the device, or None if unknown.
    """

    arguments: int
    outputs: int
    in_place: int
    temporaries: int
    capacity: int | None

    @property
    def total(self) -> int:
        """Bytes needed at once."""
        return self.arguments + self.outputs - self.in_place + self.temporaries


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run will need.

    Attributes:
        task: of the config.
        compiler: "cpu", "gpu" or "tpu": whose program this is.
        device_kind: in the compiler's words.
        devices: of all processes.
        processes: that they belong to.
        replicas: groups of devices, each of which holds the parameters once.
        shards: devices of a group.
        batch_size: windows of a global batch.
        micro_batches: parts that it is worked off in.
        inputs: name -> (shape of the global batch, type).
        batch_bytes: of a global batch.
        parameters: player -> (numbers, bytes).
        state: field -> (bytes, bytes of one device's part).
        largest: arrays of the state; optimiser and averages lie as their parameters do.
        memory: of one device.
        traffic: between devices, per step.
        flops: of one device per step, as the compiler counts; None if it does not.
        memory_traffic: bytes of its own memory that a device reads and writes per step, as the
            compiler counts; None if it does not.
        compile_seconds: that the compiler took here.
        notes: what a reader must know.
    """

    task: str
    compiler: str
    device_kind: str
    devices: int
    processes: int
    replicas: int
    shards: int
    batch_size: int
    micro_batches: int
    inputs: dict[str, tuple[tuple[int, ...], str]]
    batch_bytes: int
    parameters: dict[str, tuple[int, int]]
    state: dict[str, tuple[int, int]]
    largest: tuple[Leaf, ...]
    memory: Memory
    traffic: Traffic
    flops: float | None
    memory_traffic: float | None
    compile_seconds: float
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns the plan as JSON holds it."""
        return {**dataclasses.asdict(self), "memory_total": self.memory.total}


def plan_of(
    config: ConfigDict, devices: Sequence[jax.Device], *, workdir: Path | None = None
) -> Plan:
    """Compiles the training step of a config for devices, and looks at it; trains nothing.

    No corpus is opened and no trained stage is needed. Evaluation and previews, which run between
    steps, are not planned.

    Args:
        config: of one stage.
        devices: to plan for, see `lipjax.planning.devices`.
        workdir: of the run, whose earlier stages are described there if they were begun.

    Raises:
        ConfigError: settings that cannot work, or a step that needs more memory than there is.
    """
    programs, notes = step_of(config, devices, workdir=workdir)
    compiled, seconds = _compile(programs)
    cost = compiled.cost_analysis() or {}
    leaves = _leaves(programs.state)
    first, mesh = programs.mesh.devices.flat[0], programs.mesh
    count = lambda tree: sum(math.prod(x.shape) for x in jax.tree.leaves(tree))  # noqa: E731
    return Plan(
        task=config.task,
        compiler=first.platform,
        device_kind=first.device_kind,
        devices=mesh.size,
        processes=len({device.process_index for device in mesh.devices.flat}),
        replicas=mesh.shape["replica"],
        shards=mesh.shape["shard"],
        batch_size=config.data.batch_size,
        micro_batches=config.train.get("micro_batches", 1),
        inputs={name: (tuple(x.shape), str(x.dtype)) for name, x in programs.batch.items()},
        batch_bytes=sum(_bytes(x.shape, x.dtype) for x in programs.batch.values()),
        parameters={
            name: (count(tree), sum(_bytes(x.shape, x.dtype) for x in jax.tree.leaves(tree)))
            for name, tree in programs.state.params.items()
        },
        state=_fields(leaves),
        largest=_largest(leaves),
        memory=_memory(compiled, first),
        traffic=traffic_of(compiled.as_text() or ""),
        flops=cost.get("flops"),
        memory_traffic=cost.get("bytes accessed"),
        compile_seconds=seconds,
        notes=tuple(notes),
    )


def step_of(
    config: ConfigDict, devices: Sequence[jax.Device], *, workdir: Path | None = None
) -> tuple[Programs, list[str]]:
    """Returns the programs that training would compile, and notes on what they stand on."""
    given, notes = given_of(config, workdir)
    task = build.task_of(config, given)
    try:
        mesh = sharding.make_mesh(devices, shards=config.train.shards)
    except (NotImplementedError, AssertionError) as error:  # JAX finds no place in a TPU's torus
        raise ConfigError(
            f"train.shards {config.train.shards} does not fit the arrangement of "
            f"{len(devices)} x {devices[0].device_kind}: {error}"
        ) from error
    size = config.data.batch_size
    batch = empty_batch(task.inputs, build.streams_of(config.data), rows=size)
    sharding.check_batch(mesh, batch)
    shapes = sharding.global_shapes(mesh, batch, size=size)
    variables = {name: dict(network.variables) for name, network in given.items()}
    return programs_of(task, shapes, mesh=mesh, given=variables, seed=config.seed), notes


def _compile(programs: Programs) -> tuple[jax.stages.Compiled, float]:
    on_cpu = programs.mesh.devices.flat[0].platform == "cpu"
    lowered = programs.train_step.lower(programs.state, programs.batch)
    began = time.monotonic()
    try:
        compiled = lowered.compile(compiler_options=_QUICK if on_cpu else None)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        told = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"the step does not fit into a device's memory ({told}); lower data.batch_size, raise "
            "train.shards or train.micro_batches, or take more devices"
        ) from error
    return compiled, time.monotonic() - began


def _memory(compiled: jax.stages.Compiled, device: jax.Device) -> Memory:
    stats = compiled.memory_analysis()
    if stats is None:
        raise ConfigError(
            f"the compiler for {device.platform} does not tell how much memory a step takes"
        )
    return Memory(
        arguments=stats.argument_size_in_bytes,
        outputs=stats.output_size_in_bytes,
        in_place=stats.alias_size_in_bytes,
        temporaries=stats.temp_size_in_bytes,
        capacity=_capacity(device),
    )


def _capacity(device: jax.Device) -> int | None:
    if device.device_kind in HBM:
        return int(HBM[device.device_kind])
    if device.platform != "gpu":
        return None
    return (device.memory_stats() or {}).get("bytes_limit")


def _bytes(shape: Sequence[int], dtype: Any) -> int:
    return math.prod(shape) * dtype.itemsize


def _leaves(state: Any) -> list[Leaf]:
    """All arrays of the state."""
    found = []
    for keys, leaf in jax.tree_util.tree_leaves_with_path(state):
        part = leaf.sharding.shard_shape(leaf.shape)
        split = {
            axis: "+".join(names if isinstance(names, tuple) else (names,))
            for axis, names in enumerate(leaf.sharding.spec)
            if names
        }
        found.append(
            Leaf(
                name=jax.tree_util.keystr(keys, simple=True, separator="/"),
                shape=tuple(leaf.shape),
                dtype=str(leaf.dtype),
                bytes=_bytes(leaf.shape, leaf.dtype),
                device_bytes=_bytes(part, leaf.dtype),
                split=split,
            )
        )
    return found


def _largest(leaves: Sequence[Leaf]) -> tuple[Leaf, ...]:
    own = [leaf for leaf in leaves if leaf.name.partition("/")[0] not in ("opt", "ema")]
    return tuple(sorted(own, key=lambda leaf: -leaf.bytes)[:_LARGEST])


def _fields(leaves: Sequence[Leaf]) -> dict[str, tuple[int, int]]:
    """Field of the state -> its bytes, and those of one device's part."""
    sums: dict[str, tuple[int, int]] = {}
    for leaf in leaves:
        field = leaf.name.partition("/")[0]
        whole, part = sums.get(field, (0, 0))
        sums[field] = (whole + leaf.bytes, part + leaf.device_bytes)
    return sums
