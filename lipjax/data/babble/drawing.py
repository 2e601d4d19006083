# SPDX-License-Identifier: Apache-2.0
"""Draws babble faces: a head painted once, then mouth and eyes shaded anew in every frame."""

import numpy as np
from jaxtyping import Float, UInt8

from lipjax.data.babble.face import (
    EYE_HALF,
    EYE_X,
    MOUTH_Y,
    Face,
    MouthCurves,
    brow_line,
    eyelids,
    jaw_shift,
    outline,
)

_LAYER = 2  # pixels of the head's painting per pixel of the video
_LEFT, _TOP, _RIGHT, _BOTTOM = -2.4, -2.1, 2.4, 2.6  # of the painting, face units


def _cover(
    y: Float[np.ndarray, "*g"],
    top: Float[np.ndarray, "*g"],
    bottom: Float[np.ndarray, "*g"],
    pixels: float | Float[np.ndarray, "*g"],
) -> Float[np.ndarray, "*g"]:
    """Returns how much of each pixel lies between two heights, 0 to 1."""
    return np.clip((y - top) * pixels + 0.5, 0, 1) * np.clip((bottom - y) * pixels + 0.5, 0, 1)


def _noise(
    rng: np.random.Generator, shape: tuple[int, int], sigma: float
) -> Float[np.ndarray, "h w"]:
    """Smooth noise of unit deviation."""
    import cv2

    noise = cv2.GaussianBlur(rng.standard_normal(shape).astype(np.float32), (0, 0), sigma)
    return noise / max(float(noise.std()), 1e-6)


def _mix(
    image: Float[np.ndarray, "h w 3"],
    colour: Float[np.ndarray, "*c 3"],
    alpha: Float[np.ndarray, "h w"],
) -> None:
    """Lays a colour over an image in place."""
    image += alpha[..., None] * (colour - image)


