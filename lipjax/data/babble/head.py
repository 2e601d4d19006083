# SPDX-License-Identifier: Apache-2.0
"""Paints what does not change from frame to frame: background, head, hair, neck and clothes."""

import numpy as np
from jaxtyping import Float, UInt8

from lipjax.data.babble.face import EYE_X, MOUTH_Y, Face, brow_line, outline

LAYER = 2
"""Pixels of the head's painting per pixel of the video."""
LEFT, TOP, RIGHT, BOTTOM = -2.4, -2.1, 2.4, 2.6
"""Borders of the head's painting, face units."""


def cover_between(
    y: Float[np.ndarray, "*g"],
    top: Float[np.ndarray, "*g"],
    bottom: Float[np.ndarray, "*g"],
    pixels: float | Float[np.ndarray, "*g"],
) -> Float[np.ndarray, "*g"]:
    """Returns how much of each pixel lies between two heights, 0 to 1."""
    return np.clip((y - top) * pixels + 0.5, 0, 1) * np.clip((bottom - y) * pixels + 0.5, 0, 1)


def mix(
    image: Float[np.ndarray, "h w 3"],
    colour: Float[np.ndarray, "*c 3"],
    alpha: Float[np.ndarray, "h w"],
) -> None:
    """Lays a colour over an image in place."""
    image += alpha[..., None] * (colour - image)


def shade(face: Face, nx: np.ndarray, ny: np.ndarray) -> np.ndarray:
    """Brightness of skin whose normal leans by (nx, ny)."""
    nz = np.sqrt(np.maximum(1 - nx * nx - ny * ny, 0.04))
    lx, ly, lz = face.light
    lambert = np.maximum(lx * nx + ly * ny + lz * nz, 0)
    return face.ambient + (1.0 - face.ambient) * lambert


def paint_background(
    face: Face, size: tuple[int, int], rng: np.random.Generator
) -> Float[np.ndarray, "h w 3"]:
    """Paints what is behind the head: soft light and shadows, 0 to 255."""
    width, height = size
    y, x = np.mgrid[:height, :width] / max(width, height)
    light = 1.1 - 0.35 * y + 0.15 * face.light[0] * (x - 0.5)
    light = light + 0.05 * _noise(rng, (height, width), width / 9)
    return (np.asarray(face.background) * light[..., None]).astype(np.float32)


def paint_head(face: Face, unit: float, rng: np.random.Generator) -> UInt8[np.ndarray, "h w 4"]:
    """Paints head, hair, neck and shoulders without mouth and eyes; premultiplied alpha.

    The picture covers LEFT to RIGHT and TOP to BOTTOM with LAYER pixels per pixel of the video.
    """
    grid = unit * LAYER
    height, width = round((BOTTOM - TOP) * grid), round((RIGHT - LEFT) * grid)
    y, x = np.mgrid[:height, :width]
    x, y = LEFT + (x + 0.5) / grid, TOP + (y + 0.5) / grid
    skin, hair = np.asarray(face.skin), np.asarray(face.hair)
    image, alpha = np.zeros((height, width, 3)), np.zeros((height, width))
    strands = _noise(rng, (height, width), 1.2)
    strands = 0.6 * strands + 0.5 * _noise(rng, (height, width), 4.0)

    def lay(colour: np.ndarray, cover: np.ndarray) -> None:
        np.maximum(alpha, cover, out=alpha)
        mix(image, colour, cover / np.maximum(alpha, 1e-6))

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
    lay(skin * (shadow * shade(face, 0.9 * x, 0.1 * y))[..., None], neck)
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
    light = shade(face, np.clip(nx, -0.9, 0.9), ny)
    light = light * _relief(face, x, y)
    light = light * (1 + 0.018 * _noise(rng, (height, width), 1.3 * LAYER))
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
        brow = cover_between(y, line - thick, line + thick, grid / 3) * (np.abs(s) < 1.1)
        lay(hair * 0.75 * np.ones_like(image), head * brow * (0.75 + 0.2 * stubble))
    if face.hair_style < 2:
        cap = disc(0.0, -0.35, 1.07, 1.03, 2.2)
        hairline = -0.72 + 0.5 * np.abs(x) ** 3 + 0.06 * np.sin(5 * x + face.texture % 7)
        cut = np.clip((hairline - y) * grid / 5 + 0.5, 0, 1)
        lay(shine, cap * cut)
    premultiplied = np.concatenate([image * alpha[..., None], 255 * alpha[..., None]], axis=2)
    return np.clip(premultiplied + 0.5, 0, 255).astype(np.uint8)


def _relief(face: Face, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Brightness of nose, eye sockets, folds and chin, about 1."""
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


def _noise(
    rng: np.random.Generator, shape: tuple[int, int], sigma: float
) -> Float[np.ndarray, "h w"]:
    """Smooth noise of unit deviation."""
    import cv2

    noise = cv2.GaussianBlur(rng.standard_normal(shape).astype(np.float32), (0, 0), sigma)
    return noise / max(float(noise.std()), 1e-6)
