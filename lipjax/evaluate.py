# SPDX-License-Identifier: Apache-2.0
"""Evaluate: whole clips from one picture and the sound, beside the rows that keep it honest.

A system is known here by one function only; see `lipjax.evaluation.making.Speak`. Every row goes
through the same path: crops against crops, and lips read off the crop inside one fixed frame of
the clip.
"""

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lipjax.data.checked import MAX_BAD_FRACTION, CheckedClips
from lipjax.data.reading import Corpus
from lipjax.errors import ConfigError, CorpusError
from lipjax.evaluation import rows, scoring
from lipjax.evaluation.linear import fit_on
from lipjax.evaluation.making import Speak, example_of, jobs_of
from lipjax.evaluation.readers import choose_reader
from lipjax.metrics import quoting, table
from lipjax.metrics.results import Evaluation, Example
from lipjax.metrics.stage import Reader

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
    max_bad_fraction: float = MAX_BAD_FRACTION,
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
        max_bad_fraction: share of a split's clips that may turn out to be unusable; they are
            left out and counted.
        log: gets progress lines.

    Returns:
        All tables.

    Raises:
        CorpusError: no such split, no clip in it with landmarks, or too many clips that cannot
            be used.
        ConfigError: `speak` makes crops of another size or length.
    """
    began, log = time.monotonic(), log or (lambda line: None)
    checked = partial(CheckedClips, corpus, max_bad_fraction=max_bad_fraction, log=log)
    clips = checked(split)
    chosen = spread(list(clips.index.speaker), max_clips)
    if size is None:
        readable = clips.first(chosen)
        if readable is None:
            raise CorpusError(f"{corpus.directory}: no clip of {split!r} can be used")
        size = readable.mouth_size
    learnt = "train" if "train" in corpus.splits else corpus.splits[0]
    known = clips if learnt == split else checked(learnt)
    reading: dict[str, Any] = {"name": "given by the caller"}
    if reader is None:
        reader, reading = choose_reader(known, size)
    log(f"lips are read by {reading['name']}")
    predictor = fit_on(known) if learnt == "train" else None
    workers = processes if processes is not None else os.cpu_count() or 1
    workers = workers if len(chosen) > 2 else 1
    done, opened, closed, quoted = [], [], [], []
    kept: list[Example] = []
    for job in scoring.measured(
        reader, jobs_of(speak, clips, chosen, size, predictor), processes=workers
    ):
        done.append(scoring.score(job))
        opened.append(scoring.openings(job))
        closed.append(scoring.closures(job))
        if as_released:
            quoted.append(scoring.score_as_released(job))
        if len(kept) < examples:
            position = int(np.flatnonzero(clips.index.id == job.id)[0])
            example = clips.use(position, partial(example_of, job=job))
            kept += [] if example is None else [example]
        left = (time.monotonic() - began) / len(done) * (len(chosen) - len(done))
        log(f"evaluated {len(done)} of {len(chosen)} clips, {left:.0f} s left")
    bad = sum(number in clips.bad for number in chosen)
    if not done:
        raise CorpusError(
            f"{corpus.directory}: no clip of {split!r} has landmarks to compare "
            f"({bad} of {len(chosen)} cannot be used)"
        )
    present = [row for row in rows.ROWS if any(row in scores.rows for scores in done)]
    evaluation = Evaluation(
        facts={
            "corpus": corpus.directory.name,
            "split": split,
            "clips": len(done),
            "clips_without_landmarks": len(chosen) - len(done) - bad,
            "clips_left_out": clips.left_out,
            "clips_left_out_of_fits": {} if known is clips else known.left_out,
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
