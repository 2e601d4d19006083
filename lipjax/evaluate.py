# SPDX-License-Identifier: Apache-2.0
"""Evaluate: whole clips from one picture and the sound, beside the rows that keep it honest.

A system is known here by one function only; see `Speak`. Every row goes through the same path:
crops against crops, and lips read off the crop inside one fixed frame of the clip.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from lipjax.data.reading import Corpus
from lipjax.data.schema import MISSING, Clip
from lipjax.data.views import resize
from lipjax.errors import ConfigError, CorpusError
from lipjax.evaluation import rows, scoring
from lipjax.evaluation.linear import LinearPredictor, fit_on
from lipjax.evaluation.readers import choose_reader
from lipjax.media.audio import Sound
from lipjax.media.compose import paste_mouth
from lipjax.metrics import quoting, table
from lipjax.metrics.landmarks import mouth_width, opening
from lipjax.metrics.results import Evaluation, Example
from lipjax.metrics.stage import Reader, rescaled, stage_of

Speak = Callable[[Clip, UInt8[np.ndarray, "S S 3"], Clip], UInt8[np.ndarray, "T S S 3"] | None]
"""speak(clip, identity, sound) -> the clip's frames, made from one picture and one sound.

`sound` is the clip whose sound is to be spoken, with the frames of `clip`: `clip` itself, or a
copy of it with another clip's sound or with silence. None leaves the row out.
"""

_COMPARED = (
    (rows.MODEL, rows.MODEL_WRONG),
    (rows.MODEL, rows.STILL),
    (rows.MODEL, rows.MISMATCHED),
    (rows.MODEL, rows.MEAN_MOUTH),
    (rows.MODEL, rows.LINEAR),
    (rows.MODEL, rows.LINEAR_ON_PICTURE),
    (rows.MODEL_ON_MEAN, rows.LINEAR),
    (rows.LINEAR, rows.LINEAR_WRONG),
)


def evaluate(
    speak: Speak | None,
    corpus: Corpus,
    split: str,
    *,
    out_dir: Path | None = None,
    size: int | None = None,
    max_clips: int | None = None,
    processes: int | None = None,
    reader: Reader | None = None,
    examples: int = 3,
    as_released: bool = False,
    log: Callable[[str], None] | None = None,
) -> Evaluation:
    """Measures a system on a split, beside ground truth, still mouths and a linear predictor.

    Each clip is made whole from one picture: the first frame of another clip of its speaker, or
    its own first frame, which is then not scored. The wrong sound, and the mismatched mouth, are
    another sentence of the same speaker.

    Args:
        speak: the system; None for the other rows alone.
        corpus: prepared corpus.
        split: of it.
        out_dir: where evaluation.json is written; nothing is written without it.
        size: side of the crops that `speak` gets and makes, pixels; the corpus's if not given.
            All rows are compared at this size.
        max_clips: at most this many clips, spread over the speakers.
        processes: that read lips; one per core if not given, 1 stays in this process.
        reader: finds lips on crops; chosen by trial on the train split if not given.
        examples: clips that are kept for pictures and videos.
        as_released: also score by the definitions of the authors' 2018 code, in a second table.
        log: gets progress lines.

    Returns:
        All tables.

    Raises:
        CorpusError: no such split, or no clip in it with landmarks.
        ConfigError: `speak` makes crops of another size or length.
    """
    began, log = time.monotonic(), log or (lambda line: None)
    index, clips = corpus.index(split), corpus.clips(split)
    chosen = spread(list(index.speaker), max_clips)
    size = size or clips[chosen[0]].mouth_size
    reading: dict[str, Any] = {"name": "given by the caller"}
    if reader is None:
        reader, reading = choose_reader(corpus, size)
    log(f"lips are read by {reading['name']}")
    predictor = fit_on(corpus) if "train" in corpus.splits else None
    workers = processes if processes is not None else os.cpu_count() or 1
    workers = workers if len(chosen) > 2 else 1
    done, kept, opened, closed, quoted = [], [], [], [], []
    for job in scoring.measured(
        reader, _jobs(speak, corpus, split, chosen, size, predictor), processes=workers
    ):
        done.append(scoring.score(job))
        opened.append(scoring.openings(job))
        closed.append(scoring.closures(job))
        if as_released:
            quoted.append(scoring.score_as_released(job))
        if len(kept) < examples:
            position = int(np.flatnonzero(index.id == job.id)[0])
            kept.append(_example(clips[position], job))
        left = (time.monotonic() - began) / len(done) * (len(chosen) - len(done))
        log(f"evaluated {len(done)} of {len(chosen)} clips, {left:.0f} s left")
    if not done:
        raise CorpusError(f"{corpus.directory}: no clip of {split!r} has landmarks to compare")
    present = [row for row in rows.ROWS if any(row in scores.rows for scores in done)]
    evaluation = Evaluation(
        facts={
            "corpus": corpus.directory.name,
            "split": split,
            "clips": len(done),
            "clips_without_landmarks": len(chosen) - len(done),
            "frames": sum(scores.frames for scores in done),
            "speech_frames": sum(scores.speech_frames for scores in done),
            "speakers": sorted({scores.speaker for scores in done}),
            "crop_pixels": size,
            "lip_reader": reading,
            "linear_predictor_seconds": predictor.seconds if predictor else None,
            "closed_below_mouth_widths": scoring.CLOSED,
            "seconds": time.monotonic() - began,
        },
        table=table.summarise(done, present),
        differences={
            f"{a} - {b}": table.difference(done, a, b)
            for a, b in _COMPARED
            if a in present and b in present
        },
        opening=scoring.means(opened),
        closures=scoring.means(closed),
        clips=done,
        examples=kept,
    )
    if as_released:
        frames, layout = [scores.frames for scores in done], corpus.settings.get("layout", "")
        evaluation.as_released = quoting.quote(quoted, frames, present, layout=layout)
    if out_dir is not None:
        evaluation.save(out_dir)
    return evaluation


def spread(speakers: Sequence[str], count: int | None) -> list[int]:
    """Chooses clips in turn from all speakers; all clips if `count` is None."""
    if count is not None and count < 1:
        raise ConfigError(f"evaluation needs at least one clip, not {count}")
    queues: dict[str, list[int]] = {}
    for number, speaker in enumerate(speakers):
        queues.setdefault(speaker, []).append(number)
    longest = max(map(len, queues.values()), default=0)
    order = [
        queue[turn] for turn in range(longest) for queue in queues.values() if turn < len(queue)
    ]
    return sorted(order[:count])


def _jobs(
    speak: Speak | None,
    corpus: Corpus,
    split: str,
    chosen: Sequence[int],
    size: int,
    predictor: LinearPredictor | None,
) -> Iterator[scoring.Job]:
    """Makes the rows of each clip that has landmarks."""
    clips, index = corpus.clips(split), corpus.index(split)
    for number in chosen:
        clip = clips[number]
        if np.sum(clip.landmark_status != MISSING) < 3:
            continue
        lender = rows.partner(index, number)
        other = clips[lender] if lender is not None else None
        yield _job(speak, clip, other, size, predictor)


def _job(
    speak: Speak | None,
    clip: Clip,
    other: Clip | None,
    size: int,
    predictor: LinearPredictor | None,
) -> scoring.Job:
    """Makes the rows of one clip; `other` lends picture, wrong sound and mismatched mouth."""
    frames, truth = clip.num_frames, resize(clip.mouth, size)
    scored = clip.landmark_status != MISSING
    identity, given = rows.identity_of(clip, other, size)
    if given is not None:
        scored[given] = False
    sounds = {rows.MODEL: clip, scoring.SILENT: rows.without_sound(clip)}
    mouths = {
        rows.TRUTH: truth,
        rows.TRUTH_AGAIN: rows.degraded(truth),
        rows.STILL: rows.held(identity, frames),
    }
    points = {} if predictor is None else {rows.LINEAR: predictor(clip, size)}
    if given is None and predictor is not None and other is not None:
        points[rows.LINEAR_ON_PICTURE] = rows.on_mean_mouth(
            points[rows.LINEAR], rows.mean_mouth_of(other, size, frames), scored
        )
    if other is not None:
        mouths[rows.MISMATCHED] = rows.of_length(resize(other.mouth, size), frames)
        sounds[rows.MODEL_WRONG] = rows.with_sound_of(clip, other)
        if predictor is not None:
            points[rows.LINEAR_WRONG] = predictor(sounds[rows.MODEL_WRONG], size)
    for row, sound in sounds.items() if speak is not None else ():
        made = speak(clip, identity, sound)
        if made is None:
            continue
        made = np.asarray(made)
        if made.shape != truth.shape or made.dtype != np.uint8:
            raise ConfigError(
                f"clip {clip.id}: the system made {made.dtype} {made.shape}, "
                f"evaluation needs uint8 {truth.shape}"
            )
        mouths[row] = made
    return scoring.Job(
        id=clip.id,
        speaker=clip.speaker,
        fps=clip.fps,
        spans=clip.spans,
        stage=stage_of(clip, size),
        opening=opening(clip.mouth_landmarks()) / mouth_width(clip.mouth_landmarks()),
        scored=scored,
        speech=rows.speech_frames(clip),
        mouths=mouths,
        points=points,
    )


def _example(clip: Clip, job: scoring.Job) -> Example:
    """Keeps a clip's crops, and puts the model's mouth back into its real frames."""
    pasted = None
    if rows.MODEL in job.mouths:
        transforms = rescaled(clip.mouth_from_frames(), clip.mouth_size, job.stage.size)
        pairs = zip(job.mouths[rows.MODEL], transforms, strict=True)
        pasted = np.stack(
            [paste_mouth(clip.frame(t), mouth, m) for t, (mouth, m) in enumerate(pairs)]
        )
    sound = Sound(clip.sound, clip.sound_rate, clip.sound_start)
    mouths = {row: crops for row, crops in job.mouths.items() if row != scoring.SILENT}
    return Example(clip.id, clip.fps, sound, mouths, pasted)
