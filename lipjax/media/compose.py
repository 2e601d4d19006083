# SPDX-License-Identifier: Apache-2.0
"""Putting a mouth back on a face."""

import numpy as np
from jaxtyping import Float, UInt8

from lipjax.errors import ConfigError
from lipjax.media import crops


def paste_mouth(
    frame: UInt8[np.ndarray, "H W 3"],
    mouth: UInt8[np.ndarray, "S S 3"],
    mouth_from_frame: Float[np.ndarray, "2 3"],
    *,
    feather: float = 0.15,
) -> UInt8[np.ndarray, "H W 3"]:
    """Blends an aligned mouth crop into the frame from which it was, or could have been, cut.

    Colours are not matched: inside the feathered band the frame shows the mouth as it is.

    Args:
        frame: the picture.
        mouth: the crop.
        mouth_from_frame: transform, pixels of `frame` to pixels of `mouth`.
        feather: width of the band at the crop's border in which the mouth fades in smoothly
            from nothing, as a fraction of the crop's side, in (0, 0.5].

    Returns:
        A new picture; outside the crop it equals `frame`.

    Raises:
        ConfigError: `feather` is out of range.
    """
    if not 0 < feather <= 0.5:
        raise ConfigError(f"feather is a fraction of the crop in (0, 0.5], not {feather}")
    out = frame.copy()
    size = mouth.shape[0]
    back = crops.invert(mouth_from_frame)
    corners = np.array([[x, y] for x in (-0.5, size - 0.5) for y in (-0.5, size - 0.5)])
    reached = crops.apply(back, corners)
    limits = np.array([frame.shape[1], frame.shape[0]])
    first = np.clip(np.floor(reached.min(axis=0)), 0, limits).astype(int)
    last = np.clip(np.ceil(reached.max(axis=0)) + 1, 0, limits).astype(int)
    width, height = (int(n) for n in last - first)
    if width <= 0 or height <= 0:
        return out
    to_region = np.array([[1.0, 0.0, -first[0]], [0.0, 1.0, -first[1]]])
    inside = crops.warp(mouth.astype(np.float32), crops.compose(to_region, back), (height, width))
    alpha = _mask(mouth_from_frame, size, feather, first, height, width)[..., None]
    region = out[first[1] : last[1], first[0] : last[0]]
    blend = (1 - alpha) * region + alpha * inside
    region[:] = np.clip(np.rint(blend), 0, 255).astype(np.uint8)
    return out


def _mask(
    transform: np.ndarray, size: int, feather: float, first: np.ndarray, height: int, width: int
) -> Float[np.ndarray, "h w"]:
    """Weight of the mouth at each frame pixel: 1 inside, smooth to 0 at the crop's border."""
    x, y = np.meshgrid(np.arange(width) + first[0], np.arange(height) + first[1])
    weights = []
    for row in transform:
        place = row[0] * x + row[1] * y + row[2]
        depth = np.minimum(place + 0.5, size - 0.5 - place) / (feather * size)
        depth = np.clip(depth, 0, 1)
        weights.append(depth**2 * (3 - 2 * depth))
    return weights[0] * weights[1]
