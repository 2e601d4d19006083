# SPDX-License-Identifier: Apache-2.0
"""From phones to the motion of the mouth: viseme targets blended by co-articulation.

Every phone pulls each control towards its target with a weight that falls off with the distance
in time (dominance functions; Cohen & Massaro, "Modeling coarticulation in synthetic visual
speech", 1993). Closures of the lips are laid over the blend, for no neighbour may open them.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from lipjax.data.schema import Span

CONTROLS = ("aperture", "jaw", "spread", "protrude", "tongue", "tuck", "press")
"""Columns of `mouth_motion`: inner opening and jaw drop in mouth widths; the others 0 to 1."""

_STEP = 1 / 400
_BILABIAL = ("p", "b", "m")
_LABIODENTAL = ("f", "v", "ɱ")
_TUCKED_APERTURE = 0.075
_LEAD = 0.02  # seconds by which lips are ahead of the sound
_HALF_HOLD = 0.023  # seconds; a little over half a frame at 25 per second


@dataclasses.dataclass(frozen=True)
class _Viseme:
    """Targets of the blended controls, and how strongly the phone insists on them."""

    aperture: float
    jaw: float
    spread: float = 0.0
    protrude: float = 0.0
    tongue: float = 0.3
    lips: float = 1.0  # dominance over aperture and jaw
    shape: float = 1.0  # dominance over spread and protrude


_VISEMES = {
    "ɑ": _Viseme(0.40, 0.29, tongue=0.1),
    "a": _Viseme(0.36, 0.25, 0.2, tongue=0.1),
    "æ": _Viseme(0.34, 0.22, 0.4, tongue=0.2),
    "ɒ": _Viseme(0.36, 0.24, protrude=0.35, tongue=0.1),
    "ʌ": _Viseme(0.25, 0.17, tongue=0.2, shape=0.6),
    "ɐ": _Viseme(0.22, 0.15, tongue=0.2, shape=0.6),
    "ə": _Viseme(0.14, 0.10, tongue=0.3, lips=0.6, shape=0.4),
    "ɚ": _Viseme(0.14, 0.09, protrude=0.4, tongue=0.4),
    "ɜ": _Viseme(0.15, 0.10, protrude=0.45, tongue=0.4),
    "ɛ": _Viseme(0.24, 0.14, 0.35, tongue=0.35),
    "e": _Viseme(0.21, 0.11, 0.5, tongue=0.45),
    "ɪ": _Viseme(0.15, 0.07, 0.4, tongue=0.5),
    "ᵻ": _Viseme(0.14, 0.07, 0.3, tongue=0.5, lips=0.7),
    "i": _Viseme(0.13, 0.05, 0.8, tongue=0.6),
    "ʊ": _Viseme(0.12, 0.07, protrude=0.65, tongue=0.2),
    "u": _Viseme(0.085, 0.05, protrude=1.0, tongue=0.2),
    "o": _Viseme(0.22, 0.14, protrude=0.7, tongue=0.15),
    "ɔ": _Viseme(0.31, 0.21, protrude=0.55, tongue=0.1),
    "s": _Viseme(0.10, 0.015, 0.35, tongue=0.6, lips=1.6, shape=0.7),
    "ʃ": _Viseme(0.14, 0.02, protrude=0.7, tongue=0.5, lips=1.6, shape=1.4),
    "t": _Viseme(0.12, 0.04, 0.15, tongue=0.95, lips=0.8, shape=0.3),
    "l": _Viseme(0.20, 0.12, 0.1, tongue=1.0, lips=0.7, shape=0.3),
    "θ": _Viseme(0.16, 0.08, 0.15, tongue=1.2, lips=1.4, shape=0.4),
    "k": _Viseme(0.15, 0.08, tongue=0.25, lips=0.5, shape=0.15),
    "h": _Viseme(0.18, 0.10, tongue=0.2, lips=0.15, shape=0.05),
    "ɹ": _Viseme(0.11, 0.06, protrude=0.55, tongue=0.45, lips=1.0),
    "w": _Viseme(0.055, 0.05, protrude=1.0, tongue=0.2, lips=1.5, shape=1.6),
    "j": _Viseme(0.11, 0.05, 0.55, tongue=0.6, lips=0.8),
    "p": _Viseme(0.04, 0.04, tongue=0.2, lips=0.8, shape=0.2),
    "f": _Viseme(_TUCKED_APERTURE, 0.03, 0.15, tongue=0.2, lips=1.2, shape=0.3),
}
_SAME = {
    **dict.fromkeys(("z",), "s"),
    **dict.fromkeys(("ʒ",), "ʃ"),
    **dict.fromkeys(("d", "n", "ɾ", "ɬ"), "t"),
    **dict.fromkeys(("ɫ",), "l"),
    **dict.fromkeys(("ð",), "θ"),
    **dict.fromkeys(("ɡ", "g", "ŋ", "x", "ʔ"), "k"),
    **dict.fromkeys(("r",), "ɹ"),
    **dict.fromkeys(("b", "m"), "p"),
    **dict.fromkeys(("v", "ɱ"), "f"),
}
_MARKS = "ˈˌː:̩ʲ̃"


def symbols(phone: str) -> str:
    """Returns the plain sounds of an IPA phone of espeak-ng: "ˈaɪ" gives "aɪ", "mː" gives "m".

    Args:
        phone: IPA with stress and length marks.

    Returns:
        One character per sound, of those that have a viseme.
    """
    plain = [_SAME.get(c, c) for c in phone if c not in _MARKS]
    return "".join(c for c in plain if c in _VISEMES)


def mouth_motion(
    phones: Sequence[Span],
    times: Float[np.ndarray, "T"],
    *,
    rest: float = 0.0,
    effort: float = 1.0,
) -> Float[np.ndarray, "T 7"]:
    """Computes how the mouth moves while phones are spoken.

    Args:
        phones: spans of kind "phone" in order; wherever there is none, the mouth rests.
        times: when to look, seconds on the clock of the spans, evenly spaced or not.
        rest: inner opening at rest, in mouth widths.
        effort: how far the speaker opens the mouth; 1 is usual.

    Returns:
        One row per time, columns as `CONTROLS`.
    """
    if not len(times):
        return np.zeros((0, len(CONTROLS)))
    clock = np.arange(min(times) - 0.1, max(times) + 0.1, _STEP)
    segments = _segments(phones, clock[0], clock[-1])
    total = np.zeros((len(clock), 5))
    weight = np.zeros((len(clock), 5))
    for start, end, viseme, stress in segments:
        if viseme is None:
            viseme, reach = _Viseme(rest, 0.0, tongue=0.2, lips=1.0, shape=0.6), 0.05
        else:
            reach = 0.035
        centre, half = (start + end) / 2 - _LEAD, 0.3 * (end - start)
        distance = np.maximum(np.abs(clock - centre) - half, 0.0)
        lips = viseme.lips * np.exp(-distance / reach)
        shape = viseme.shape * np.exp(-distance / (1.8 * reach))
        dominance = np.stack([lips, lips, shape, shape, np.exp(-distance / 0.03)], axis=1) + 1e-9
        gain = effort * stress if viseme.aperture > 0.05 else 1.0
        target = np.array(
            [
                viseme.aperture * gain,
                viseme.jaw * gain,
                viseme.spread,
                viseme.protrude,
                viseme.tongue,
            ]
        )
        total += dominance * target
        weight += dominance
    blend = total / weight
    kernel = np.exp(-0.5 * (np.arange(-16, 17) * _STEP / 0.012) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(blend, ((16, 16), (0, 0)), mode="edge")
    blend = np.stack([np.convolve(column, kernel, "valid") for column in padded.T], axis=1)
    tuck, press = _contact(phones, clock)
    opening = blend[:, 0] * (1 - tuck) + _TUCKED_APERTURE * tuck
    blend[:, 0] = opening * (1 - press)
    blend[:, 1] *= 1 - 0.6 * np.maximum(press, tuck)
    motion = np.concatenate([blend, tuck[:, None], press[:, None]], axis=1)
    return np.stack([np.interp(times, clock, column) for column in motion.T], axis=1)


def _segments(
    phones: Sequence[Span], begin: float, end: float
) -> list[tuple[float, float, _Viseme | None, float]]:
    """Cuts time into visemes; a diphthong is two, a gap is rest (None)."""
    segments: list[tuple[float, float, _Viseme | None, float]] = []
    now = begin
    for phone in phones:
        if phone.start > now + 1e-6:
            segments.append((now, phone.start, None, 1.0))
        sounds = symbols(phone.text) or "ə"
        stress = 1.08 if "ˈ" in phone.text else 0.9
        edges = np.linspace(phone.start, phone.end, len(sounds) + 1)
        for sound, a, b in zip(sounds, edges[:-1], edges[1:], strict=True):
            segments.append((float(a), float(b), _VISEMES[sound], stress))
        now = phone.end
    if end > now:
        segments.append((now, end, None, 1.0))
    return segments


def _contact(
    phones: Sequence[Span], clock: Float[np.ndarray, "n"]
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """Returns how far the lower lip touches the teeth, and the lips each other, 0 to 1."""
    tuck, press = np.zeros_like(clock), np.zeros_like(clock)
    for phone in phones:
        plain = phone.text.strip(_MARKS)
        length = phone.end - phone.start
        if plain in _BILABIAL:
            # The burst and the breath after it belong to the phone; the lips are apart by then.
            hold, into = (0.72 if plain == "m" else 0.66), press
        elif plain in _LABIODENTAL:
            hold, into = 0.8, tuck
        else:
            continue
        # Some of espeak-ng's closures are shorter than a frame: hold at least the frame that is
        # nearest to the middle.
        middle = (phone.start + phone.end) / 2
        first = min(phone.start, middle - _HALF_HOLD)
        last = max(phone.start + hold * length, middle + _HALF_HOLD)
        outside = np.maximum(np.maximum(first - clock, clock - last), 0.0)
        ramp = 0.5 + 0.5 * np.cos(np.pi * np.minimum(outside / 0.055, 1.0))
        np.maximum(into, ramp, out=into)
    return tuck, press