class Painter:
    """Draws the frames of one face.

    Args:
        face: who.
        size: width and height of the video, pixels.
        unit: pixels per face unit.
    """

    def __init__(self, face: Face, *, size: tuple[int, int], unit: float) -> None:
        self.face, self.size, self.unit = face, size, unit
        self._rng = np.random.default_rng(face.texture)
        self._background = self._paint_background()
        self._head = self._paint_head()
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
        grid = self.unit * _LAYER
        source = y - np.float32(mouth.jaw_drop) * jaw_shift(self.face, y).astype(np.float32)
        head = cv2.remap(
            self._head,
            (x - _LEFT) * grid - 0.5,
            (source - _TOP) * grid - 0.5,
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

    def _paint_background(self) -> Float[np.ndarray, "h w 3"]:
        width, height = self.size
        y, x = np.mgrid[:height, :width] / max(width, height)
        light = 1.1 - 0.35 * y + 0.15 * self.face.light[0] * (x - 0.5)
        light = light + 0.05 * _noise(self._rng, (height, width), width / 9)
        return (np.asarray(self.face.background) * light[..., None]).astype(np.float32)

    def _shade(self, nx: np.ndarray, ny: np.ndarray) -> np.ndarray:
        """Brightness of skin whose normal leans by (nx, ny)."""
        nz = np.sqrt(np.maximum(1 - nx * nx - ny * ny, 0.04))
        lx, ly, lz = self.face.light
        lambert = np.maximum(lx * nx + ly * ny + lz * nz, 0)
        return self.face.ambient + (1.0 - self.face.ambient) * lambert

    def _paint_head(self) -> UInt8[np.ndarray, "h w 4"]:
        """Paints head, hair, neck and shoulders without mouth and eyes; premultiplied alpha."""
        face, rng = self.face, self._rng
        grid = self.unit * _LAYER
        height, width = round((_BOTTOM - _TOP) * grid), round((_RIGHT - _LEFT) * grid)
        y, x = np.mgrid[:height, :width]
        x, y = _LEFT + (x + 0.5) / grid, _TOP + (y + 0.5) / grid
        skin, hair = np.asarray(face.skin), np.asarray(face.hair)
        image, alpha = np.zeros((height, width, 3)), np.zeros((height, width))
        strands = _noise(rng, (height, width), 1.2)
        strands = 0.6 * strands + 0.5 * _noise(rng, (height, width), 4.0)

        def lay(colour: np.ndarray, cover: np.ndarray) -> None:
            _mix(image, colour, cover)
            np.maximum(alpha, cover, out=alpha)

        def disc(cx: float, cy: float, rx: float, ry: float, power: float = 2.0) -> np.ndarray:
            r = (np.abs((x - cx) / rx) ** power + np.abs((y - cy) / ry) ** power) ** (1 / power)
            return np.clip((1 - r) * min(rx, ry) * grid / 1.5 + 0.5, 0, 1)

        shine = hair * (0.85 + 0.12 * strands - 0.12 * y + 0.25 * face.light[0] * x)[..., None]
        if face.hair_style == 1:
            lay(shine * 0.8, disc(0.0, 0.15, 1.3, 1.5, 2.8))
        shoulders = np.clip((y - 1.58 - 0.3 * x * x) * grid / 1.5 + 0.5, 0, 1)
        neck = np.clip((0.58 + 0.12 * np.clip(y - 1.2, 0, 2) - np.abs(x)) * grid / 1.5, 0, 1)
        neck *= np.clip((y - 0.5) * grid, 0, 1)
        shadow = 0.62 + 0.3 * np.clip((y - face.chin - 0.05) / 0.7, 0, 1)
        lay(skin * (shadow * self._shade(0.9 * x, 0.1 * y))[..., None], neck)
        folds = 0.9 + 0.04 * _noise(rng, (height, width), 0.12 * grid) + 0.1 * face.light[0] * x
        collar = np.clip(shoulders - disc(0.0, 1.5, 0.62, 0.32), 0, 1)
        lay(np.asarray(face.clothes) * folds[..., None], collar)
        for side in (-1, 1):
            ear = disc(side * 1.02, 0.05, 0.14, 0.27)
            lay(skin * (0.82 + 0.1 * side * face.light[0]) * np.ones_like(image), ear)
        # The head itself.
        half = outline(face, y.ravel()).reshape(y.shape)
        slope = np.abs(np.gradient(half, 1 / grid, axis=0))
        inside = np.clip((half - np.abs(x)) * grid / np.sqrt(1 + np.minimum(slope, 40) ** 2), -9, 9)
        head = np.clip(inside / 1.2 + 0.5, 0, 1) * ((y < face.chin) & (y > -1.25))
        nx = 0.85 * x / np.maximum(half, 0.3)
        ny = np.where(y > 0, 0.55 * (y / face.chin) ** 2, -0.6 * (y / 1.25) ** 2)
        light = self._shade(np.clip(nx, -0.9, 0.9), ny)
        light = light * self._relief(x, y)
        light = light * (1 + 0.018 * _noise(rng, (height, width), 1.3 * _LAYER))
        tone = skin * light[..., None]
        for side in (-1, 1):  # warmer cheeks
            blush = 0.10 * np.exp(-(((x - side * 0.55) / 0.25) ** 2) - ((y - 0.32) / 0.2) ** 2)
            tone = tone * (1 - blush[..., None] * np.array([0.0, 0.7, 0.7]))
        lay(tone, head)
        stubble = np.clip(0.62 + 0.28 * strands, 0, 1)
        if face.beard:
            cheek = np.clip((y - 0.85 + 0.75 * np.abs(x)) * 4, 0, 1) * np.clip((y - 0.1) * 4, 0, 1)
            cheek *= np.clip(((x / 0.55) ** 2 + ((y - MOUTH_Y) / 0.27) ** 2 - 1) * 3, 0, 1)
            lay(shine * 0.8, head * cheek * stubble * face.beard)
        if face.moustache:
            lip = np.exp(-(((y - 0.5 - 0.12 * x * x) / 0.06) ** 4)) * (np.abs(x) < 0.5)
            lip *= np.clip((0.5 - np.abs(x)) * 8, 0, 1)
            lay(shine * 0.8, head * lip * stubble * face.moustache)
        for side in (-1, 1):
            s = (EYE_X - x * side) / 0.27
            line = brow_line(face, np.clip(s, -1.2, 1.2))
            thick = 0.035 * np.clip(1.25 - 0.3 * (s - 0.2) ** 2, 0, 1) * (np.abs(s) < 1.1)
            brow = _cover(y, line - thick, line + thick, grid / 3) * (np.abs(s) < 1.1)
            lay(hair * 0.75 * np.ones_like(image), head * brow * (0.75 + 0.2 * stubble))
        if face.hair_style < 2:
            cap = disc(0.0, -0.35, 1.07, 1.03, 2.2)
            hairline = -0.72 + 0.5 * np.abs(x) ** 3 + 0.06 * np.sin(5 * x + face.texture % 7)
            cut = np.clip((hairline - y) * grid / 5 + 0.5, 0, 1)
            lay(shine, cap * cut)
        premultiplied = np.concatenate([image * alpha[..., None], 255 * alpha[..., None]], axis=2)
        return np.clip(premultiplied + 0.5, 0, 255).astype(np.uint8)

    def _relief(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Brightness of nose, eye sockets, folds and chin, about 1."""
        face = self.face
        side = 1.0 if face.light[0] >= 0 else -1.0
        n = face.nose

        def spot(cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
            return np.exp(-(((x - cx) / rx) ** 2) - ((y - cy) / ry) ** 2)

        light = np.ones_like(x)
        bridge = np.clip((y + 0.25) / 0.2, 0, 1) * np.clip((0.42 - y) / 0.1, 0, 1)
        light += 0.10 * bridge * np.exp(-((x / 0.06) ** 2))
        light -= 0.16 * bridge * np.exp(-(((x + side * 0.15) / 0.07) ** 2))
        light += 0.10 * spot(0.0, 0.3, 0.09, 0.08)
        light -= 0.20 * spot(0.0, 0.44, n * 1.0, 0.045)
        for s in (-1, 1):
            light -= 0.5 * spot(s * n * 0.45, 0.385, 0.05, 0.025)
            light -= 0.16 * spot(s * n * 1.05, 0.34, 0.03, 0.08)
            light -= 0.20 * spot(s * EYE_X * 0.9, -0.1, 0.26, 0.1)
            light -= 0.10 * spot(s * EYE_X, 0.13, 0.22, 0.05)
            fold = s * (0.3 + 0.42 * (y - 0.35))
            along = np.clip((y - 0.36) / 0.1, 0, 1) * np.clip((0.85 - y) / 0.25, 0, 1)
            light -= 0.10 * along * np.exp(-(((x - fold) / 0.04) ** 2))
        light += 0.05 * spot(0.0, face.chin - 0.16, 0.2, 0.1)
        light -= 0.06 * spot(0.0, 0.5, 0.04, 0.08)
        return light

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
        open_eye = _cover(y, top, bottom, pixels) * across
        white = np.array([226.0, 222, 218]) * (0.95 - 0.35 * u * u)[..., None]
        white = white * np.clip(0.62 + (y - top) * 7, 0.5, 1)[..., None]
        _mix(image, white, open_eye)
        r = np.hypot(x, y + 0.02)
        iris = np.asarray(face.eyes) * (0.7 + 4.0 * r)[..., None]
        _mix(image, iris, open_eye * np.clip((0.088 - r) * pixels + 0.5, 0, 1))
        _mix(image, np.array([18.0, 14, 14]), open_eye * np.clip((0.042 - r) * pixels + 0.5, 0, 1))
        glint = np.hypot(x - 0.03 * np.sign(face.light[0]), y + 0.05)
        glint_cover = np.clip((0.018 - glint) * pixels + 0.5, 0, 1)
        _mix(image, np.array([250.0, 250, 250]), open_eye * glint_cover * 0.9)
        lash = np.exp(-(((y - top) / 0.016) ** 2)) * across
        _mix(image, np.array([32.0, 24, 22]), 0.85 * lash)
        _mix(
            image,
            np.asarray(face.skin) * 0.6,
            0.4 * np.exp(-(((y - bottom) / 0.014) ** 2)) * across,
        )
        crease = np.exp(-(((y - top + 0.05 * (1 - blink)) / 0.014) ** 2)) * across
        _mix(image, np.asarray(face.skin) * 0.55, 0.4 * crease)

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
        brightness = self._shade(0.5 * u, np.full_like(u, 0.1))
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
        _mix(image, lips * upper[..., None], _cover(y, outer_top, inner_top, pixels) * across)
        depth = np.clip((y - inner_bottom) / np.maximum(outer_bottom - inner_bottom, 1e-4), 0, 1)
        lower = (0.86 + 0.30 * np.sin(np.pi * depth**0.8) - 0.16 * depth) * brightness * wrinkles
        gloss = np.exp(-(((depth - 0.38) / 0.2) ** 2) - ((u - 0.25 * face.light[0]) / 0.42) ** 2)
        tone = lips * lower[..., None] + (22 + 22 * mouth.protrude) * gloss[..., None]
        _mix(image, tone, _cover(y, inner_bottom, outer_bottom, pixels) * across)
        # Where the lips meet, a dark line stays.
        gap = inner_bottom - inner_top
        seam = np.exp(-(((y - (inner_top + inner_bottom) / 2) / (0.018 * size)) ** 2))
        seam *= np.clip(1 - gap / (0.03 * size), 0, 1) * across
        _mix(image, lips * 0.32, 0.75 * seam)

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
        hole = _cover(y, inner_top, inner_bottom, pixels) * across
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
        _mix(inside, tongue, tongue_cover)
        arch = 1 - (x / (0.62 * size)) ** 2
        ivory = np.asarray(face.teeth) * np.clip(0.35 + 0.68 * arch, 0.2, 1)[..., None]
        gaps = 1 - 0.22 * np.exp(-((np.sin(np.pi * x / (0.105 * size)) / 0.22) ** 2))
        low_edge = mouth.lower_teeth + 0.012 * size * (1 - arch) * 4
        low = np.clip((y - low_edge) * pixels + 0.5, 0, 1) * (np.abs(x) < 0.4 * size)
        _mix(inside, ivory * (0.8 * gaps)[..., None], low)
        high_edge = mouth.upper_teeth - 0.03 * size * (1 - arch)
        high = np.clip((high_edge - y) * pixels + 0.5, 0, 1) * (np.abs(x) < 0.44 * size)
        _mix(inside, ivory * gaps[..., None], high)
        if mouth.tongue > 1:  # the tip between the teeth
            tip = np.exp(-((x / (0.22 * size)) ** 4)) * min((mouth.tongue - 1) * 8, 1.0)
            tip_cover = np.clip((y - mouth.upper_teeth + 0.02 * size) * pixels + 0.5, 0, 1) * tip
            _mix(inside, np.array([205.0, 105, 102]), tip_cover)
        # The lips throw a shadow inwards.
        shadow = 0.6 + 0.4 * np.clip((y - inner_top) / (0.06 * size), 0, 1)
        shadow *= 0.75 + 0.25 * np.clip((inner_bottom - y) / (0.04 * size), 0, 1)
        _mix(image, inside * shadow[..., None], hole)


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
