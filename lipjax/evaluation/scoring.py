# SPDX-License-Identifier: Apache-2.0
"""From rows of crops to numbers: lips read by several processes, then scored clip by clip."""

import concurrent.futures
import dataclasses
import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool

import numpy as np
from absl import logging
from jaxtyping import Bool, Float

from lipjax.data.schema import Span
from lipjax.data.views import resize
from lipjax.evaluation import rows
from lipjax.metrics import landmarks, released
from lipjax.metrics.intervals import Interval, bootstrap
from lipjax.metrics.stage import Reader, Stage, measure
from lipjax.metrics.table import ClipScores, Shown, score_row

CLOSED = 0.05
"""The lips have met where their opening is at most this many mouth widths."""
SILENT = "model, silence"
"""The model fed digital silence: read, but no row of the table."""


@dataclasses.dataclass
class Job:
    """One clip on its way to the table.

    Attributes:
        id: of the clip.
        speaker: "" if unknown.
        fps: frames per second.
        spans: words and phones, where known.
        stage: the fixed frame through which all lips are read.
        opening: the true opening in mouth widths by the stored landmarks; NaN where unknown.
        scored: frames that count.
        speech: frames in which something is said.
        mouths: row -> crops (T, S, S, 3); must hold `rows.TRUTH`.
        points: row -> landmarks of rows that have no pictures; readings are added.
        sharpness: row -> CPBD by frame, filled by `measured`.
    """

    id: str
    speaker: str
    fps: float
    spans: Sequence[Span]
    stage: Stage
    opening: Float[np.ndarray, "T"]
    scored: Bool[np.ndarray, "T"]
    speech: Bool[np.ndarray, "T"]
    mouths: dict[str, np.ndarray]
    points: dict[str, np.ndarray]
    sharpness: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)


def measured(reader: Reader, jobs: Iterator[Job], *, processes: int) -> Iterator[Job]:
    """Reads the lips of every row of every job, in order, a few jobs ahead.

    Args:
        reader: finds landmarks on crops.
        jobs: taken as they are needed, so that memory does not grow with their number.
        processes: that read; with 1 this process does.

    Yields:
        The jobs with points and sharpness.
    """
    if processes <= 1:
        for job in jobs:
            yield _finished(job, {row: _read(reader, job, row) for row in job.mouths})
        return
    # JAX has threads here already, and a forked copy of them can hang.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(processes, mp_context=context) as pool:
        waiting: list[tuple[Job, dict[str, concurrent.futures.Future]]] = []
        for job in jobs:
            waiting.append((job, {row: _submit(pool, reader, job, row) for row in job.mouths}))
            if len(waiting) > 2:
                yield _collect(reader, *waiting.pop(0))
        while waiting:
            yield _collect(reader, *waiting.pop(0))


def _read(reader: Reader, job: Job, row: str) -> tuple[np.ndarray, np.ndarray]:
    return measure(reader, job.stage, job.mouths[row], sharp=row != SILENT)


def _submit(
    pool: concurrent.futures.Executor, reader: Reader, job: Job, row: str
) -> concurrent.futures.Future:
    try:
        return pool.submit(measure, reader, job.stage, job.mouths[row], sharp=row != SILENT)
    except BrokenProcessPool as error:
        failed: concurrent.futures.Future = concurrent.futures.Future()
        failed.set_exception(error)
        return failed


def _collect(reader: Reader, job: Job, futures: Mapping[str, concurrent.futures.Future]) -> Job:
    """Waits for a job's readings; what died with a worker is read here."""
    readings = {}
    for row, future in futures.items():
        try:
            readings[row] = future.result()
        except BrokenProcessPool:
            logging.log_first_n(
                logging.WARNING, "a process that reads lips died; reading in this one", 1
            )
            readings[row] = _read(reader, job, row)
    return _finished(job, readings)


