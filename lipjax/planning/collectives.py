# SPDX-License-Identifier: Apache-2.0
"""Which collectives a compiled program runs, and how many bytes they move: read from its text.

Each device runs the same program, so all numbers are per device. What a device sends is reckoned
for rings, which move the least that any method can: 2 (n - 1) / n of an array to sum it over n
devices, (n - 1) / n to gather, scatter or exchange it.
"""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping

from lipjax.errors import ConfigError

KINDS = (
    *("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "ragged-all-to-all"),
    *("collective-permute", "collective-broadcast"),
)
_BITS = {"pred": 8, "token": 0, "opaque": 0}  # others carry their bits in their name
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?[\w.\-]+ = ")
_OPERATION = re.compile(r"\s*([a-z][\w\-]*)\(")
_CALLED = re.compile(
    r"\b(?:calls|to_apply|body|condition|\w+_computations?)=(?:\{([^}]*)\}|%?([\w.\-]+))"
)
_ARRAY = re.compile(r"\b([a-z]+\d*\w*)\[([\d,<=\s]*)\]")
_EVERYBODY = re.compile(r"\b(?:num_partitions|replica_count)=(\d+)")
_TRIPS = re.compile(r"known_trip_count\D*(\d+)")
_LISTED = re.compile(r"replica_groups=\{(?:\{([\d,\s]*)\}|\})")
_COUNTED = re.compile(r"replica_groups=\[[\d,]*?(\d+)\]")
_MESH = re.compile(r"replica_groups=mesh\[([^\]]*)\][^{]*\{([^}]*)\}")
_AXIS = re.compile(r"'?([\w.\-]+)'?=(\d+)")
_TAKEN = re.compile(r"'?([\w.\-]+)'?(?::\(\d+\)(\d+))?")  # an axis, or (of which before it) a part


@dataclasses.dataclass(frozen=True)
class Collective:
    """All collectives of one kind over groups of one size.

    Attributes:
        kind: one of `KINDS`.
        devices: that take part in each.
        count: how often one runs, per step and device.
        bytes: of the whole arrays that are reduced, gathered, scattered or exchanged.
        sent: bytes that a device sends for them, in rings.
    """

    kind: str
    devices: int
    count: int
    bytes: int
    sent: int


@dataclasses.dataclass(frozen=True)
class Traffic:
    """What a program moves between devices.

    Attributes:
        collectives: by kind and size of the group.
        unknown_loops: loops with collectives in them of which the compiler does not tell how
            often they run; they are counted as if once.
    """

    collectives: tuple[Collective, ...]
    unknown_loops: int

    @property
    def sent(self) -> int:
        """Bytes that a device sends per step."""
        return sum(found.sent for found in self.collectives)

    def of(self, kind: str) -> tuple[int, int]:
        """How many collectives of a kind run, and the bytes of their arrays."""
        found = [c for c in self.collectives if c.kind == kind]
        return sum(c.count for c in found), sum(c.bytes for c in found)


def traffic_of(text: str) -> Traffic:
    """Counts the collectives of a compiled program.

    Args:
        text: of the optimised program, from `compiled.as_text()`.

    Returns:
        What runs once the program is called; what lies in a loop counts as often as it runs.

    Raises:
        ConfigError: the text is of a form that this function does not know.
    """
    everybody = math.prod(int(n) for n in _EVERYBODY.findall(text))
    entry, bodies = _computations(text)
    found: dict[tuple[str, int], list[int]] = {}
    unknown = 0
    pending = [(entry, 1)]
    while pending:
        name, times = pending.pop()
        for line, shape, operation in bodies[name]:
            kind = _kind(operation)
            if kind in KINDS:
                devices = _devices(line, kind, everybody)
                size = _size(shape, operation, devices)
                sums = found.setdefault((kind, devices), [0, 0, 0])
                for i, more in enumerate((1, size, _sent(kind, size, devices))):
                    sums[i] += times * more
            elif not operation.endswith(("-done", "-update")):
                inner = [called for called in _called(line) if called in bodies]
                trips = _TRIPS.search(line)
                if operation == "while" and not trips:
                    unknown += any(_communicates(bodies, called) for called in inner)
                often = times * int(trips[1]) if operation == "while" and trips else times
                pending += [(called, often) for called in inner]
    rows = [Collective(*key, *sums) for key, sums in sorted(found.items())]
    return Traffic(tuple(rows), unknown)


def _computations(text: str) -> tuple[str, dict[str, list[tuple[str, str, str]]]]:
    """Name of the entry, and name -> (line, shape, operation) of those that matter here."""
    entry = ""
    bodies: dict[str, list[tuple[str, str, str]]] = {}
    lines: list[tuple[str, str, str]] = []
    for line in text.splitlines():
        if line[:1] not in (" ", "\t", "}", ""):
            header = _COMPUTATION.match(line)
            if header:
                lines = bodies.setdefault(header[2], [])
                entry = header[2] if header[1] else entry
        elif start := _INSTRUCTION.match(line):
            shape = _shape(line, start.end())
            operation = _OPERATION.match(line, start.end() + len(shape))
            if operation and (_kind(operation[1]) in KINDS or _CALLED.search(line)):
                lines.append((line, shape, operation[1]))
    if not entry:
        raise ConfigError("the compiler's text has no ENTRY; lipjax cannot count its collectives")
    return entry, bodies


def _shape(line: str, start: int) -> str:
    """The shape that begins there: a word, or everything up to its closing bracket."""
    depth = 0
    for end in range(start, len(line)):
        depth += (line[end] == "(") - (line[end] == ")")
        if depth == 0 and line[end] in " )":
            return line[start : end + (line[end] == ")")]
    return line[start:]


def _kind(operation: str) -> str:
    return operation.removesuffix("-start")


def _called(line: str) -> list[str]:
    """Names of the computations that an instruction calls."""
    names = [listed or one for listed, one in _CALLED.findall(line)]
    return [name.strip().lstrip("%") for several in names for name in several.split(",")]


def _communicates(bodies: Mapping[str, list], name: str) -> bool:
    return any(
        _kind(operation) in KINDS
        or any(_communicates(bodies, called) for called in _called(line) if called in bodies)
        for line, _, operation in bodies[name]
    )


def _devices(line: str, kind: str, everybody: int) -> int:
    """How many devices take part."""
    if kind == "collective-permute":
        return 2
    listed, counted = _LISTED.search(line), _COUNTED.search(line)
    if listed:
        return len(listed[1].split(",")) if listed[1] else everybody
    if counted:
        return int(counted[1])
    if mesh := _MESH.search(line):
        sizes = dict(_AXIS.findall(mesh[1]))
        words = [word.strip() for word in mesh[2].split(",") if word.strip()]
        taken = [axis for word in words if (axis := _TAKEN.fullmatch(word))]
        counts = [int(axis[2] or sizes.get(axis[1], 0)) for axis in taken]
        if len(counts) == len(words) and all(counts):
            return math.prod(counts)
    if "replica_groups=" in line:
        raise ConfigError(f"this JAX writes replica groups in a way unknown to lipjax: {line}")
    return everybody


def _arrays(shape: str) -> Iterator[int]:
    """Bytes of each array in a shape."""
    for kind, sizes in _ARRAY.findall(shape):
        bits = _BITS.get(kind)
        if bits is None:
            number = re.search(r"\d+", kind)
            bits = int(number[0]) if number else 0
        count = math.prod(int(size.strip("<= ")) for size in sizes.split(",") if size.strip())
        yield -(-count * bits // 8)


def _parts(shape: str) -> list[str]:
    """The members of a tuple; a single array is its own."""
    if not shape.startswith("("):
        return [shape]
    parts, depth, begin = [], 0, 1
    for i, letter in enumerate(shape):
        depth += (letter in "([{") - (letter in ")]}")
        if depth == 0 or (depth == 1 and letter == ","):
            parts.append(shape[begin:i])
            begin = i + 1
    return parts


def _size(shape: str, operation: str, devices: int) -> int:
    """Bytes of the whole arrays of a collective."""
    if operation in ("all-gather-start", "collective-permute-start", "reduce-scatter-start"):
        shape = _parts(shape)[1]  # (what goes in, what comes out, ...)
    size = sum(_arrays(shape))
    return size * devices if operation.startswith("reduce-scatter") else size


def _sent(kind: str, size: int, devices: int) -> int:
    if kind in ("collective-permute", "collective-broadcast"):
        return size
    return round(size * (devices - 1) / devices * (2 if kind == "all-reduce" else 1))
