# SPDX-License-Identifier: Apache-2.0
"""Damage to real files: what is changed, and where, by formats whose parts are known.

A place is a list of (start, stop) within the file. `payload` gives the part that is only looked at
once a file counts as opened; everything else is its header.
"""

import zlib
from collections.abc import Callable

import numpy as np

Places = list[tuple[int, int]]
EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 10**9, 3)


def mutate(data: bytes, places: Places, rng: np.random.Generator) -> bytes:
    """Returns a file damaged within some places, by one to three changes of random kinds."""
    for _ in range(int(rng.integers(1, 4))):
        # Changes of length move what follows, so places are used for the first of them only.
        start, stop = places[int(rng.integers(len(places)))]
        stop = min(stop, len(data))
        if stop - start < 2:
            continue
        before = len(data)
        data = KINDS[int(rng.integers(len(KINDS)))](data, start, stop, rng)
        if len(data) != before:
            break
    return data


def _some(start: int, stop: int, rng: np.random.Generator, most: int) -> tuple[int, int]:
    first = int(rng.integers(start, stop))
    return first, min(stop, first + int(rng.integers(1, most + 1)))


def _flip(data: bytes, start: int, stop: int, rng: np.random.Generator) -> bytes:
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        out[int(rng.integers(start, stop))] ^= 1 << int(rng.integers(8))
    return bytes(out)


def _noise(data: bytes, start: int, stop: int, rng: np.random.Generator) -> bytes:
    first, last = _some(start, stop, rng, 64)
    return data[:first] + rng.bytes(last - first) + data[last:]


