# SPDX-License-Identifier: Apache-2.0
"""Numbers that follow from a name by integer arithmetic: the same everywhere, never stored."""

import hashlib
import math

import numpy as np


def noise(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Returns numbers in [-1, 1) that follow from a name.

    Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
    """
    start = np.frombuffer(hashlib.sha256(name.encode()).digest()[:8], "<u8")[0]
    count = np.arange(1, math.prod(shape) + 1, dtype=np.uint64)
    with np.errstate(over="ignore"):
        z = start + count * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    unit = ((z ^ (z >> np.uint64(31))) >> np.uint64(40)).astype(np.float64) / 2**24
    return (2.0 * unit - 1.0).astype(np.float32).reshape(shape)
