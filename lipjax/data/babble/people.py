# SPDX-License-Identifier: Apache-2.0
"""The speakers of the built-in corpus and how they say a sentence: sound, mouth, eyes and head."""

import dataclasses

import numpy as np
from jaxtyping import Float, Float32, Int16

from lipjax.data.babble import speech
from lipjax.data.babble.face import Face, draw_face
from lipjax.data.babble.shape import landmarks, mouth_curves
from lipjax.data.babble.visemes import mouth_motion
from lipjax.data.schema import Span

FPS = 25.0
MIN_SECONDS, MAX_SECONDS = 2.0, 3.5
_LEAD, _TAIL = 0.24, 0.28  # silence before and after the speech, seconds
_ROOM_DB = -58.0  # noise of the room, dB of full scale
_ACCENTS = ("en-us", "en-us", "en-us", "en-gb-x-rp", "en-us-nyc")


@dataclasses.dataclass(frozen=True)
class Person:
    """A speaker of the corpus: name, face, voice and loudness (peak, 0 to 1)."""

    name: str
    face: Face
    voice: speech.Voice
    loudness: float
    seed: int


@dataclasses.dataclass(frozen=True)
class Performance:
    """One sentence as a person says it, before anything is drawn.

    Attributes:
        sentence: the words.
        samples: sound from the video's start, at `speech.RATE`.
        spans: words, then phones, in seconds from the video's start.
        motion: mouth controls at every frame's centre, columns as `visemes.CONTROLS`.
        blinks: how far the eyes are closed.
        head: where the head is: x, y in face units, angle in radians, relative size.
    """

    sentence: str
    samples: Int16[np.ndarray, "n"]
    spans: tuple[Span, ...]
    motion: Float[np.ndarray, "T 7"]
    blinks: Float[np.ndarray, "T"]
    head: Float[np.ndarray, "T 4"]


def make_person(index: int, seed: int) -> Person:
    """Draws speaker `index` of the corpus with this seed; women and men take turns."""
    rng = np.random.default_rng([seed, index])
    female = index % 2 == 0
    half = speech.VARIANTS[: speech.FEMALE] if female else speech.VARIANTS[speech.FEMALE :]
    # Every variant serves once before any comes back; pitch and rate tell the others apart.
    order = np.random.default_rng([seed, 77, int(female)]).permutation(len(half))
    voice = speech.Voice(
        variant=half[order[(index // 2) % len(half)]],
        language=str(rng.choice(_ACCENTS)),
        words_per_minute=int(rng.integers(135, 176)),
        pitch=int(rng.integers(35, 66)),
        range=int(rng.integers(35, 76)),
    )
    return Person(
        name=f"speaker{index:02d}",
        face=draw_face(rng, female=female),
        voice=voice,
        loudness=float(rng.uniform(0.25, 0.7)),
        seed=int(rng.integers(2**31)),
    )


def perform(person: Person, sentence: str) -> Performance | None:
    """Lets a person say a sentence; the same person and sentence give the same performance.

    Args:
        person: who speaks.
        sentence: English words.

    Returns:
        The performance, or None if it lasts shorter or longer than a clip may.

    Raises:
        ConfigError: espeakng-loader is not installed.
    """
    said = speech.say(sentence, person.voice)
    if not said.phones:
        return None
    spoken = said.phones[-1].end
    frames = round((_LEAD + spoken + _TAIL) * FPS)
    if not MIN_SECONDS <= frames / FPS <= MAX_SECONDS:
        return None
    rng = np.random.default_rng([person.seed, *sentence.encode()])
    length = round(frames / FPS * speech.RATE)
    sound = np.zeros(length)
    first = round(_LEAD * speech.RATE)
    voice = said.samples[: length - first] / 32768
    sound[first : first + len(voice)] = voice * person.loudness / max(np.abs(voice).max(), 1e-3)
    sound += 10 ** (_ROOM_DB / 20) * rng.standard_normal(length)
    shift = first / speech.RATE
    phones = tuple(_shifted(span, shift) for span in said.phones)
    words = tuple(_shifted(span, shift) for span in said.words)
    times = (np.arange(frames) + 0.5) / FPS
    return Performance(
        sentence=sentence,
        samples=np.round(np.clip(sound, -1, 1) * 32767).astype(np.int16),
        spans=(*words, *phones),
        motion=mouth_motion(phones, times, rest=person.face.rest, effort=person.face.effort),
        blinks=_blinks(rng, times),
        head=_sway(rng, times),
    )


def pixel_landmarks(
    person: Person, performance: Performance, size: tuple[int, int]
) -> Float32[np.ndarray, "T 68 2"]:
    """Returns the 68 points of every frame in pixels, (x, y)."""
    points = []
    for motion, blink, place in zip(
        performance.motion, performance.blinks, placements(performance, size), strict=True
    ):
        mouth = mouth_curves(person.face, motion)
        flat = landmarks(person.face, mouth, blink=float(blink))
        points.append(flat @ place[:, :2].T + place[:, 2])
    return np.asarray(points, np.float32)


def _shifted(span: Span, by: float) -> Span:
    return dataclasses.replace(span, start=span.start + by, end=span.end + by)


def pixels_per_unit(size: tuple[int, int]) -> float:
    """Returns the length of a face unit in a video of this size."""
    return 0.3 * min(size)


def placements(performance: Performance, size: tuple[int, int]) -> Float[np.ndarray, "T 2 3"]:
    """Returns each frame's transform from face coordinates to pixels."""
    unit = pixels_per_unit(size)
    x, y, angle, scale = performance.head.T
    cos, sin = unit * scale * np.cos(angle), unit * scale * np.sin(angle)
    # The head turns about the neck rather than about the eyes.
    pivot = 1.6
    left = size[0] / 2 + unit * x + sin * pivot
    top = 0.46 * size[1] + unit * y + (unit - cos) * pivot
    return np.stack([np.stack([cos, -sin, left], 1), np.stack([sin, cos, top], 1)], axis=1)


def _sway(rng: np.random.Generator, times: Float[np.ndarray, "T"]) -> Float[np.ndarray, "T 4"]:
    """Slow head motion: three waves for each of x, y, angle and size."""
    reach = np.array([0.035, 0.025, 0.03, 0.015])
    motion = np.zeros((len(times), 4))
    for _ in range(3):
        rate, phase = rng.uniform(0.15, 0.9, 4), rng.uniform(0, 2 * np.pi, 4)
        motion += reach / 1.5 * np.sin(2 * np.pi * rate * times[:, None] + phase)
    still = np.array([0.04, 0.03, 0.03, 0.03]) * rng.uniform(-1, 1, 4)
    return motion + still + np.array([0.0, 0.0, 0.0, 1.0])


def _blinks(rng: np.random.Generator, times: Float[np.ndarray, "T"]) -> Float[np.ndarray, "T"]:
    """A blink of a fifth of a second about every two seconds."""
    closed = np.zeros_like(times)
    moment = rng.uniform(0.2, 2.0)
    while moment < times[-1]:
        closed = np.maximum(closed, np.clip(1.35 - np.abs(times - moment) / 0.075, 0, 1))
        moment += rng.uniform(1.2, 3.0)
    return closed
