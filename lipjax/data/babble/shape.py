# SPDX-License-Identifier: Apache-2.0
"""The moving mouth as curves, and the 68 landmarks of the face around it."""

import dataclasses

import numpy as np
from jaxtyping import Float

from lipjax.data.babble.face import (
    EYE_HALF,
    EYE_X,
    JAW_TOP,
    MOUTH_Y,
    Face,
    brow_line,
    eyelids,
    jaw_shift,
    outline,
)


@dataclasses.dataclass(frozen=True)
class MouthCurves:
    """The mouth of one frame as curves over x, all in face coordinates.

    Attributes:
        x: places across the mouth, from corner to corner.
        outer_top, inner_top, inner_bottom, outer_bottom: heights of the lips' borders.
        half_width: of the outer lips.
        upper_teeth: height of the edge of the upper teeth.
        lower_teeth: height of the edge of the lower teeth.
        tongue: 0 low in the mouth, 1 at the upper teeth, above 1 between the teeth.
        protrude: 0 to 1.
        jaw_drop: of the chin.
    """

    x: Float[np.ndarray, "n"]
    outer_top: Float[np.ndarray, "n"]
    inner_top: Float[np.ndarray, "n"]
    inner_bottom: Float[np.ndarray, "n"]
    outer_bottom: Float[np.ndarray, "n"]
    half_width: float
    upper_teeth: float
    lower_teeth: float
    tongue: float
    protrude: float
    jaw_drop: float


def mouth_curves(face: Face, controls: Float[np.ndarray, "7"]) -> MouthCurves:
    """Shapes the mouth from the controls of `visemes.mouth_motion`.

    Args:
        face: whose mouth.
        controls: aperture, jaw, spread, protrude, tongue, tuck, press.

    Returns:
        The curves, sampled densely enough for drawing.
    """
    aperture, jaw, spread, protrude, tongue, tuck, press = (float(c) for c in controls)
    size = face.mouth_width
    half = 0.5 * size * (1 + 0.15 * spread - 0.3 * protrude + 0.02 * press - 0.1 * aperture)
    drop = jaw * size
    share = 0.32 + 0.06 * spread + 0.35 * tuck  # of the opening that the upper lip makes
    top = MOUTH_Y - share * aperture * size
    bottom = MOUTH_Y + (1 - share) * aperture * size
    corner = MOUTH_Y + face.corners * size - 0.03 * spread * size + 0.3 * (bottom - MOUTH_Y)
    # Denser towards the corners, where the curves are steep.
    u = np.sin(np.linspace(-np.pi / 2, np.pi / 2, 129))
    x = half * u
    line = MOUTH_Y + (corner - MOUTH_Y) * u * u
    inner = np.maximum(1 - (u / 0.88) ** 2, 0) ** (0.75 - 0.2 * protrude)
    inner_top = line - (MOUTH_Y - top) * inner
    inner_bottom = line + (bottom - MOUTH_Y) * inner
    bulge = np.maximum(1 - u * u, 0)
    stretch = 1 - 0.3 * press - 0.12 * spread - 0.3 * aperture + 0.12 * protrude
    bow = 1 + face.bow * (
        0.5 * np.exp(-(((np.abs(u) - 0.27) / 0.17) ** 2)) - 0.45 * np.exp(-((u / 0.13) ** 2))
    )
    upper = face.upper_lip * size * stretch * bulge**0.8 * bow
    lower = face.lower_lip * size * stretch * (1 - 0.45 * tuck) * bulge**0.65
    teeth = MOUTH_Y + face.teeth_edge * size
    return MouthCurves(
        x=x,
        outer_top=inner_top - upper,
        inner_top=inner_top,
        inner_bottom=inner_bottom,
        outer_bottom=inner_bottom + lower,
        half_width=half,
        upper_teeth=teeth,
        lower_teeth=teeth + 0.008 * size + 0.9 * drop,
        tongue=tongue,
        protrude=protrude,
        jaw_drop=drop,
    )


def landmarks(face: Face, mouth: MouthCurves, *, blink: float) -> Float[np.ndarray, "68 2"]:
    """Returns the 68 iBUG points of a face in face coordinates.

    Args:
        face: whose.
        mouth: its mouth in this frame.
        blink: how far the eyes are closed, 0 to 1.

    Returns:
        (x, y) in iBUG order; 48 to 59 follow the outer lips and 60 to 67 the inner ones.
    """
    points = np.zeros((68, 2))
    y = JAW_TOP + (face.chin - JAW_TOP) * np.sin(np.linspace(0, np.pi / 2, 9))
    x = outline(face, y)
    x[8] = 0.0
    moved = y
    for _ in range(8):  # where the jaw's drop takes each point of the outline
        moved = y + mouth.jaw_drop * jaw_shift(face, moved)
    points[:9] = np.stack([-x, moved], axis=1)
    points[8:17] = np.stack([x, moved], axis=1)[::-1]
    s = np.linspace(-1, 1, 5)
    arch = brow_line(face, s)
    points[17:22] = np.stack([-EYE_X + 0.27 * s, arch], axis=1)
    points[22:27] = np.stack([EYE_X + 0.27 * s, arch[::-1]], axis=1)
    points[27:31] = np.stack([np.zeros(4), np.linspace(-0.02, 0.3, 4)], axis=1)
    width = face.nose * np.array([-0.9, -0.45, 0.0, 0.45, 0.9])
    points[31:36] = np.stack([width, 0.37 + 0.04 * (1 - (width / face.nose) ** 2)], axis=1)
    u = np.array([-1.0, -0.38, 0.38, 1.0, 0.38, -0.38])
    for first, centre in ((36, -EYE_X), (42, EYE_X)):
        top, bottom = eyelids(face, u, blink)
        lid = np.where(np.arange(6) < 4, top, bottom)
        points[first : first + 6] = np.stack([centre + EYE_HALF * u, lid], axis=1)
    across = mouth.half_width * np.array([-1.0, -0.62, -0.24, 0.0, 0.24, 0.62, 1.0])
    points[48:55] = _on(mouth, across, mouth.outer_top)
    points[55:60] = _on(mouth, across[5:0:-1], mouth.outer_bottom)
    inside = mouth.half_width * np.array([-0.86, -0.3, 0.0, 0.3, 0.86])
    points[60:65] = _on(mouth, inside, mouth.inner_top)
    points[65:68] = _on(mouth, inside[3:0:-1], mouth.inner_bottom)
    return points


def _on(
    mouth: MouthCurves, x: Float[np.ndarray, "k"], curve: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "k 2"]:
    return np.stack([x, np.interp(x, mouth.x, curve)], axis=1)
