# SPDX-License-Identifier: Apache-2.0
"""Which reader finds the lips on crops: dlib for real faces, else one fitted on the corpus.

dlib's predictor knows photographs. On drawn faces, or other pictures unlike them, its error can
be as large as the motion of the lips, and every correlation would be understated. So it is tried
on real crops of the train split first, whose landmarks are known; where it fails, a ridge
regression from the crop's gradients to lip points takes its place. It never sees what a model makes
while it is fitted, and its own error is reported with every table.
"""

import dataclasses
import hashlib
import json

import numpy as np
from absl import logging
from jaxtyping import Float, Float32, UInt8

from lipjax.data.checked import CheckedClips
from lipjax.data.schema import MEASURED, Clip
from lipjax.data.views import resize
from lipjax.errors import ConfigError, CorpusError
from lipjax.evaluation.linear import LinearPredictor, fit, mouth_targets, sample, save_arrays
from lipjax.evaluation.rows import degraded
from lipjax.metrics import landmarks
from lipjax.metrics.stage import Reader, Stage, read_with_dlib, stage_of

_SIDE, _CELL, _DIRECTIONS = 48, 6, 8
_FIT_SECONDS, _TRIAL_CLIPS, _TRIAL_FRAMES = 300.0, 4, 24
_USABLE = 0.5
_VERSION = 3


@dataclasses.dataclass(frozen=True)
class PixelReader:
    """Lip points by ridge regression from the crop's gradients.

    Attributes:
        regression: from gradient features to centred points in units of the crop's side.
    """

    regression: LinearPredictor

    def __call__(
        self, stage: Stage, mouths: UInt8[np.ndarray, "T S S 3"]
    ) -> Float32[np.ndarray, "T 68 2"]:
        """Reads crops; needs of the stage only the crops' side."""
        return self.regression.points(pixel_features(mouths), stage.size)


@dataclasses.dataclass(frozen=True)
class Trial:
    """How a reader does on real crops whose landmarks are known.

    Attributes:
        lmd: its landmark distance to them.
        r: correlation of the opening, mean over clips.
        mean_mouth_lmd: what a motionless mouth scores on the same frames.
    """

    lmd: float
    r: float
    mean_mouth_lmd: float

    @property
    def usable(self) -> bool:
        """Whether the error is small beside the motion that is to be measured."""
        return self.lmd < _USABLE * self.mean_mouth_lmd


def pixel_features(mouths: UInt8[np.ndarray, "T S S 3"]) -> Float[np.ndarray, "T 512"]:
    """Strength of the luma's gradient in 8 directions in 8x8 cells (Dalal and Triggs 2005).

    Unlike the pixels themselves these carry over to people whose skin and light are new.
    """
    import cv2

    rows = []
    for mouth in resize(mouths, _SIDE):
        grey = cv2.cvtColor(mouth, cv2.COLOR_RGB2GRAY).astype(np.float32)
        right, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
        turn = (np.arctan2(down, right) / (2 * np.pi) % 1.0 * _DIRECTIONS)[..., None]
        # Each gradient counts for the two directions that it lies between.
        apart = np.abs((turn - np.arange(_DIRECTIONS) + _DIRECTIONS / 2) % _DIRECTIONS)
        share = np.maximum(0.0, 1.0 - np.abs(apart - _DIRECTIONS / 2))
        strength = (share * np.hypot(right, down)[..., None]).astype(np.float32)
        cells = cv2.GaussianBlur(strength, (0, 0), _CELL / 2)[
            _CELL // 2 :: _CELL, _CELL // 2 :: _CELL
        ]
        rows.append(np.sqrt(cells / (cells.sum(axis=-1).mean() + 1.0)).ravel())
    return np.stack(rows)


