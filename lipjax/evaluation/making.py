# SPDX-License-Identifier: Apache-2.0
"""What is shown of each clip: the system's mouth beside the rows that keep it honest."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from absl import logging
from jaxtyping import UInt8

from lipjax.data.checked import CheckedClips
from lipjax.data.schema import MISSING, Clip
from lipjax.data.views import resize
from lipjax.errors import ConfigError, CorpusError
from lipjax.evaluation import rows, scoring
from lipjax.evaluation.linear import LinearPredictor
from lipjax.media.audio import Sound
from lipjax.media.compose import paste_mouth
from lipjax.metrics.landmarks import mouth_width, opening
from lipjax.metrics.results import Example
from lipjax.metrics.stage import rescaled, stage_of

Speak = Callable[[Clip, UInt8[np.ndarray, "S S 3"], Clip], UInt8[np.ndarray, "T S S 3"] | None]
"""speak(clip, identity, sound) -> the clip's frames, made from one picture and one sound.

`sound` is the clip whose sound is to be spoken, with the frames of `clip`: `clip` itself, or a
copy of it with another clip's sound or with silence. None leaves the row out.
"""


def jobs_of(
    speak: Speak | None,
    clips: CheckedClips,
    chosen: Sequence[int],
    size: int,
    predictor: LinearPredictor | None,
) -> Iterator[scoring.Job]:
    """Makes the rows of each clip that can be used and has landmarks.

    Args:
        speak: the system; None for the other rows alone.
        clips: of the split.
        chosen: numbers of the clips to show.
        size: side of the crops, pixels.
        predictor: fitted on the train split; None where there is none.

    Yields:
        Jobs, still to be measured.

    Raises:
        CorpusError: too many clips cannot be used.
        ConfigError: the system makes crops of another size or length.
    """
    for number in chosen:
        clip = clips.get(number)
        if clip is None or np.sum(clip.landmark_status != MISSING) < 3:
            continue
        other = clips.first(rows.partners(clips.index, number))
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
    for row, sound in sounds.items():
        made = None if speak is None else speak(clip, identity, sound)
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


def example_of(clip: Clip, job: scoring.Job) -> Example:
    """Keeps a clip's crops, and puts the model's mouth back into its real frames.

    Returns:
        The example; without `faces` if a real frame cannot be decoded.
    """
    pasted = None
    if rows.MODEL in job.mouths:
        transforms = rescaled(clip.mouth_from_frames(), clip.mouth_size, job.stage.size)
        pairs = zip(job.mouths[rows.MODEL], transforms, strict=True)
        try:
            pasted = np.stack(
                [paste_mouth(clip.frame(t), mouth, m) for t, (mouth, m) in enumerate(pairs)]
            )
        except CorpusError as error:
            logging.warning("the report shows clip %s by its mouth alone: %s", clip.id, error)
    sound = Sound(clip.sound, clip.sound_rate, clip.sound_start)
    mouths = {row: crops for row, crops in job.mouths.items() if row != scoring.SILENT}
    return Example(clip.id, clip.fps, sound, mouths, pasted)
