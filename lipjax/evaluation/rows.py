# SPDX-License-Identifier: Apache-2.0
"""The rows that keep a table honest: what the truth, a still and another mouth score.

A trained mouth has shown that it follows speech only where it beats the motionless mean mouth
on landmark distance, and where its opening follows the right sound better than a wrong one.
"""

import dataclasses
import io

import numpy as np
from jaxtyping import Bool, Float, Shaped, UInt8
from PIL import Image, ImageFilter

from lipjax.data.reading import ClipIndex
from lipjax.data.schema import MISSING, Clip
from lipjax.data.views import resize
from lipjax.media.audio import Sound, to_float
from lipjax.metrics.landmarks import MOUTH

TRUTH = "ground truth"
TRUTH_AGAIN = "ground truth again (noise floor)"
MEAN_MOUTH = "motionless mean mouth"
STILL = "still picture"
MISMATCHED = "another sentence's mouth"
LINEAR = "linear predictor"
LINEAR_ON_PICTURE = "linear predictor, mouth of the picture's clip"
LINEAR_WRONG = "linear predictor, wrong sound"
MODEL = "model"
MODEL_WRONG = "model, wrong sound"
MODEL_ON_MEAN = "model's motion on the mean mouth"
ROWS = (
    *(TRUTH, TRUTH_AGAIN, MEAN_MOUTH, STILL, MISMATCHED),
    *(LINEAR, LINEAR_ON_PICTURE, LINEAR_WRONG, MODEL_ON_MEAN, MODEL, MODEL_WRONG),
)
"""All rows in the order of the table."""

_SILENT_WORDS = frozenset({"", "sil", "sp", "spn", "<sil>", "silence"})


def degraded(mouths: UInt8[np.ndarray, "T S S 3"]) -> UInt8[np.ndarray, "T S S 3"]:
    """The truth once more, as hard to read as a good copy: what no reader can tell apart.

    A 64-pixel round trip (skipped at 64 pixels and below), a half-pixel shift, a light blur and
    JPEG at quality 75, in this order.
    """
    return np.stack([_degrade(mouth) for mouth in mouths])


def _degrade(mouth: UInt8[np.ndarray, "S S 3"]) -> UInt8[np.ndarray, "S S 3"]:
    size = mouth.shape[0]
    picture = Image.fromarray(mouth)
    if size > 64:
        small = picture.resize((64, 64), Image.Resampling.BICUBIC)
        picture = small.resize((size, size), Image.Resampling.BICUBIC)
    half = (1, 0, 0.5, 0, 1, 0)
    picture = picture.transform(
        picture.size, Image.Transform.AFFINE, half, Image.Resampling.BILINEAR
    )
    # Pillow leaves black where the shifted picture sees beyond its last column.
    column = np.asarray(picture).copy()
    column[:, -1] = mouth[:, -1]
    buffer = io.BytesIO()
    blurred = Image.fromarray(column).filter(ImageFilter.GaussianBlur(0.5))
    blurred.save(buffer, "JPEG", quality=75)
    return np.asarray(Image.open(buffer).convert("RGB"))


def held(picture: UInt8[np.ndarray, "S S 3"], frames: int) -> UInt8[np.ndarray, "T S S 3"]:
    """One picture, held still."""
    return np.repeat(picture[None], frames, axis=0)


def of_length(mouths: Shaped[np.ndarray, "N *d"], frames: int) -> Shaped[np.ndarray, "T *d"]:
    """Cuts a sequence to a length, or begins it again until it is long enough."""
    return mouths[np.arange(frames) % len(mouths)]


def mean_mouth(
    landmarks: Float[np.ndarray, "T 68 2"], scored: Bool[np.ndarray, "T"]
) -> Float[np.ndarray, "T 68 2"]:
    """The clip's mean mouth, motionless: the mean of its centred mouth points.

    Args:
        landmarks: the true ones.
        scored: frames that go into the mean.

    Returns:
        The same mouth in every frame; points other than 48..67 are NaN.
    """
    mouth = landmarks[scored][:, MOUTH]
    centred = mouth - mouth.mean(axis=1, keepdims=True)
    still = np.full_like(landmarks, np.nan)
    still[:, MOUTH] = np.nanmean(centred, axis=0)
    return still


def mean_mouth_of(clip: Clip, size: int, frames: int) -> Float[np.ndarray, "T 68 2"]:
    """The mean mouth of another clip by its stored landmarks, motionless, in crops of a size.

    What a picture from that clip can tell at most of its speaker's mouth: with it the linear
    predictor knows no more than a model that is given the picture.
    """
    points = clip.mouth_landmarks() * np.float32(size / clip.mouth_size)
    still = mean_mouth(points, clip.landmark_status != MISSING)
    return np.repeat(still[:1], frames, axis=0)


