# SPDX-License-Identifier: Apache-2.0
"""The bar for every deep model: ridge regression from log-mel to mouth points.

Eleven frames of 40-band log-mel, nothing else; solved in seconds, deterministic. A network of
millions of parameters that follows the lips no better has learnt texture, not speech.
"""

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from lipjax.data.checked import CheckedClips
from lipjax.data.reading import Corpus
from lipjax.data.schema import MEASURED, Clip
from lipjax.errors import CorpusError
from lipjax.media.audio import LogMel, Sound, level_gain
from lipjax.media.log_mel import log_mel_of
from lipjax.metrics.landmarks import MOUTH

SETTINGS = LogMel(bands=40, floor_db=-100.0)
REACH = 5
MAX_SECONDS = 600.0
_PENALTIES = tuple(10.0**power for power in range(-3, 3))
_VERSION = 3


@dataclasses.dataclass(frozen=True)
class LinearPredictor:
    """Affine map from sound features to centred mouth points.

    Attributes:
        weights: the map, in units of the crop's side.
        bias: points that answer to the mean feature.
        mean: of the features over the training frames.
        scale: their standard deviation.
        penalty: ridge penalty per frame, chosen on held-out training clips.
        seconds: of video that it was fitted on.
    """

    weights: Float[np.ndarray, "features 40"]
    bias: Float[np.ndarray, "40"]
    mean: Float[np.ndarray, "features"]
    scale: Float[np.ndarray, "features"]
    penalty: float
    seconds: float

    def __call__(self, clip: Clip, size: int) -> Float32[np.ndarray, "T 68 2"]:
        """Predicts the mouth from the clip's sound alone.

        Args:
            clip: whose sound is read (and whose number of frames).
            size: side of the crop in whose pixels the points are given.

        Returns:
            Points 48..67 centred on their own mean, the others NaN.
        """
        return self.points(sound_features(clip), size)

    def points(
        self, features: Float[np.ndarray, "T features"], size: int
    ) -> Float32[np.ndarray, "T 68 2"]:
        """The same from features that have been computed already."""
        standard = (features - self.mean) / self.scale
        mouth = (standard @ self.weights + self.bias).reshape(-1, 20, 2) * size
        points = np.full((len(mouth), 68, 2), np.nan, np.float32)
        points[:, MOUTH] = mouth
        return points

    def arrays(self) -> dict[str, np.ndarray]:
        """What a file must hold to make the predictor again."""
        names = ("weights", "bias", "mean", "scale")
        return {**{name: getattr(self, name) for name in names}, "penalty": np.array(self.penalty)}

    @classmethod
    def load(cls, path: Path, seconds: float) -> "LinearPredictor":
        """Reads a file of `arrays`."""
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        return cls(**{**arrays, "penalty": float(arrays["penalty"])}, seconds=seconds)


def sound_features(clip: Clip) -> Float[np.ndarray, "T features"]:
    """Mean log-mel of each frame, of five before and of five after it."""
    sound = Sound(clip.sound, clip.sound_rate, clip.sound_start)
    start, stop = -REACH / clip.fps, (clip.num_frames + REACH) / clip.fps
    gain = level_gain(clip.sound_level, SETTINGS)
    columns = log_mel_of(sound.between(start, stop), sound.rate, SETTINGS, gain=gain)
    frames = clip.num_frames + 2 * REACH
    edges = np.round(np.arange(frames + 1) / clip.fps * SETTINGS.columns_per_second).astype(int)
    edges = np.minimum(edges, len(columns))
    total = np.concatenate([np.zeros((1, SETTINGS.bands)), np.cumsum(columns, 0, np.float64)])
    means = (total[edges[1:]] - total[edges[:-1]]) / np.maximum(np.diff(edges), 1)[:, None]
    windows = np.lib.stride_tricks.sliding_window_view(means, 2 * REACH + 1, axis=0)
    return windows.reshape(clip.num_frames, -1)


def mouth_targets(clip: Clip) -> Float[np.ndarray, "T 40"]:
    """Centred mouth points in units of the crop's side; NaN where not measured."""
    mouth = clip.mouth_landmarks()[:, MOUTH].astype(np.float64) / clip.mouth_size
    mouth[clip.landmark_status != MEASURED] = np.nan
    return (mouth - mouth.mean(axis=1, keepdims=True)).reshape(len(mouth), 40)


