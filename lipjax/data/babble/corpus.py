# SPDX-License-Identifier: Apache-2.0
"""Writes the built-in corpus: ordinary videos of talking faces, made from a seed."""

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lipjax.data import pool
from lipjax.data.babble import speech, text
from lipjax.data.babble.drawing import Painter
from lipjax.data.babble.people import (
    FPS,
    Performance,
    Person,
    make_person,
    perform,
    pixel_landmarks,
    pixels_per_unit,
    placements,
)
from lipjax.data.babble.shape import mouth_curves
from lipjax.errors import ConfigError, CorpusError

_Job = tuple[Path, Person, list[str], tuple[int, int]]


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
            performance.motion, performance.blinks, placements(performance, size), strict=True
        )
    )
    sound = Sound(performance.samples, speech.RATE)
    # The video comes last: where it is, its neighbours are complete.
    write_video(directory / f"{name}.mp4", frames, fps=FPS, sound=sound)


def make_painter(person: Person, size: tuple[int, int]) -> Painter:
    """Returns the painter of a person's frames."""
    return Painter(person.face, size=size, unit=pixels_per_unit(size))


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
        CorpusError: a person could not be drawn.

    Example:
        >>> lipjax.make_babble("faces", speakers=1, sentences_per_speaker=1)
        >>> len(list(Path("faces").rglob("*.mp4")))
        1
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
    jobs: list[_Job] = []
    for index in range(speakers):
        person = make_person(index, seed)
        rng = np.random.default_rng([seed, index, 1])
        jobs.append((directory, person, _choose(rng, person, sentences_per_speaker, taken), size))
    done, total = 0, speakers * sentences_per_speaker
    workers = processes if processes > 1 else 0  # a single one needs no process of its own
    for (_, person, *_), result in pool.run(jobs, _make_speaker, processes=workers):
        if isinstance(result, pool.Failure):
            raise CorpusError(f"babble: {person.name} {result.reason}: {result.detail}")
        if not isinstance(result, pool.Progressed):
            done += sentences_per_speaker
            if progress:
                progress(done, total)


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


def _make_speaker(job: _Job, beat: pool.Beat) -> None:
    """Draws all videos of one person; a sign of life after each."""
    directory, person, sentences, size = job
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
        beat(len(performance.motion))