def on_mean_mouth(
    predicted: Float[np.ndarray, "T 68 2"],
    mean: Float[np.ndarray, "T 68 2"],
    scored: Bool[np.ndarray, "T"],
) -> Float[np.ndarray, "T 68 2"]:
    """A predicted motion on the clip's own mean mouth.

    Sound does not tell the shape of a face. So the linear predictor gets the same mean mouth
    as the row `MEAN_MOUTH`, and the two differ in the motion alone. The row `MODEL_ON_MEAN` gives
    it to the model as well: what it lacks to `MODEL` is shape, what it lacks to the truth motion.

    Args:
        predicted: landmarks whose own mean over `scored` is taken off.
        mean: the clip's mean mouth (`mean_mouth`).
        scored: frames that make the mean.
    """
    found = scored & np.isfinite(predicted[:, MOUTH]).all(axis=(1, 2))
    moved = np.full_like(predicted, np.nan)
    moved[:, MOUTH] = predicted[:, MOUTH] + mean[:, MOUTH]
    if found.any():
        moved[:, MOUTH] -= predicted[found][:, MOUTH].mean(axis=0)
    return moved


def partners(index: ClipIndex, clip: int) -> list[int]:
    """The clips that may lend sound, mouth and picture: same speaker, another sentence.

    Args:
        index: of the split.
        clip: number of a clip.

    Returns:
        All other clips, the best first: of the same speaker and saying something else; of the
        same speaker; saying something else; the rest. In each group the next one, cyclically,
        comes first.
    """
    others = [(clip + step) % len(index) for step in range(1, len(index))]
    speaker, sentence = index.speaker[clip], index.sentence[clip]
    same = [i for i in others if speaker and index.speaker[i] == speaker]
    new = [i for i in others if not sentence or index.sentence[i] != sentence]
    best = [i for i in same if i in new]
    return list(dict.fromkeys([*best, *same, *new, *others]))


def identity_of(
    clip: Clip, other: Clip | None, size: int
) -> tuple[UInt8[np.ndarray, "S S 3"], int | None]:
    """The picture from which a clip is made: another clip's first frame, if it can be had.

    Args:
        clip: to be made.
        other: its partner; counts only if the speaker is known to be the same.
        size: side of the picture in pixels.

    Returns:
        The crop, and which frame of `clip` it is: None where it comes from `other`.
    """
    if other is not None and clip.speaker and other.speaker == clip.speaker:
        return resize(other.mouth[[_first_seen(other)]], size)[0], None
    first = _first_seen(clip)
    return resize(clip.mouth[[first]], size)[0], first


def _first_seen(clip: Clip) -> int:
    seen = np.flatnonzero(clip.landmark_status != MISSING)
    return int(seen[0]) if len(seen) else 0


def with_sound_of(clip: Clip, other: Clip) -> Clip:
    """The clip with another clip's sound, cut or begun again to cover it."""
    lead = 1.0  # what the other clip has before its time 0 stays, as it does for the right sound
    seconds = clip.num_frames / clip.fps
    sound = Sound(other.sound, other.sound_rate, other.sound_start)
    inside = sound.between(0.0, other.num_frames / other.fps)
    covering = of_length(inside, round((seconds + lead) * other.sound_rate))
    return dataclasses.replace(
        clip,
        sound=np.concatenate([sound.between(-lead, 0.0), covering]),
        sound_rate=other.sound_rate,
        sound_start=-lead,
        sound_level=other.sound_level,
        spans=(),
    )


def without_sound(clip: Clip) -> Clip:
    """The clip with digital silence for its sound."""
    silent = np.zeros_like(clip.sound)
    return dataclasses.replace(clip, sound=silent, sound_level=float("-inf"), spans=())


def speech_frames(clip: Clip) -> Bool[np.ndarray, "T"]:
    """The frames in which something is said: inside words where known, else by energy.

    By energy a frame counts if its sound is at most 25 dB below the clip's speech level, or if
    it lies in a gap of up to five frames (stops are silent, but spoken).
    """
    time = (np.arange(clip.num_frames) + 0.5) / clip.fps
    words = [s for s in clip.spans if s.kind == "word" and s.text.lower() not in _SILENT_WORDS]
    if words:
        return np.any([(time >= word.start) & (time < word.end) for word in words], axis=0)
    sound = Sound(clip.sound, clip.sound_rate, clip.sound_start)
    levels = []
    for t in time:
        block = to_float(sound.between(t - 0.5 / clip.fps, t + 0.5 / clip.fps))
        levels.append(10 * np.log10(np.mean(np.square(block, dtype=np.float64)) + 1e-12))
    spoken = np.array(levels) > max(clip.sound_level - 25.0, -70.0)
    inside = np.flatnonzero(spoken)
    for a, b in zip(inside[:-1], inside[1:], strict=True):
        if b - a <= 6:
            spoken[a:b] = True
    return spoken
