# SPDX-License-Identifier: Apache-2.0
"""How many samples the tables of an MP4 declare, found out before a demuxer writes them all down.

An MP4 lists its samples by runs ("a thousand million samples of one byte each"), which FFmpeg
writes out, some 40 bytes for each, when it opens the file: 40 KB can ask for gigabytes.
"""

import io
import os
import zlib
from collections.abc import Iterator

import numpy as np
from jaxtyping import Int64

from lipjax.media.limits import MAX_SAMPLES

_FEW = 1_000_000
"""Samples that any file may declare: 40 MB."""
_MOST_RUNS = 4_000_000
"""Runs of a table that are looked at; of a longer one each run counts as a sample."""
_BOXES = 1_000_000
"""Boxes looked at; a film in fragments of a second has ten for each."""
_UNPACKED = 1 << 26
"""Bytes of a compressed header, unpacked."""
_SHORTEST_SOUND_PACKET = 160
"""Samples of uncompressed sound that FFmpeg takes together, at least."""
_CONTAINERS = frozenset(
    b"moov trak mdia minf stbl moof traf mvex edts dinf tref udta wave sinf cmov".split()
)


def too_many_samples(path: str | os.PathLike) -> int | None:
    """Returns how many samples a file of the MP4 family declares, if those are absurdly many.

    Args:
        path: a file of any kind; what is no MP4 has no such tables.

    Returns:
        None if a demuxer may write the samples down; else their number: more than `MAX_SAMPLES`,
        or, beyond a million, more than the file has bytes.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        count = _declared(file, size)
    return count if count > min(MAX_SAMPLES, max(_FEW, size)) else None


class _Track:
    """What the tables of one track say, as far as it counts."""

    def __init__(self) -> None:
        self.handler = b""
        self.samples = 0
        self.chunks = 0
        self.runs = self.offset_runs = self.per_chunk = np.zeros((0, 2), np.int64)

    def take(self, kind: bytes, body: bytes) -> None:
        """Reads a box; of a table that is cut off counts what is there."""
        if kind == b"hdlr":
            self.handler = body[8:12]
        elif kind in (b"stsz", b"stz2"):
            self.samples = max(self.samples, _number(body, 8))
        elif kind in (b"stco", b"co64"):
            self.chunks = max(self.chunks, _number(body, 4))
        elif _number(body, 4) > _MOST_RUNS:
            self.samples = max(self.samples, _number(body, 4))
        elif kind == b"stts":
            self.runs = _pairs(body, 2)
        elif kind == b"ctts":
            self.offset_runs = _pairs(body, 2)
        elif kind == b"stsc":
            self.per_chunk = _pairs(body, 3)

    def entries(self) -> int:
        """Entries that a demuxer makes of the track."""
        if self.handler == b"soun" and len(self.runs) == 1 and self.runs[0, 1] == 1:
            # Uncompressed sound: a sample is a moment, and a packet holds many.
            first, samples = self.per_chunk.T
            chunks = np.maximum(np.append(first[1:], self.chunks + 1) - first, 0)
            packed = float(chunks.astype(float) @ samples) / _SHORTEST_SOUND_PACKET
            return self.chunks + int(min(packed, 1 << 40))
        return max(self.samples, int(self.offset_runs[:, 0].sum()), int(self.runs[:, 0].sum()))


_OF_TRACK = frozenset(b"hdlr stsz stz2 stts ctts stsc stco co64".split())


def _declared(file: io.BufferedIOBase, size: int) -> int:
    """Entries that a demuxer would make for all tracks and fragments."""
    total, track = 0, _Track()
    for kind, start, end in _boxes(file, 0, size, [_BOXES]):
        if kind == b"trak":
            total, track = total + track.entries(), _Track()
        elif kind in _OF_TRACK:
            track.take(kind, _read(file, start, min(end - start, 8 + 12 * _MOST_RUNS)))
        elif kind == b"trun":
            total += _number(_read(file, start, 8), 4)
        elif kind == b"cmvd":
            unpacked = _unpack(_read(file, start + 4, min(end - start, _UNPACKED)))
            total += _declared(io.BytesIO(unpacked), len(unpacked))
        if total > MAX_SAMPLES:
            break
    return total + track.entries()


def _boxes(
    file: io.BufferedIOBase, start: int, end: int, left: list[int], depth: int = 0
) -> Iterator[tuple[bytes, int, int]]:
    """Yields (kind, start, end) of the bodies of all boxes, those within boxes after them."""
    while start + 8 <= end and left[0] > 0 and depth < 16:
        left[0] -= 1
        head = _read(file, start, 16)
        length, kind, body = _number(head, 0), head[4:8], start + 8
        if length == 1:
            length, body = int.from_bytes(head[8:16], "big"), start + 16
        stop = end if length == 0 else min(end, start + length)
        if stop < body:
            return
        yield kind, body, stop
        if kind in _CONTAINERS:
            yield from _boxes(file, body, stop, left, depth + 1)
        start = stop


def _read(file: io.BufferedIOBase, start: int, length: int) -> bytes:
    file.seek(start)
    return file.read(length)


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")


def _pairs(body: bytes, width: int) -> Int64[np.ndarray, "entries 2"]:
    """The first two numbers of each entry, `width` numbers, of a table after its count."""
    count = min(_number(body, 4), (len(body) - 8) // (4 * width))
    table = np.frombuffer(body, ">u4", max(0, count) * width, 8) if count > 0 else np.zeros(0)
    return table.reshape(-1, width)[:, :2].astype(np.int64)


def _unpack(data: bytes) -> bytes:
    """A compressed header; nothing where it is damaged."""
    try:
        return zlib.decompressobj().decompress(data, _UNPACKED)
    except zlib.error:
        return b""
