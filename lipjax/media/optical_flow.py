# SPDX-License-Identifier: Apache-2.0
"""Optical flow between consecutive pictures by Farnebäck's method, and pictures of flow."""

from typing import Any

import numpy as np
from jaxtyping import Float32, Shaped, UInt8

FARNEBACK: dict[str, Any] = {
    "pyr_scale": 0.5,
    "levels": 3,
    "winsize": 15,
    "iterations": 3,
    "poly_n": 5,
    "poly_sigma": 1.2,
    "flags": 0,
}
"""The settings of the authors' code, made for mouth crops of 64 pixels."""


def farneback(images: UInt8[np.ndarray, "T H W 3"]) -> Float32[np.ndarray, "T-1 H W 2"]:
    """Computes the optical flow from each picture to the next.

    Args:
        images: RGB pictures in order.

    Returns:
        Displacements (x, y) in pixels: `images[t]` at p is found in `images[t + 1]` at
        p + flow[t] at p.

    Source: Farnebäck, "Two-Frame Motion Estimation Based on Polynomial Expansion", 2003, as
    OpenCV implements it.

    Example:
        >>> pictures = np.zeros((3, 32, 48, 3), np.uint8)
        >>> lipjax.farneback(pictures).shape
        (2, 32, 48, 2)
    """
    import cv2

    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images]
    flow = np.zeros((max(len(grey) - 1, 0), *images.shape[1:3], 2), np.float32)
    for number, (first, second) in enumerate(zip(grey[:-1], grey[1:], strict=True)):
        flow[number] = cv2.calcOpticalFlowFarneback(first, second, flow[number], **FARNEBACK)
    return flow


def flow_picture(
    flow: Shaped[np.ndarray, "*T H W 2"], *, largest: float | None = None
) -> UInt8[np.ndarray, "*T H W 3"]:
    """Colours flow by the colour wheel: hue is the direction, saturation the length.

    Args:
        flow: displacements (x, y).
        largest: length that gets full colour; the 99th percentile of all lengths if not given.

    Returns:
        RGB pictures; no motion is white, rightward red, downward yellow-green (image axes).

    Example:
        >>> flow = np.zeros((2, 32, 48, 2), np.float32)
        >>> lipjax.flow_picture(flow).shape
        (2, 32, 48, 3)
    """
    from matplotlib.colors import hsv_to_rgb

    length = np.linalg.norm(flow, axis=-1)
    if largest is None:
        largest = float(np.percentile(length, 99)) if length.size else 1.0
    hue = np.arctan2(flow[..., 1], flow[..., 0]) / (2 * np.pi) % 1.0
    saturation = np.clip(length / max(largest, 1e-6), 0.0, 1.0)
    colours = hsv_to_rgb(np.stack([hue, saturation, np.ones_like(hue)], axis=-1))
    return np.round(255 * colours).astype(np.uint8)


def colour_wheel(size: int = 64) -> UInt8[np.ndarray, "S S 3"]:
    """The legend of `flow_picture`: the colour of every direction and length, white outside."""
    axis = np.linspace(-1.0, 1.0, size)
    flow = np.stack(np.meshgrid(axis, axis), axis=-1)
    outside = np.linalg.norm(flow, axis=-1, keepdims=True) > 1.0
    return flow_picture(np.where(outside, 0.0, flow), largest=1.0)
