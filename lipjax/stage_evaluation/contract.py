# SPDX-License-Identifier: Apache-2.0
"""What the evaluation of an earlier stage knows of its family."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Shaped, UInt8

from lipjax.data.views import ClipViews
from lipjax.stage_evaluation.result import Column

BLOCK = 32
"""Pictures that go through a compiled function at once."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """One clip, measured.

    Attributes:
        count: frames, or pairs of frames.
        rows: row -> column -> mean over them.
        pictures: what a sheet of this clip needs.
    """

    count: int
    rows: Mapping[str, Mapping[str, float]]
    pictures: Mapping[str, np.ndarray]


@runtime_checkable
class Family(Protocol):
    """A trained network of an earlier stage, and how it is measured.

    Attributes:
        columns: quantities.
        unit: what is counted, "frames" or the like.
        derived: side corpora that it needs.
        notes: what rows and columns mean.
        caption: of the sheet.
    """

    columns: Mapping[str, Column]
    unit: str
    derived: tuple[str, ...]
    notes: tuple[str, ...]
    caption: str

    def measure(self, views: ClipViews) -> Measured:
        """Measures a whole clip."""

    def sheet(self, clips: Sequence[Measured]) -> UInt8[np.ndarray, "H W 3"]:
        """Draws some clips."""


def in_blocks(
    function: Callable[..., Mapping[str, jax.Array]], *arrays: Shaped[np.ndarray, "N ..."]
) -> dict[str, np.ndarray]:
    """Applies a compiled function to blocks of one length, so that it is compiled once.

    Args:
        function: from arrays of `BLOCK` entries to named results with one value per entry.
        arrays: of equal length, at least 1.

    Returns:
        The results for all entries, the filling of the last block taken off.
    """

    def blocks() -> Iterator[Mapping[str, jax.Array]]:
        for first in range(0, len(arrays[0]), BLOCK):
            parts = [array[first : first + BLOCK] for array in arrays]
            missing = BLOCK - len(parts[0])
            yield function(
                *(np.pad(p, ((0, missing), *((0, 0),) * (p.ndim - 1)), mode="edge") for p in parts)
            )

    made = [{name: np.asarray(value) for name, value in block.items()} for block in blocks()]
    return {name: np.concatenate([b[name] for b in made])[: len(arrays[0])] for name in made[0]}
