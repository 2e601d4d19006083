# SPDX-License-Identifier: Apache-2.0
"""A plan in words."""

from collections.abc import Iterator

from lipjax.planning.plan import Leaf, Plan

_MACHINES = {
    "cpu": "as the CPU compiler plans it; other devices' temporaries and FLOPs will differ",
    "gpu": "as the GPU compiler plans it",
    "tpu": "as the TPU compiler plans it",
}


def size(count: float | int) -> str:
    """Bytes in the unit that suits them; units are powers of 1000."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count:.0f} B"


def number(count: float | int) -> str:
    """A count in thousands or millions."""
    for unit, factor in ((" T", 1e12), (" G", 1e9), (" M", 1e6), (" k", 1e3)):
        if count >= factor:
            return f"{count / factor:.3g}{unit}"
    return f"{count:.0f}"


def shape_of(sizes: tuple[int, ...], kind: str) -> str:
    """A shape as people write it."""
    return f"{kind} {' x '.join(map(str, sizes)) or 'scalar'}"


def lines(plan: Plan) -> Iterator[str]:
    """Yields the plan as it is printed."""
    several = f", {plan.processes} hosts" if plan.processes > 1 else ""
    yield f"plan of the training step, task {plan.task}; nothing is trained or written"
    yield f"devices       {plan.devices} x {plan.device_kind}{several}"
    yield f"mesh          replica {plan.replicas} x shard {plan.shards}"
    hosts = f", {plan.batch_size // plan.processes} per host" if plan.processes > 1 else ""
    parts = f", in {plan.micro_batches} micro-batches" if plan.micro_batches > 1 else ""
    yield (
        f"batch         {plan.batch_size} windows, {plan.batch_size // plan.devices} per device"
        f"{hosts}{parts}; {size(plan.batch_bytes)}"
    )
    for name, (sizes, kind) in plan.inputs.items():
        yield f"  {name:<16}{shape_of(sizes, kind)}"
    yield f"parameters    {number(sum(count for count, _ in plan.parameters.values()))}"
    for name, (count, bytes_) in plan.parameters.items():
        yield f"  {name:<16}{number(count):>9}{size(bytes_):>11}"
    whole, part = (sum(both[i] for both in plan.state.values()) for i in (0, 1))
    yield f"state         {size(whole)}, {size(part)} of it on each device"
    for name, (bytes_, own) in plan.state.items():
        if bytes_ >= 1000:
            yield f"  {name:<16}{size(bytes_):>9}{size(own):>11} per device"
    yield "largest arrays (optimiser and averages lie as their parameters do)"
    yield from (f"  {_leaf(leaf)}" for leaf in plan.largest)
    yield from _memory(plan)
    yield from _traffic(plan)
    if plan.flops:
        moved = f", {size(plan.memory_traffic)} read and written" if plan.memory_traffic else ""
        work = f"{number(plan.flops)}FLOP per device and step{moved}"
        yield f"work          {work}, by the compiler's count"
    yield f"compiled in {plan.compile_seconds:.0f} s"
    yield from (f"note: {note}" for note in plan.notes)


def _leaf(leaf: Leaf) -> str:
    split = ", ".join(f"axis {axis} split over {names}" for axis, names in leaf.split.items())
    where = f"{split}: {size(leaf.device_bytes)} each" if split else "whole on every device"
    return f"{size(leaf.bytes):>8}  {leaf.name}  {shape_of(leaf.shape, leaf.dtype)}; {where}"


def _memory(plan: Plan) -> Iterator[str]:
    memory = plan.memory
    of = f" of {size(memory.capacity)}" if memory.capacity else ""
    yield f"memory        {size(memory.total)}{of} per device, {_MACHINES[plan.compiler]}"
    yield f"  {'state and batch':<24}{size(memory.arguments):>9}"
    over = f", {size(memory.in_place)} in place"
    yield f"  {'new state and metrics':<24}{size(memory.outputs):>9}{over}"
    yield f"  {'temporaries':<24}{size(memory.temporaries):>9}"


def _traffic(plan: Plan) -> Iterator[str]:
    traffic = plan.traffic
    if not traffic.collectives:
        yield "collectives   none"
        return
    yield f"collectives   {size(traffic.sent)} sent per device and step, in rings"
    for found in traffic.collectives:
        yield (
            f"  {found.kind:<20}over {found.devices:<4}{found.count:>5} x"
            f"{size(found.bytes):>10} in all, {size(found.sent)} sent"
        )
    if traffic.unknown_loops:
        yield f"  {traffic.unknown_loops} loops of unknown length, counted as if run once"
