# SPDX-License-Identifier: Apache-2.0
"""What a prepared clip holds: the contract between prepare and everything that reads a corpus.

Clocks: a clip's time 0 is the moment its first frame slot begins. Frame n is the picture on
display at (n + 1/2) / fps. Sound is addressed on the same clock; sample i covers
[sound_start + i / sound_rate, sound_start + (i + 1) / sound_rate).

Pixels: the centre of pixel (0, 0) is (0, 0). Transforms are 2x3, source to crop.
"""

import dataclasses
import json
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Float64, Int16, Int32, Int64, UInt8

from lipjax.errors import CorpusError
from lipjax.media.image import decode_jpeg
from lipjax.media.landmark_status import INTERPOLATED, MEASURED, MISSING
from lipjax.media.limits import MAX_SOURCE_RATE, MIN_SOURCE_RATE

__all__ = [
    "INTERPOLATED",
    "MEASURED",
    "MISSING",
    "SCHEMA_VERSION",
    "Clip",
    "Span",
    "decode",
    "encode",
    "features",
]

SCHEMA_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Span:
    """A word or phone: `kind` is "word" or "phone", times in seconds on the clip's clock."""

    kind: str
    text: str
    start: float
    end: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clip:
    """One prepared clip: aligned mouth, context frames, landmarks and sound on one clock.

    Attributes:
        id: unique in its corpus; safe as a file name.
        speaker: name of the speaker, "" if unknown.
        sentence: what is said, "" if unknown; equal text means equal sentence.
        source: path of the video relative to the prepared folder, with forward slashes.
        source_sha256: hex digest of the source file.
        fps: frame slots per second.
        source_frames: index of each frame among the source's decoded frames.
        source_times: presentation time of each frame in the source, seconds.
        mouth: aligned crops, one scale per clip, RGB.
        mouth_from_source: transforms, source pixels to crop pixels.
        frames: JPEG files of the source inside one fixed box, one after another.
        frame_offsets: frame t is `frames[frame_offsets[t]:frame_offsets[t + 1]]`.
        frames_from_source: transform, source pixels to pixels of `frames`.
        landmarks: 68 points (x, y) in source pixels; NaN where missing.
        landmark_status: MISSING, MEASURED or INTERPOLATED per frame.
        sound: mono samples at source rate (up to 48 kHz), with real sound around the clip
            where the source has it.
        sound_rate: samples per second.
        sound_start: time of the first sample on the clip's clock, seconds (<= 0 as a rule).
        sound_level: level of the speech in dB of full scale; -inf for silence.
        spans: words and phones where known.
        lag: video frames by which the sound comes late (negative: early), NaN if unknown.
        lag_correlation: height of the correlation peak behind `lag`.
    """

    id: str
    speaker: str
    sentence: str
    source: str
    source_sha256: str
    fps: float
    source_frames: Int32[np.ndarray, "T"]
    source_times: Float64[np.ndarray, "T"]
    mouth: UInt8[np.ndarray, "T S S 3"]
    mouth_from_source: Float64[np.ndarray, "T 2 3"]
    frames: UInt8[np.ndarray, "bytes"]
    frame_offsets: Int64[np.ndarray, "T+1"]
    frames_from_source: Float64[np.ndarray, "2 3"]
    landmarks: Float32[np.ndarray, "T 68 2"]
    landmark_status: UInt8[np.ndarray, "T"]
    sound: Int16[np.ndarray, "samples"]
    sound_rate: int
    sound_start: float
    sound_level: float
    spans: tuple[Span, ...] = ()
    lag: float = float("nan")
    lag_correlation: float = float("nan")

    @property
    def num_frames(self) -> int:
        """Frames of the clip."""
        return len(self.mouth)

    @property
    def mouth_size(self) -> int:
        """Side of the stored mouth crop in pixels."""
        return int(self.mouth.shape[1])

    def frame(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        """Decodes one context frame: the source inside the clip's fixed box, RGB.

        Raises:
            CorpusError: it is damaged.
        """
        start, stop = self.frame_offsets[index], self.frame_offsets[index + 1]
        try:
            return decode_jpeg(self.frames[start:stop].tobytes())
        except ValueError as error:
            raise CorpusError(f"clip {self.id}: frame {index} is damaged ({error})") from error

    def mouth_landmarks(self) -> Float32[np.ndarray, "T 68 2"]:
        """The landmarks in pixels of the mouth crop, (x, y), NaN where missing."""
        linear, shift = self.mouth_from_source[..., :2], self.mouth_from_source[..., 2]
        moved = np.einsum("tij,tpj->tpi", linear, self.landmarks.astype(np.float64))
        return (moved + shift[:, None]).astype(np.float32)

    def mouth_width(self) -> float:
        """Median distance of the mouth corners in source pixels over frames with landmarks."""
        corners = self.landmarks[self.landmark_status != MISSING][:, [48, 54]]
        if not len(corners):
            return float("nan")
        return float(np.median(np.linalg.norm(corners[:, 0] - corners[:, 1], axis=-1)))

    def mouth_from_frames(self) -> Float[np.ndarray, "T 2 3"]:
        """Transforms from pixels of `frame(t)` to pixels of the mouth crop t."""
        full = np.vstack([self.frames_from_source, [0.0, 0.0, 1.0]])
        return self.mouth_from_source @ np.linalg.inv(full)


_TEXTS = ("id", "speaker", "sentence", "source", "source_sha256")
_SCALARS: dict[str, type[np.float64 | np.int64]] = {
    "fps": np.float64,
    "sound_rate": np.int64,
    "sound_start": np.float64,
    "sound_level": np.float64,
    "lag": np.float64,
    "lag_correlation": np.float64,
}
_ARRAYS = {
    "source_frames": ((None,), np.int32),
    "source_times": ((None,), np.float64),
    "mouth": ((None, None, None, 3), np.uint8),
    "mouth_from_source": ((None, 2, 3), np.float64),
    "frames": ((None,), np.uint8),
    "frame_offsets": ((None,), np.int64),
    "frames_from_source": ((2, 3), np.float64),
    "landmarks": ((None, 68, 2), np.float32),
    "landmark_status": ((None,), np.uint8),
    "sound": ((None,), np.int16),
}


def features() -> Any:
    """Returns the `tfds.features.FeaturesDict` of a clip, byte-encoded, for ArrayRecord."""
    import tensorflow_datasets as tfds

    tensors = {
        name: tfds.features.Tensor(shape=shape, dtype=dtype, encoding="bytes")
        for name, (shape, dtype) in _ARRAYS.items()
    }
    scalars = {name: tfds.features.Scalar(dtype=dtype) for name, dtype in _SCALARS.items()}
    texts = {name: tfds.features.Text() for name in (*_TEXTS, "spans")}
    return tfds.features.FeaturesDict({**texts, **scalars, **tensors})


def encode(clip: Clip) -> dict[str, Any]:
    """Returns the example that TFDS writes for a clip; `decode` is its inverse."""
    example: dict[str, Any] = {name: getattr(clip, name) for name in (*_TEXTS, *_ARRAYS)}
    example.update({name: dtype(getattr(clip, name)) for name, dtype in _SCALARS.items()})
    example["spans"] = json.dumps([dataclasses.astuple(span) for span in clip.spans])
    return example


def decode(example: dict[str, Any]) -> Clip:
    """Returns the clip of an example as read from a TFDS data source."""

    def text(name: str) -> str:
        value = example[name]
        return value.decode("utf-8") if isinstance(value, bytes) else str(value)

    fields: dict[str, Any] = {name: text(name) for name in _TEXTS}
    fields.update({name: np.asarray(example[name], dt) for name, (_, dt) in _ARRAYS.items()})
    fields.update({name: dt(example[name]).item() for name, dt in _SCALARS.items()})
    fields["spans"] = tuple(Span(*span) for span in json.loads(text("spans")))
    # A rate of 1 would make gigabytes of sound of a kilobyte, once it is resampled.
    if not MIN_SOURCE_RATE <= fields["sound_rate"] <= MAX_SOURCE_RATE:
        raise ValueError(f"sound of {fields['sound_rate']} samples per second")
    if not (0.1 <= fields["fps"] <= 1000 and abs(fields["sound_start"]) < 1e6):
        raise ValueError(f"{fields['fps']} frames per second, sound at {fields['sound_start']} s")
    samples = len(fields["mouth"]) / fields["fps"] * fields["sound_rate"]
    if samples > 10 * len(fields["sound"]) + 10_000_000:
        raise ValueError(f"{len(fields['sound'])} samples of sound, where {samples:.0f} are due")
    return Clip(**fields)
