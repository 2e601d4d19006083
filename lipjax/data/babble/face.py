# SPDX-License-Identifier: Apache-2.0
"""What a babble face looks like: its measures, its colours and the lines it is drawn along.

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
        # The three channels mostly go up and down together, or hair turns green.
        change = rng.normal(0, spread) + rng.normal(0, spread / 4, 3)
        r, g, b = np.clip(np.asarray(colour) + change, 4, 252)
        return float(r), float(g), float(b)

    def muted(low: float, high: float) -> tuple[float, float, float]:
        colour = rng.uniform(low, high, 3)
        r, g, b = 0.55 * colour + 0.45 * colour.mean()
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
        background=muted(60.0, 190.0),
        clothes=muted(30.0, 200.0),
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
