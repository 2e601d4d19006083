# SPDX-License-Identifier: Apache-2.0
"""What can be derived from a clip: one function per name."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float16, Shaped

from lipjax.data.schema import Clip
from lipjax.data.views import resize
from lipjax.media.optical_flow import FARNEBACK, farneback


@dataclasses.dataclass(frozen=True)
class Kind:
    """A derivative: its array, and how it is computed.

    Attributes:
        shape: of the array of one clip; None where it varies.
        dtype: of the array.
        compute: (clip, size) -> array; `size` is the side of the pictures it works on.
        settings: JSON-like, what else decides the values; recorded beside the size.
    """

    shape: tuple[int | None, ...]
    dtype: Any
    compute: Callable[[Clip, int], Shaped[np.ndarray, "..."]]
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def flow(clip: Clip, size: int) -> Float16[np.ndarray, "maps S S 2"]:
    """Computes the optical flow of the mouth crops, each frame to the next.

    Args:
        clip: a prepared clip.
        size: side to which the crops are resized first.

    Returns:
        Displacements (x, y) in pixels of that size; one map less than frames.

    Raises:
        ValueError: a clip of a single frame, or a displacement that float16 cannot hold.
    """
    if clip.num_frames < 2:
        raise ValueError("a single frame has no flow")
    maps = farneback(resize(clip.mouth, size))
    if not np.all(np.abs(maps) < np.finfo(np.float16).max):  # false for NaN, too
        raise ValueError("the flow is not finite")
    return maps.astype(np.float16)


NAMES: dict[str, Kind] = {
    "flow": Kind((None, None, None, 2), np.float16, flow, {"method": "farneback", **FARNEBACK}),
}
"""Name -> what `lipjax derive NAME` makes."""
