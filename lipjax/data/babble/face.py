# SPDX-License-Identifier: Apache-2.0
"""What a babble face looks like and where its 68 landmarks are.

Face coordinates: the origin lies between the eyes, x to the right and y down; cheeks are at
x = -1 and 1. The drawing and the landmarks come from the same curves.
"""

import dataclasses

import numpy as np
from jaxtyping import Float

MOUTH_Y = 0.66
"""Height of the line where closed lips meet."""
JAW_TOP = -0.15
EYE_X = 0.42

_HAIR = ((38, 28, 22), (78, 52, 34), (128, 90, 52), (188, 150, 92), (110, 48, 26), (150, 148, 146))
_SKIN = ((250, 218, 196), (236, 192, 160), (216, 166, 128), (176, 122, 86), (128, 84, 58))
_EYES = ((74, 50, 30), (60, 92, 130), (70, 104, 66), (104, 78, 44), (90, 104, 112))


@dataclasses.dataclass(frozen=True)
class Face:
    """Shape and colours of one face; lengths in face units or in mouth widths where said.

    Attributes:
        mouth_width: width of the mouth at rest.
        upper_lip: height of the upper lip, in mouth widths.
        lower_lip: height of the lower lip, in mouth widths.
        bow: depth of the cupid's bow, 0 to 1.
        corners: height of the mouth's corners under its middle, in mouth widths.
        rest: inner opening of the resting mouth, in mouth widths.
        effort: how far this person opens the mouth; 1 is usual.
        teeth_edge: where the upper teeth end under the mouth's line, in mouth widths.
        chin: y of the chin while the jaw is closed.
        jaw_power: squareness of the jaw.
        eye_open: height of the eyes.
        brow: height of the brows over the eyes.
        nose: half width of the nose.
        skin, lips, hair, eyes, teeth, background, clothes: colours, RGB 0 to 255.
        beard: density, 0 for none.
        moustache: density, 0 for none.
        hair_style: 0 short, 1 long, 2 bald.
        light: direction towards the light, unit vector (x, y, z).
        ambient: share of light without direction.
        texture: seed of skin and hair patterns.
    """

    mouth_width: float
    upper_lip: float
    lower_lip: float
    bow: float
    corners: float
    rest: float
    effort: float
    teeth_edge: float
    chin: float
    jaw_power: float
    eye_open: float
    brow: float
    nose: float
    skin: tuple[float, float, float]
    lips: tuple[float, float, float]
    hair: tuple[float, float, float]
    eyes: tuple[float, float, float]
    teeth: tuple[float, float, float]
    background: tuple[float, float, float]
    clothes: tuple[float, float, float]
    beard: float
    moustache: float
    hair_style: int
    light: tuple[float, float, float]
    ambient: float
    texture: int


def draw_face(rng: np.random.Generator, *, female: bool) -> Face:
    """Draws a face from a random generator.

    Args:
        rng: source of the draws.
        female: no beard, more often long hair and coloured lips.

    Returns:
        The face.
    """

    def near(colour: tuple[float | int, ...], spread: float) -> tuple[float, float, float]:
        r, g, b = np.clip(np.asarray(colour) + rng.normal(0, spread, 3), 4, 252)
        return float(r), float(g), float(b)

    def uniform(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    skin = near(_SKIN[rng.integers(len(_SKIN))], 6.0)
    hair = near(_HAIR[rng.integers(len(_HAIR))], 8.0)
    tint = np.array((196, 84, 84)) if female else np.array((184, 104, 94))
    share = uniform(0.5, 0.8) if female else uniform(0.4, 0.6)
    warmth = 0.35 + 0.65 * skin[1] / 200
    lips = near(tuple(share * warmth * tint + (1 - share) * np.asarray(skin)), 5.0)
    beard = 0.0 if female or rng.random() < 0.5 else uniform(0.35, 0.9)
    light = np.array([uniform(-0.7, 0.7), uniform(-0.7, -0.15), 1.0])
    light /= np.linalg.norm(light)
    style = int(rng.choice(3, p=(0.3, 0.7, 0.0) if female else (0.65, 0.15, 0.2)))
    return Face(
        mouth_width=uniform(0.70, 0.86),
        upper_lip=uniform(0.11, 0.17),
        lower_lip=uniform(0.15, 0.22),
        bow=uniform(0.1, 0.6),
        corners=uniform(-0.035, 0.03),
        rest=float(rng.choice((0.0, 0.0, 0.012, 0.025))),
        effort=uniform(0.95, 1.3),
        teeth_edge=uniform(0.005, 0.035),
        chin=uniform(1.18, 1.32),
        jaw_power=uniform(2.0, 2.9),
        eye_open=uniform(0.085, 0.12),
        brow=uniform(0.2, 0.26),
        nose=uniform(0.17, 0.23),
        skin=skin,
        lips=lips,
        hair=hair,
        eyes=near(_EYES[rng.integers(len(_EYES))], 6.0),
        teeth=near((236, 230, 214), 5.0),
        background=near(tuple(rng.uniform(50, 190, 3)), 1.0),
        clothes=near(tuple(rng.uniform(30, 200, 3)), 1.0),
        beard=beard,
        moustache=beard * (uniform(0.6, 1.0) if rng.random() < 0.8 else 0.0),
        hair_style=style,
        light=(float(light[0]), float(light[1]), float(light[2])),
        ambient=uniform(0.5, 0.7),
        texture=int(rng.integers(2**31)),
    )


def outline(face: Face, y: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """Returns the face's half width at heights y while the jaw is closed; 0 outside the face."""
    low = np.clip((y - JAW_TOP) / (face.chin - JAW_TOP), 0, 1)
    high = np.clip((JAW_TOP - y) / (1.25 + JAW_TOP), 0, 1)
    lower = np.maximum(1 - low**face.jaw_power, 0) ** (1 / 1.9)
    upper = np.sqrt(np.maximum(1 - high**2.2, 0))
    return np.where(y > JAW_TOP, lower, upper)


def jaw_shift(face: Face, y: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """Returns how much of the jaw's drop a place at height y takes part in, 0 to 1.

    The skin stretches from the mouth to the chin and comes to rest on the neck.
    """
    rise = np.clip((y - (MOUTH_Y - 0.25)) / (face.chin - 0.1 - (MOUTH_Y - 0.25)), 0, 1)
    fall = np.clip((y - face.chin - 0.3) / 0.9, 0, 1)
    return rise * rise * (3 - 2 * rise) * (1 - fall * fall * (3 - 2 * fall))


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
    y = JAW_TOP - 0.1 + (face.chin - JAW_TOP + 0.1) * np.sin(np.linspace(0, np.pi / 2, 9))
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


EYE_HALF = 0.19
"""Half width of an eye."""


def brow_line(face: Face, s: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """Returns the height of the left brow; s runs from its outer end (-1) to its inner (1)."""
    return -face.brow - 0.05 * (1 - (s - 0.1) ** 2)


def eyelids(
    face: Face, u: Float[np.ndarray, "*n"], blink: float
) -> tuple[Float[np.ndarray, "*n"], Float[np.ndarray, "*n"]]:
    """Returns heights of upper and lower lid over u, -1 to 1 across the eye."""
    bulge = np.maximum(1 - u * u, 0)
    bottom = 0.4 * face.eye_open * bulge
    top = -face.eye_open * bulge**0.7
    return top + blink * (0.9 * bottom - top), bottom


def _on(
    mouth: MouthCurves, x: Float[np.ndarray, "k"], curve: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "k 2"]:
    return np.stack([x, np.interp(x, mouth.x, curve)], axis=1)