def fit(
    features: list[Float[np.ndarray, "_ features"]],
    targets: list[Float[np.ndarray, "_ 40"]],
    speakers: list[str],
    *,
    seconds: float,
) -> LinearPredictor:
    """Fits the predictor; a fifth of the material chooses the penalty, then all of it is used.

    Args:
        features: per clip.
        targets: per clip; frames with NaN are left out.
        speakers: per clip. With four speakers or more, whole speakers are held out to choose the
            penalty, else whole clips.
        seconds: of video behind them, for the record.

    Raises:
        CorpusError: no frame has both sound and landmarks.
    """
    kept = [np.isfinite(y).all(axis=1) for y in targets]
    x = [a[k] for a, k in zip(features, kept, strict=True)]
    y = [b[k] for b, k in zip(targets, kept, strict=True)]
    if not sum(map(len, x)):
        raise CorpusError("no training frame with landmarks to fit a regression on")
    names = sorted(set(speakers))
    groups = [names.index(s) for s in speakers] if len(names) >= 4 else list(range(len(x)))
    every = min(5, max(2, len(set(groups))))
    checks = [i for i, group in enumerate(groups) if group % every == every - 1 and len(x[i])]
    rest = [i for i in range(len(x)) if i not in checks and len(x[i])]
    penalty = 1e-1
    if checks and rest:
        inner = _Moments(np.concatenate([x[i] for i in rest]), np.concatenate([y[i] for i in rest]))
        test_x, test_y = (np.concatenate([v[i] for i in checks]) for v in (x, y))
        errors = {}
        for candidate in _PENALTIES:
            guess = (test_x - inner.mean) / inner.scale @ inner.solve(candidate) + inner.bias
            errors[candidate] = float(np.mean(np.square(guess - test_y)))
        penalty = min(errors, key=errors.__getitem__)
    whole = _Moments(np.concatenate(x), np.concatenate(y))
    weights = whole.solve(penalty)
    return LinearPredictor(weights, whole.bias, whole.mean, whole.scale, penalty, seconds)


class _Moments:
    """Second moments of standardised features, from which any penalty is solved at once."""

    def __init__(self, x: np.ndarray, y: np.ndarray):
        self.mean, self.scale = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-3)
        self.bias = y.mean(axis=0)
        x = (x - self.mean) / self.scale
        self._xx, self._xy = x.T @ x / len(x), x.T @ (y - self.bias) / len(x)

    def solve(self, penalty: float) -> np.ndarray:
        """The ridge solution for a penalty per frame."""
        return np.linalg.solve(self._xx + penalty * np.eye(len(self._xx)), self._xy)


def fit_on(clips: CheckedClips, *, max_seconds: float = MAX_SECONDS) -> LinearPredictor:
    """Fits on at most ten minutes of a split, clips spread over all of it, and caches the fit.

    Args:
        clips: of the split; the fit is kept in the corpus's folder `fits/` if that can be
            written and all clips could be used.
        max_seconds: of video to use.

    Returns:
        The predictor; the same for the same corpus, whether cached or not.

    Raises:
        CorpusError: too many clips cannot be used, or none has landmarks.
    """
    corpus, split, index = clips.corpus, clips.split, clips.index
    chosen, seconds = sample(clips, max_seconds)
    names = [[str(index.id[i]), int(index.frames[i])] for i in chosen]
    key = json.dumps([_VERSION, dataclasses.asdict(SETTINGS), REACH, split, names, corpus.settings])
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    path = corpus.directory / "fits" / f"linear-{digest}.npz"
    if path.is_file():
        return LinearPredictor.load(path, seconds)
    features, targets, speakers = [], [], []
    for i in chosen:
        clip = clips.get(i)
        if clip is None:
            seconds -= float(index.frames[i]) / _fps(corpus)
            continue
        features.append(sound_features(clip))
        targets.append(mouth_targets(clip))
        speakers.append(clip.speaker)
    predictor = fit(features, targets, speakers, seconds=seconds)
    if len(features) == len(chosen):  # else it is not what the file's name says
        save_arrays(path, **predictor.arrays())
    return predictor


def _fps(corpus: Corpus) -> float:
    return float(corpus.settings.get("fps", 25.0))


def sample(clips: CheckedClips, max_seconds: float) -> tuple[list[int], float]:
    """Draws clips of a split, always the same ones, until they last `max_seconds`.

    Returns:
        Numbers of the clips and the seconds of video they hold.
    """
    frames, fps = clips.index.frames, _fps(clips.corpus)
    chosen: list[int] = []
    total = 0
    for i in np.random.default_rng(0).permutation(len(frames)):
        if chosen and (total + frames[i]) / fps > max_seconds:
            break
        chosen.append(int(i))
        total += int(frames[i])
    return chosen, total / fps


def save_arrays(path: Path, **arrays: Any) -> None:
    """Writes arrays for a later run, whole or not at all; a folder that is read-only is fine."""
    try:
        path.parent.mkdir(exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp.npz")
        np.savez(temporary, **arrays)
        os.replace(temporary, path)
    except OSError:
        return
