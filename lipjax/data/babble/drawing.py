# SPDX-License-Identifier: Apache-2.0
"""Draws babble faces: a head painted once, then mouth and eyes shaded anew in every frame."""

import numpy as np
from jaxtyping import Float, UInt8

from lipjax.data.babble import head as layers
from lipjax.data.babble.face import EYE_HALF, EYE_X, Face, eyelids, jaw_shift
from lipjax.data.babble.head import cover_between, mix
from lipjax.data.babble.shape import MouthCurves


class Painter:
    """Draws the frames of one face.

    Args:
        face: who.
        size: width and height of the video, pixels.
        unit: pixels per face unit.
    """

    def __init__(self, face: Face, *, size: tuple[int, int], unit: float) -> None:
        self.face, self.size, self.unit = face, size, unit
        rng = np.random.default_rng(face.texture)
        self._background = layers.paint_background(face, size, rng)
        self._head = layers.paint_head(face, unit, rng)
        width, height = size
        y, x = np.mgrid[:height, :width].astype(np.float32)
        self._x, self._y = x, y

    def frame(
        self,
        mouth: MouthCurves,
        *,
        blink: float,
        placement: Float[np.ndarray, "2 3"],
    ) -> UInt8[np.ndarray, "h w 3"]:
        """Draws one frame.

        Args:
            mouth: shape of the mouth.
            blink: how far the eyes are closed, 0 to 1.
            placement: similarity transform, face coordinates to pixels.

        Returns:
            The picture, RGB.
        """
        import cv2

        linear = np.linalg.inv(placement[:, :2])
        shift = -linear @ placement[:, 2]
        x = (linear[0, 0] * self._x + linear[0, 1] * self._y + shift[0]).astype(np.float32)
        y = (linear[1, 0] * self._x + linear[1, 1] * self._y + shift[1]).astype(np.float32)
        grid = self.unit * layers.LAYER
        source = y - np.float32(mouth.jaw_drop) * jaw_shift(self.face, y).astype(np.float32)
        head = cv2.remap(
            self._head,
            (x - layers.LEFT) * grid - 0.5,
            (source - layers.TOP) * grid - 0.5,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
        ).astype(np.float32)
        image = self._background * (1 - head[..., 3:] / 255) + head[..., :3]
        pixels = float(np.sqrt(np.linalg.det(placement[:, :2])))
        for centre in (-EYE_X, EYE_X):
            window = _window(placement, (centre - 0.3, -0.25, centre + 0.3, 0.2), self.size)
            self._draw_eye(image[window], x[window] - centre, y[window], blink, pixels)
        reach = mouth.half_width + 0.12
        box = (-reach, mouth.outer_top.min() - 0.1, reach, mouth.outer_bottom.max() + 0.22)
        window = _window(placement, box, self.size)
        self._draw_mouth(image[window], x[window], y[window], mouth, pixels)
        return np.clip(image + 0.5, 0, 255).astype(np.uint8)

    def _draw_eye(
        self,
        image: Float[np.ndarray, "h w 3"],
        x: Float[np.ndarray, "h w"],
        y: Float[np.ndarray, "h w"],
        blink: float,
        pixels: float,
    ) -> None:
        face = self.face
        u = np.clip(x / EYE_HALF, -1, 1)
        top, bottom = eyelids(face, u, blink)
        across = np.clip((EYE_HALF - np.abs(x)) * pixels + 0.5, 0, 1)
        open_eye = cover_between(y, top, bottom, pixels) * across
        white = np.array([226.0, 222, 218]) * (0.95 - 0.35 * u * u)[..., None]
        white = white * np.clip(0.62 + (y - top) * 7, 0.5, 1)[..., None]
        mix(image, white, open_eye)
        r = np.hypot(x, y + 0.02)
        iris = np.asarray(face.eyes) * (0.7 + 4.0 * r)[..., None]
        mix(image, iris, open_eye * np.clip((0.088 - r) * pixels + 0.5, 0, 1))
        mix(image, np.array([18.0, 14, 14]), open_eye * np.clip((0.042 - r) * pixels + 0.5, 0, 1))
        glint = np.hypot(x - 0.03 * np.sign(face.light[0]), y + 0.05)
        glint_cover = np.clip((0.018 - glint) * pixels + 0.5, 0, 1)
        mix(image, np.array([250.0, 250, 250]), open_eye * glint_cover * 0.9)
        lash = np.exp(-(((y - top) / 0.016) ** 2)) * across
        mix(image, np.array([32.0, 24, 22]), 0.85 * lash)
        mix(
            image,
            np.asarray(face.skin) * 0.6,
            0.4 * np.exp(-(((y - bottom) / 0.014) ** 2)) * across,
        )
        crease = np.exp(-(((y - top + 0.05 * (1 - blink)) / 0.014) ** 2)) * across
        mix(image, np.asarray(face.skin) * 0.55, 0.4 * crease)

    def _draw_mouth(
        self,
        image: Float[np.ndarray, "h w 3"],
        x: Float[np.ndarray, "h w"],
        y: Float[np.ndarray, "h w"],
        mouth: MouthCurves,
        pixels: float,
    ) -> None:
        face, size = self.face, self.face.mouth_width
        half = mouth.half_width
        clipped = np.clip(x, -half, half)
        table = (mouth.outer_top, mouth.inner_top, mouth.inner_bottom, mouth.outer_bottom)
        outer_top, inner_top, inner_bottom, outer_bottom = (
            np.interp(clipped, mouth.x, curve) for curve in table
        )
        u = clipped / half
        across = np.clip((half - np.abs(x)) * pixels + 0.5, 0, 1)
        brightness = layers.shade(face, 0.5 * u, np.full_like(u, 0.1))
        # The skin: a shadow under the lower lip, darker corners.
        below = np.exp(-(((y - outer_bottom - 0.05) / 0.06) ** 2)) * np.maximum(1 - u * u, 0)
        image *= (1 - 0.22 * below)[..., None]
        corner = np.exp(-(((np.abs(x) - half) / 0.035) ** 2 + ((y - inner_top) / 0.03) ** 2))
        image *= (1 - 0.35 * corner)[..., None]
        self._draw_inside(image, x, y, u, inner_top, inner_bottom, mouth, pixels, across)
        # Lips: the upper faces down and is darker, the lower catches the light.
        lips = np.asarray(face.lips)
        wrinkles = 1 + 0.02 * np.sin(x * 95 + 2 * np.sin(x * 31 + face.texture % 11))
        depth = np.clip((y - outer_top) / np.maximum(inner_top - outer_top, 1e-4), 0, 1)
        upper = (0.92 - 0.26 * depth**1.5) * brightness * wrinkles
        mix(image, lips * upper[..., None], cover_between(y, outer_top, inner_top, pixels) * across)
        depth = np.clip((y - inner_bottom) / np.maximum(outer_bottom - inner_bottom, 1e-4), 0, 1)
        lower = (0.86 + 0.30 * np.sin(np.pi * depth**0.8) - 0.16 * depth) * brightness * wrinkles
        gloss = np.exp(-(((depth - 0.38) / 0.2) ** 2) - ((u - 0.25 * face.light[0]) / 0.42) ** 2)
        tone = lips * lower[..., None] + (22 + 22 * mouth.protrude) * gloss[..., None]
        mix(image, tone, cover_between(y, inner_bottom, outer_bottom, pixels) * across)
        # Where the lips meet, a dark line stays.
        gap = inner_bottom - inner_top
        seam = np.exp(-(((y - (inner_top + inner_bottom) / 2) / (0.018 * size)) ** 2))
        seam *= np.clip(1 - gap / (0.03 * size), 0, 1) * across
        mix(image, lips * 0.32, 0.75 * seam)

    def _draw_inside(
        self,
        image: Float[np.ndarray, "h w 3"],
        x: Float[np.ndarray, "h w"],
        y: Float[np.ndarray, "h w"],
        u: Float[np.ndarray, "h w"],
        inner_top: Float[np.ndarray, "h w"],
        inner_bottom: Float[np.ndarray, "h w"],
        mouth: MouthCurves,
        pixels: float,
        across: Float[np.ndarray, "h w"],
    ) -> None:
        """Cavity, tongue and teeth, each in front of the one before."""
        face, size = self.face, self.face.mouth_width
        hole = cover_between(y, inner_top, inner_bottom, pixels) * across
        if not hole.any():
            return
        inside = np.empty_like(image)
        deep = np.clip((y - inner_top) / (0.35 * size), 0, 1)
        inside[:] = np.array([46.0, 16, 18]) + np.array([34.0, 10, 10]) * deep[..., None]
        bottom = mouth.lower_teeth + 0.02 * size
        height = (bottom - mouth.upper_teeth) * np.clip(mouth.tongue, 0, 1) * 0.85 + 0.11 * size
        tongue_top = bottom - height + 0.5 * (x / (0.62 * mouth.half_width)) ** 2 * 0.12 * size
        shade = 0.75 + 0.35 * np.clip((y - tongue_top) / (0.12 * size), 0, 1)
        tongue = np.array([190.0, 92, 92]) * shade[..., None]
        tongue_cover = np.clip((y - tongue_top) * pixels / 1.5 + 0.5, 0, 1)
        tongue_cover *= np.clip((0.40 * size - np.abs(x)) * pixels / 2 + 0.5, 0, 1)
        mix(inside, tongue, tongue_cover)
        arch = 1 - (x / (0.62 * size)) ** 2
        ivory = np.asarray(face.teeth) * np.clip(0.35 + 0.68 * arch, 0.2, 1)[..., None]
        gaps = 1 - 0.22 * np.exp(-((np.sin(np.pi * x / (0.105 * size)) / 0.22) ** 2))
        low_edge = mouth.lower_teeth + 0.012 * size * (1 - arch) * 4
        low = np.clip((y - low_edge) * pixels + 0.5, 0, 1) * (np.abs(x) < 0.4 * size)
        mix(inside, ivory * (0.8 * gaps)[..., None], low)
        high_edge = mouth.upper_teeth - 0.03 * size * (1 - arch)
        high = np.clip((high_edge - y) * pixels + 0.5, 0, 1) * (np.abs(x) < 0.44 * size)
        mix(inside, ivory * gaps[..., None], high)
        if mouth.tongue > 1:  # the tip between the teeth
            tip = np.exp(-((x / (0.22 * size)) ** 4)) * min((mouth.tongue - 1) * 8, 1.0)
            tip_cover = np.clip((y - mouth.upper_teeth + 0.02 * size) * pixels + 0.5, 0, 1) * tip
            mix(inside, np.array([205.0, 105, 102]), tip_cover)
        # The lips throw a shadow inwards.
        shadow = 0.6 + 0.4 * np.clip((y - inner_top) / (0.06 * size), 0, 1)
        shadow *= 0.75 + 0.25 * np.clip((inner_bottom - y) / (0.04 * size), 0, 1)
        mix(image, inside * shadow[..., None], hole)


def _window(
    placement: Float[np.ndarray, "2 3"],
    box: tuple[float, float, float, float],
    size: tuple[int, int],
) -> tuple[slice, slice]:
    """Returns the rows and columns of pixels that hold a box of face coordinates."""
    x0, y0, x1, y1 = box
    corners = np.array([(x0, y0), (x1, y0), (x0, y1), (x1, y1)])
    moved = corners @ placement[:, :2].T + placement[:, 2]
    low = np.maximum(np.floor(moved.min(axis=0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(moved.max(axis=0)).astype(int) + 2, size)
    return slice(low[1], max(high[1], low[1])), slice(low[0], max(high[0], low[0]))