def _fill(data: bytes, start: int, stop: int, rng: np.random.Generator) -> bytes:
    first, last = _some(start, stop, rng, max(2, (stop - start) // 4))
    return data[:first] + bytes([int(rng.choice([0, 255]))]) * (last - first) + data[last:]


def _cut(data: bytes, start: int, stop: int, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(start, stop))]


def _drop(data: bytes, start: int, stop: int, rng: np.random.Generator) -> bytes:
    first, last = _some(start, stop, rng, max(2, (stop - start) // 3))
    return data[:first] + data[last:]


def _repeat(data: bytes, start: int, stop: int, rng: np.random.Generator) -> bytes:
    first, last = _some(start, stop, rng, max(2, (stop - start) // 4))
    return data[:last] + data[first:last] * int(rng.integers(1, 4)) + data[last:]


def _splice(data: bytes, start: int, stop: int, rng: np.random.Generator) -> bytes:
    """Writes one stretch over another of the same length."""
    first, last = _some(start, stop, rng, max(2, (stop - start) // 8))
    source = int(rng.integers(0, max(1, len(data) - (last - first))))
    return data[:first] + data[source : source + last - first] + data[last:]


def _extreme(data: bytes, start: int, stop: int, rng: np.random.Generator) -> bytes:
    """Sets what may be a length to an extreme one; digits of text to many of them."""
    digits = [i for i in range(start, stop) if data[i : i + 1].isdigit()] if stop < 20_000 else []
    if digits and rng.random() < 0.5 and len(digits) > (stop - start) / 50:
        at = int(rng.choice(digits))
        many = rng.choice(["9" * 400, "-1", "1e308", "NaN", "Infinity", "0", "9" * 19, "[" * 3000])
        return data[:at] + str(many).encode() + data[at + 1 :]
    width = int(rng.choice([2, 4, 4, 4, 8]))
    value = int(EXTREMES[int(rng.integers(len(EXTREMES)))]) & ((1 << 8 * width) - 1)
    if width == 8 and rng.random() < 0.5:
        value = (1 << 63) - 1 if rng.random() < 0.5 else (1 << 64) - 1
    at = int(rng.integers(start, max(start + 1, stop - width)))
    order = "big" if rng.random() < 0.5 else "little"
    return data[:at] + value.to_bytes(width, order) + data[at + width :]


KINDS: tuple[Callable[..., bytes], ...] = (
    *(_flip, _noise, _fill, _cut, _drop, _repeat, _splice, _extreme, _extreme),
)


def rest(places: Places, length: int) -> Places:
    """Returns what is not in some places; all of the file if nothing is left."""
    found, at = [], 0
    for start, stop in [*sorted(places), (length, length)]:
        if start - at >= 2:
            found.append((at, start))
        at = max(at, stop)
    return found or [(0, length)]


def payload(name: str, data: bytes) -> Places:
    """Returns where a file's payload lies, by the ending of its name; all of it if unknown."""
    ending = name.rsplit(".", 1)[-1]
    find = _PAYLOADS.get(ending)
    places = find(data) if find is not None else [(0, len(data))]
    return [(a, min(b, len(data))) for a, b in places if min(b, len(data)) - a >= 2] or [
        (len(data) // 2, len(data))
    ]


def _mp4(data: bytes) -> Places:
    at, found = 0, []
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"mdat":
            found.append((at + 8, at + length))
        at += max(8, length)
    return found


def _after(mark: bytes, skip: int, count: int = 1) -> Callable[[bytes], Places]:
    """Finds what follows the count-th appearance of a mark."""

    def find(data: bytes) -> Places:
        at = -1
        for _ in range(count):
            at = data.find(mark, at + 1)
            if at < 0:
                return []
        return [(at + len(mark) + skip, len(data))]

    return find


def _avi(data: bytes) -> Places:
    start, stop = data.find(b"movi"), data.find(b"idx1")
    return [(start + 4, stop if stop > 0 else len(data))] if start > 0 else []


def _png(data: bytes) -> Places:
    return [(at + 8, at + 8 + length) for at, kind, length in _chunks(data) if kind == b"IDAT"]


def _chunks(data: bytes) -> list[tuple[int, bytes, int]]:
    found, at = [], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + length > len(data):
            break
        found.append((at, data[at + 4 : at + 8], length))
        at += 12 + length
    return found


def repaired(name: str, data: bytes) -> bytes:
    """Returns a PNG with the checks of its chunks made right, so that they hide no damage."""
    if not name.endswith(".png"):
        return data
    out = bytearray(data)
    for at, _, length in _chunks(data):
        check = zlib.crc32(data[at + 4 : at + 8 + length])
        out[at + 8 + length : at + 12 + length] = check.to_bytes(4, "big")
    return bytes(out)


def _flac(data: bytes) -> Places:
    at = 4
    while at + 4 <= len(data):
        last, length = data[at] & 0x80, int.from_bytes(data[at + 1 : at + 4], "big")
        at += 4 + length
        if last:
            break
    return [(at, len(data))]


def _npy(data: bytes) -> Places:
    return [(10 + int.from_bytes(data[8:10], "little"), len(data))]


_PAYLOADS: dict[str, Callable[[bytes], Places]] = {
    "mp4": _mp4,
    "mov": _mp4,
    "mkv": _after(b"\x1f\x43\xb6\x75", 12),
    "webm": _after(b"\x1f\x43\xb6\x75", 12),
    "avi": _avi,
    "mpg": lambda data: [(4096, len(data))],
    "ts": lambda data: [(188 * 6, len(data))],
    "flv": lambda data: [(600, len(data))],
    "wav": _after(b"data", 4),
    "flac": _flac,
    "ogg": _after(b"OggS", 24, 3),
    "mp3": lambda data: [(500, len(data))],
    "png": _png,
    "jpg": _after(b"\xff\xda", 10),
    "gif": _after(b"\x2c\x00\x00\x00\x00", 5),
    "webp": _after(b"VP8 ", 14),
    "bmp": lambda data: [(int.from_bytes(data[10:14], "little"), len(data))],
    "tiff": lambda data: [(8, int.from_bytes(data[4:8], "little"))],
    "npy": _npy,
}