def _finished(job: Job, readings: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Job:
    for row, (points, sharpness) in readings.items():
        job.points[row], job.sharpness[row] = points, sharpness
    still = rows.mean_mouth(job.points[rows.TRUTH], job.scored)
    job.points[rows.MEAN_MOUTH] = still
    borrows = {rows.LINEAR: rows.LINEAR, rows.LINEAR_WRONG: rows.LINEAR_WRONG}
    borrows[rows.MODEL_ON_MEAN] = rows.MODEL
    for row, source in borrows.items():
        if source in job.points:
            job.points[row] = rows.on_mean_mouth(job.points[source], still, job.scored)
    return job


def score(job: Job) -> ClipScores:
    """Computes every row of the table for one measured clip."""
    truth = _shown(job, rows.TRUTH)
    values = {
        row: score_row(
            _shown(job, row),
            truth,
            scored=job.scored,
            speech=job.speech,
            is_truth=row == rows.TRUTH,
        )
        for row in rows.ROWS
        if row in job.mouths or row in job.points
    }
    spoken = int(np.sum(job.scored & job.speech))
    return ClipScores(job.id, job.speaker, int(job.scored.sum()), spoken, values)


def score_as_released(job: Job) -> dict[str, dict[str, float]]:
    """Computes every row of the second table, by the released definitions, for one clip."""
    saved = {
        row: released.as_saved(resize(mouths, released.SIZE))
        for row, mouths in job.mouths.items()
        if row in rows.ROWS
    }
    return {
        row: released.score_row(
            saved.get(row),
            saved[rows.TRUTH],
            job.points.get(row),
            job.points[rows.TRUTH],
            size=job.stage.size,
            scored=job.scored,
            is_truth=row == rows.TRUTH,
        )
        for row in rows.ROWS
        if row in saved or row in job.points
    }


def _shown(job: Job, row: str) -> Shown:
    return Shown(job.mouths.get(row), job.points.get(row), job.sharpness.get(row))


def openings(job: Job) -> dict[str, float]:
    """How far the lips open and how much they move, in mouth widths: truth, model, silence."""
    width = landmarks.mouth_width(job.points[rows.TRUTH][job.scored])
    names = {
        rows.TRUTH: "ground truth",
        rows.MODEL: "model",
        SILENT: "model fed silence",
    }
    found = {}
    for row, name in names.items():
        if row in job.points:
            mean, deviation = landmarks.silence(job.points[row][job.scored], width=width)
            found[f"{name}, mean"], found[f"{name}, deviation"] = mean, deviation
    return found


def closures(job: Job) -> dict[str, np.ndarray]:
    """Row -> whether the lips meet in each /p b m/ of the clip.

    A reader may see a person's closed lips a little open. How much is known from the truth, whose
    landmarks are stored, and is taken off every row alike.
    """
    width = landmarks.mouth_width(job.points[rows.TRUTH][job.scored])
    offsets = (landmarks.opening(job.points[rows.TRUTH]) / width - job.opening)[job.scored]
    offsets = offsets[np.isfinite(offsets)]
    offset = float(np.median(offsets)) if len(offsets) else 0.0
    found = {}
    for row in (rows.TRUTH, rows.MISMATCHED, rows.LINEAR, rows.MODEL, rows.MODEL_WRONG):
        if row in job.points:
            relative = landmarks.opening(job.points[row]).astype(np.float64) / width - offset
            relative[~job.scored] = np.nan
            closed = landmarks.closure(relative, job.spans, fps=job.fps, threshold=CLOSED)
            if len(closed):
                found[row] = closed
    return found


def means(by_clip: Sequence[Mapping[str, float | np.ndarray]]) -> dict[str, Interval]:
    """Means with intervals of named values by clip; arrays count as many times as they are long."""
    names = dict.fromkeys(name for values in by_clip for name in values)
    result = {}
    for name in names:
        present = [np.atleast_1d(values[name]) for values in by_clip if name in values]
        averages = np.array([np.mean(value) for value in present], float)
        result[name] = bootstrap(averages, np.array([len(value) for value in present]))
    return result
