# SPDX-License-Identifier: Apache-2.0
"""Augmentation of windows: the same change for all pictures and flow that come from one clip."""

import dataclasses

import numpy as np
from jaxtyping import Float32, Shaped, UInt8


def _mirror_order() -> np.ndarray:
    """The 68-point landmarks' order after a left-right flip."""
    order = np.arange(68)
    order[0:17] = np.arange(16, -1, -1)
    order[17:27] = np.arange(26, 16, -1)
    order[31:36] = np.arange(35, 30, -1)
    order[36:48] = [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
    order[48:60] = [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55]
    order[60:68] = [64, 63, 62, 61, 60, 67, 66, 65]
    return order


MIRRORED = _mirror_order()


@dataclasses.dataclass(frozen=True)
class Augment:
    """How strongly windows are changed; all zero changes nothing.

    Attributes:
        flip: share of clips that are mirrored left to right.
        brightness: largest relative change of brightness and of contrast, 0.1 = +-10 %.
        colour: largest relative change of each of red, green and blue: another light or camera.
        zoom: largest relative change of size about the crop's middle, edges repeated.
        shift: largest shift of the crop in parts of its side, whole pixels, edges repeated.
        blur: largest standard deviation of a Gaussian blur, in parts of the crop's side.
        hiss: standard deviation of the noise added to every value of log-mel features, whose
            range is about [-1, 1].
    """

    flip: float = 0.0
    brightness: float = 0.0
    colour: float = 0.0
    zoom: float = 0.0
    shift: float = 0.0
    blur: float = 0.0
    hiss: float = 0.0

    def draw(self, rng: np.random.Generator) -> "Change":
        """Draws the change of one clip's pictures."""
        mirrored = bool(rng.random() < self.flip)
        gain, bias = 1.0 + rng.uniform(-1, 1, 2) * self.brightness
        right, down = rng.uniform(-1, 1, 2) * self.shift
        red, green, blue = (float(change) for change in 1.0 + rng.uniform(-1, 1, 3) * self.colour)
        return Change(
            mirrored,
            float(gain),
            float(bias - 1.0) * 128.0,
            float(right),
            float(down),
            colour=(red, green, blue),
            zoom=float(1.0 + rng.uniform(-1, 1) * self.zoom),
            blur=float(rng.uniform(0, 1) * self.blur),
        )

    def sound(
        self, log_mel: Float32[np.ndarray, "C F"], rng: np.random.Generator
    ) -> Float32[np.ndarray, "C F"]:
        """Changes a sound feature."""
        if not self.hiss:
            return log_mel
        return log_mel + np.float32(self.hiss) * rng.standard_normal(log_mel.shape, np.float32)


@dataclasses.dataclass(frozen=True)
class Change:
    """One drawn change, applied alike to all pictures, flow and landmarks of a clip."""

    mirrored: bool
    gain: float
    bias: float
    right: float
    down: float
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0)
    zoom: float = 1.0
    blur: float = 0.0

    def _pixels(self, size: int) -> tuple[int, int]:
        return round(self.right * size), round(self.down * size)

    def _moved(self, maps: Shaped[np.ndarray, "T S S C"]) -> Shaped[np.ndarray, "T S S C"]:
        """Mirrors, zooms and shifts the pixels of maps, whatever they hold."""
        size = maps.shape[1]
        right, down = self._pixels(size)
        if self.mirrored:
            maps = maps[:, :, ::-1]
        if self.zoom != 1.0:
            import cv2

            middle = (size - 1) / 2 * (1 - self.zoom)
            matrix = np.array([[self.zoom, 0, middle + right], [0, self.zoom, middle + down]])
            return np.stack(
                [
                    cv2.warpAffine(
                        np.ascontiguousarray(one),
                        matrix,
                        (size, size),
                        flags=cv2.INTER_LINEAR,
                        borderMode=cv2.BORDER_REPLICATE,
                    )
                    for one in maps
                ]
            )
        if right or down:
            rows = np.clip(np.arange(size) - down, 0, size - 1)
            cols = np.clip(np.arange(size) - right, 0, size - 1)
            maps = maps[:, rows][:, :, cols]
        return maps

    def pictures(self, images: UInt8[np.ndarray, "T S S 3"]) -> UInt8[np.ndarray, "T S S 3"]:
        """Changes square crops."""
        images = self._moved(images)
        sigma = self.blur * images.shape[1]
        if sigma > 0.2:  # less is no blur at all: the neighbours' weight is below one level
            import cv2

            images = np.stack([cv2.GaussianBlur(image, (0, 0), sigma) for image in images])
        if self.gain != 1.0 or self.bias != 0.0 or self.colour != (1.0, 1.0, 1.0):
            levels = (np.arange(256.0) - 128.0) * self.gain + 128.0 + self.bias
            table = np.clip(np.round(levels[:, None] * self.colour), 0, 255).astype(np.uint8)
            images = table[images, np.arange(3)]
        return np.ascontiguousarray(images)

    def flow(self, flow: Float32[np.ndarray, "T S S 2"]) -> Float32[np.ndarray, "T S S 2"]:
        """Changes flow maps as `pictures` moves the pictures between which they lead."""
        flow = self._moved(flow)
        if self.mirrored:
            flow = flow * np.array([-1, 1], np.float32)
        return np.ascontiguousarray(flow * np.float32(self.zoom))

    def landmarks(
        self, points: Float32[np.ndarray, "T 68 2"], size: int
    ) -> Float32[np.ndarray, "T 68 2"]:
        """Changes landmarks, given in pixels of a crop with side `size`."""
        right, down = self._pixels(size)
        if self.mirrored:
            mirror, edge = np.array([[-1, 1], [size - 1, 0]], np.float32)
            points = points[:, MIRRORED] * mirror + edge
        if self.zoom != 1.0:  # else they stay as they are, to the bit
            middle = np.float32((size - 1) / 2)
            points = (points - middle) * np.float32(self.zoom) + middle
        return points + np.array([right, down], np.float32)
