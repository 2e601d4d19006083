# SPDX-License-Identifier: Apache-2.0
"""Writes the built-in corpus: ordinary videos of talking faces, made from a seed."""

import concurrent.futures
import dataclasses
import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Int16

from lipjax.data.babble import speech, text
from lipjax.data.babble.drawing import Painter
from lipjax.data.babble.face import Face, draw_face, landmarks, mouth_curves
from lipjax.data.babble.visemes import mouth_motion
from lipjax.data.schema import Span
from lipjax.errors import ConfigError

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
        performance.motion, performance.blinks, _placements(performance, size), strict=True
    ):
        mouth = mouth_curves(person.face, motion)
        flat = landmarks(person.face, mouth, blink=float(blink))
        points.append(flat @ place[:, :2].T + place[:, 2])
    return np.asarray(points, np.float32)


def write_clip(
    directory: Path,
    name: str,
    person: Person,
    performance: Performance,
    *,
    size: tuple[int, int],
    painter: Painter | None = None,
) -> None:
    """Writes NAME.mp4 with NAME.landmarks.npy, NAME.spans.json and NAME.txt beside it.

    Args:
        directory: exists.
        name: of the clip.
        person: who speaks.
        performance: what to draw.
        size: width and height, pixels.
        painter: of this person at this size, to paint the head once for many clips.
    """
    from lipjax.media.audio import Sound
    from lipjax.media.video import write_video

    painter = painter or make_painter(person, size)
    np.save(directory / f"{name}.landmarks.npy", pixel_landmarks(person, performance, size))
    spans = [dataclasses.astuple(span) for span in performance.spans]
    (directory / f"{name}.spans.json").write_text(json.dumps(spans, ensure_ascii=False), "utf-8")
    (directory / f"{name}.txt").write_text(performance.sentence + "\n", "utf-8")
    frames = (
        painter.frame(mouth_curves(person.face, motion), blink=float(blink), placement=place)
        for motion, blink, place in zip(
            performance.motion, performance.blinks, _placements(performance, size), strict=True
        )
    )
    sound = Sound(performance.samples, speech.RATE)
    # The video comes last: where it is, its neighbours are complete.
    write_video(directory / f"{name}.mp4", frames, fps=FPS, sound=sound)


def make_painter(person: Person, size: tuple[int, int]) -> Painter:
    """Returns the painter of a person's frames."""
    return Painter(person.face, size=size, unit=_unit(size))


def make_babble(
    out: str | os.PathLike,
    *,
    speakers: int = 12,
    sentences_per_speaker: int = 12,
    seed: int = 0,
    size: tuple[int, int] = (224, 224),
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Writes the built-in corpus: videos of talking faces with landmarks, words and phones.

    Files are OUT/SPEAKER/CLIP.mp4 (25 frames per second, AAC sound) with CLIP.landmarks.npy
    (float32 [frames, 68, 2], pixels), CLIP.spans.json ([[kind, text, start, end], ...], seconds
    from the video's start) and CLIP.txt beside them. No sentence is said twice in the corpus.
    Landmarks, spans and sound before encoding follow from the arguments bit by bit.

    Args:
        out: folder to fill; made if missing.
        speakers: how many, each with a face and a voice of their own.
        sentences_per_speaker: clips of 2 to 3.5 seconds for each.
        seed: another seed gives other people and other sentences.
        size: width and height of the videos, pixels.
        processes: how many speakers are drawn at a time.
        progress: called with (clips done, clips in all) after every speaker.

    Raises:
        ConfigError: espeakng-loader is not installed, or a count or size is impossible.
    """
    if speakers < 1 or sentences_per_speaker < 1 or processes < 1:
        raise ConfigError(
            f"babble: speakers={speakers}, sentences_per_speaker={sentences_per_speaker} and "
            f"processes={processes} must be at least 1"
        )
    if min(size) < 64 or any(side % 2 for side in size):
        raise ConfigError(f"babble: size {size} must be even and at least 64 pixels each way")
    directory = Path(out)
    directory.mkdir(parents=True, exist_ok=True)
    taken: set[str] = set()
    jobs = []
    for index in range(speakers):
        person = make_person(index, seed)
        rng = np.random.default_rng([seed, index, 1])
        jobs.append((directory, person, _choose(rng, person, sentences_per_speaker, taken), size))
    total = speakers * sentences_per_speaker
    if processes == 1:
        for i, job in enumerate(jobs):
            _make_speaker(*job)
            if progress:
                progress((i + 1) * sentences_per_speaker, total)
        return
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(processes, mp_context=context) as pool:
        waiting = [pool.submit(_make_speaker, *job) for job in jobs]
        for i, future in enumerate(concurrent.futures.as_completed(waiting)):
            future.result()
            if progress:
                progress((i + 1) * sentences_per_speaker, total)


def _choose(rng: np.random.Generator, person: Person, count: int, taken: set[str]) -> list[str]:
    """Draws sentences that nobody has said yet and that fit into a clip."""
    chosen: list[str] = []
    for _ in range(60 * count):
        sentence = text.sentence(rng)
        if sentence not in taken and perform(person, sentence) is not None:
            taken.add(sentence)
            chosen.append(sentence)
            if len(chosen) == count:
                return chosen
    raise ConfigError(
        f"babble: only {len(chosen)} of {count} sentences found for {person.name}: ask for fewer"
    )


def _make_speaker(
    directory: Path, person: Person, sentences: list[str], size: tuple[int, int]
) -> None:
    folder = directory / person.name
    folder.mkdir(exist_ok=True)
    painter = make_painter(person, size)
    for i, sentence in enumerate(sentences):
        performance = perform(person, sentence)
        if performance is None:
            raise ConfigError(f"babble: {sentence!r} does not fit into a clip")
        write_clip(
            folder, f"{person.name}_{i:03d}", person, performance, size=size, painter=painter
        )


def _shifted(span: Span, by: float) -> Span:
    return dataclasses.replace(span, start=span.start + by, end=span.end + by)


def _unit(size: tuple[int, int]) -> float:
    return 0.3 * min(size)


def _placements(performance: Performance, size: tuple[int, int]) -> Float[np.ndarray, "T 2 3"]:
    """Returns each frame's transform from face coordinates to pixels."""
    unit = _unit(size)
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