def try_reader(reader: Reader, clips: list[Clip], size: int) -> Trial:
    """Measures a reader on real crops.

    Args:
        reader: to try.
        clips: whose stored landmarks are taken for the truth.
        size: side of the crops in pixels.

    Raises:
        CorpusError: the clips have no landmarks.
    """
    distances, stills, correlations = [], [], []
    for clip in clips:
        chosen = np.flatnonzero(clip.landmark_status == MEASURED)
        if len(chosen) < 3:
            continue
        chosen = chosen[np.linspace(0, len(chosen) - 1, _TRIAL_FRAMES).astype(int)]
        truth = (clip.mouth_landmarks()[chosen] + 0.5) * (size / clip.mouth_size) - 0.5
        found = reader(stage_of(clip, size), resize(clip.mouth[chosen], size))
        unit = landmarks.lmd_unit(landmarks.mouth_width(truth))
        true_mouth, found_mouth = truth[:, landmarks.MOUTH], found[:, landmarks.MOUTH]
        distances.append(landmarks.lmd(found_mouth, true_mouth, unit=unit).mean())
        centred = true_mouth - true_mouth.mean(axis=1, keepdims=True)
        still = np.broadcast_to(centred.mean(axis=0), centred.shape)
        stills.append(landmarks.lmd(still, true_mouth, unit=unit).mean())
        r = landmarks.correlation(landmarks.opening(found), landmarks.opening(truth))
        correlations.append(r)
    if not distances:
        raise CorpusError("none of the clips has landmarks to try a reader on")
    known = [r for r in correlations if np.isfinite(r)]
    r = float(np.mean(known)) if known else float("nan")
    return Trial(float(np.mean(distances)), r, float(np.mean(stills)))


def choose_reader(clips: CheckedClips, size: int) -> tuple[Reader, dict[str, object]]:
    """Chooses the reader for a corpus by trying it on clips of the train split.

    Args:
        clips: of the train split, or of whichever there is.
        size: side of the crops that will be read, in pixels.

    Returns:
        The reader, and what the report says of it: name and `Trial`.

    Raises:
        CorpusError: the corpus has no landmarks, or too many clips cannot be used.
    """
    speakers = clips.index.speaker
    tried = _usable(clips)
    trial_clips = list(tried.values())
    if not tried:
        raise CorpusError(f"{clips.corpus.directory}: no clip of {clips.split!r} can be used")
    why = "dlib is not installed"
    try:
        trial = try_reader(read_with_dlib, trial_clips, size)
        if trial.usable:
            return read_with_dlib, {"name": "dlib on the pasted crop", **_facts(trial)}
        why = f"dlib's error on real crops is LMD {trial.lmd:.2f}, r {trial.r:.2f}"
    except (ConfigError, ImportError) as error:
        logging.info("dlib cannot read lips here: %s", error)
    # The reader that is reported has not seen the trial's speakers (or, if there are no others,
    # its clips); the one that is used has.
    same = np.flatnonzero(np.isin(speakers, speakers[list(tried)])).tolist()
    hidden = list(tried) if len(same) == len(clips) else same
    trial = try_reader(PixelReader(_fitted(clips, hidden)), trial_clips, size)
    name = f"ridge regression from gradients, fitted on {clips.split} ({why})"
    return PixelReader(_fitted(clips, [])), {"name": name, **_facts(trial)}


def _usable(clips: CheckedClips) -> dict[int, Clip]:
    """A few clips spread over the split, and behind each that cannot be used the next one."""
    found: dict[int, Clip] = {}
    for place in np.unique(np.linspace(0, len(clips) - 1, _TRIAL_CLIPS).astype(int)).tolist():
        for number in range(place, len(clips)):
            if number not in found and (clip := clips.get(number)) is not None:
                found[number] = clip
                break
    return found


def _facts(trial: Trial) -> dict[str, float]:
    return {
        "lmd_to_stored_landmarks": trial.lmd,
        "r_to_stored_landmarks": trial.r,
        "mean_mouth_lmd_there": trial.mean_mouth_lmd,
    }


def _fitted(clips: CheckedClips, leave_out: list[int]) -> LinearPredictor:
    """Fits the regression on real crops and on degraded copies of them, and caches it."""
    corpus, split, index = clips.corpus, clips.split, clips.index
    chosen, seconds = sample(clips, _FIT_SECONDS)
    chosen = [i for i in chosen if i not in set(leave_out)] or chosen
    key = [
        _VERSION,
        split,
        _SIDE,
        _CELL,
        _DIRECTIONS,
        [str(index.id[i]) for i in chosen],
        corpus.settings,
    ]
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    path = corpus.directory / "fits" / f"reader-{digest}.npz"
    if path.is_file():
        return LinearPredictor.load(path, seconds)
    features, targets, speakers = [], [], []
    for i in chosen:
        clip = clips.get(i)
        if clip is None:
            continue
        mouths, points = clip.mouth[::2], mouth_targets(clip)[::2]
        # Generated mouths are softer than real ones; the reader should not mind.
        features.append(np.concatenate([pixel_features(mouths), pixel_features(degraded(mouths))]))
        targets.append(np.concatenate([points, points]))
        speakers.append(clip.speaker)
    regression = fit(features, targets, speakers, seconds=seconds)
    if len(features) == len(chosen):  # else it is not what the file's name says
        save_arrays(path, **regression.arrays())
    return regression
