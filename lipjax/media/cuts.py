# SPDX-License-Identifier: Apache-2.0
"""Shot cuts: where the picture of a video changes abruptly."""

import numpy as np
from jaxtyping import Float32, UInt8

CUT_CHANGE, CUT_SHADES = 10.0, 3.0
"""Mean change of a thumbnail's levels (0 to 255), in place and sorted, that a cut exceeds.

Between shots of different people before the same wall they are 12 and 4 or more; within
shots of a fixed camera 1 and 0.6 at most; a shaking camera reaches 29 and 2.3.
"""


class CutFinder:
    """Notices abrupt changes of the picture on thumbnails."""

    def __init__(self) -> None:
        self.before: np.ndarray | None = None
        self.left: np.ndarray | None = None
        self.usual = 0.0

    def __call__(self, image: UInt8[np.ndarray, "H W 3"]) -> tuple[bool, bool]:
        """Says whether this picture starts something new, and whether it is back at the old."""
        import cv2

        step = max(1, min(image.shape[:2]) // 128)
        small = cv2.resize(image[::step, ::step], (32, 32), interpolation=cv2.INTER_AREA)
        small = small.astype(np.float32)
        before, self.before = self.before, small
        if before is None:
            return False, False
        # Shaking moves what is in the picture, a cut also changes which levels there are.
        shades = float(np.mean(np.abs(_sorted_levels(small) - _sorted_levels(before))))
        moved = float(np.mean(np.abs(small - before)))
        if moved <= CUT_CHANGE or shades <= max(CUT_SHADES, 4 * self.usual):
            self.usual = 0.8 * self.usual + 0.2 * shades
            return False, False
        # A cut says nothing of how much moves within the shot that follows.
        self.usual = 0.0
        back = self.left is not None and float(np.mean(np.abs(small - self.left))) < CUT_CHANGE / 2
        self.left = before
        return True, back


def _sorted_levels(small: Float32[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h*w 3"]:
    return np.sort(small.reshape(-1, 3), axis=0)
