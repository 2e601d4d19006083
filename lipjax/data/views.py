# SPDX-License-Identifier: Apache-2.0
"""What a task asks of a clip: views, and how they are cut out of a prepared clip.

A task declares its inputs as a table, name -> `View`. A view says which stream, how many frames,
at which offset from the anchor, and where the anchor lies: this window, another time of this
clip, another clip of this speaker, another clip.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float, Float32, Shaped, UInt8

from lipjax.data import faults
from lipjax.data.faults import ClipFault
from lipjax.data.schema import MISSING, Clip
from lipjax.errors import ConfigError, nearest
from lipjax.media.audio import LogMel, Sound, level_gain
from lipjax.media.log_mel import columns, log_mel_of

DERIVED = ("flow",)  # streams that are read from a side corpus of that name
STREAMS = ("mouth", "log_mel", "landmarks", "frames", *DERIVED)
PLACES = ("window", "same_clip", "same_speaker", "other_clip")
_MARGIN_SECONDS = 0.6  # sound kept around a clip, so that views may look beyond its ends


@dataclasses.dataclass(frozen=True)
class View:
    """One input of a task.

    Attributes:
        stream: "mouth" (uint8 length S S 3), "log_mel" (float32 columns bands), "landmarks"
            (float32 length 68 2, pixels of the mouth crop), "frames" (uint8 length H H 3) or
            "flow" (float32 length S S 2, pixels of the mouth crop; map t leads to frame t + 1).
        length: in video frames; sound views hold the columns of that many frames, flow views
            that many maps.
        offset: video frames from the anchor to the view's first frame.
        where: the anchor is the start of "window", of another time of the "same_clip", of
            another clip of the "same_speaker" (another time of this clip if there is none), or
            of any "other_clip".
        draw: views with equal `where` and `draw` share one drawn anchor.

    Example:
        >>> lipjax.View("mouth", 16)
        View(stream='mouth', length=16, offset=0, where='window', draw=0)
        >>> another_sound = lipjax.View("log_mel", 16, where="other_clip")
    """

    stream: str
    length: int
    _: dataclasses.KW_ONLY
    offset: int = 0
    where: str = "window"
    draw: int = 0

    def __post_init__(self) -> None:
        if self.stream not in STREAMS:
            raise ConfigError(f"view of {self.stream!r}{nearest(self.stream, STREAMS)}")
        if self.where not in PLACES:
            raise ConfigError(f"view from {self.where!r}{nearest(self.where, PLACES)}")
        if self.length < 1:
            raise ConfigError(f"view of {self.stream!r} with length {self.length}; at least 1")

    @property
    def frames(self) -> int:
        """Frames that it is made from; the last map of a flow view leads to one more."""
        return self.length + (self.stream == "flow")


@dataclasses.dataclass(frozen=True)
class Streams:
    """Settings of the streams: what a clip is turned into before views are cut.

    Attributes:
        mouth_size: side of mouth crops in pixels.
        log_mel: settings of the sound feature.
        fps: frames per second that the task expects.
        frames_size: side of the context frames in pixels.

    Example:
        >>> streams = lipjax.Streams(mouth_size=64, log_mel=lipjax.LogMel())
        >>> streams.fps, streams.frames_size
        (25.0, 256)
    """

    mouth_size: int
    log_mel: LogMel
    _: dataclasses.KW_ONLY
    fps: float = 25.0
    frames_size: int = 256


def clip_log_mel(clip: Clip, settings: LogMel) -> Float32[np.ndarray, "C F"]:
    """Computes the sound feature of a whole clip, speech brought to the settings' level.

    Args:
        clip: a prepared clip.
        settings: of the feature.

    Returns:
        Columns from 0.6 s before the clip's time 0 to 0.6 s after its end: real sound where the
        clip has it, silence elsewhere. `cut_log_mel` addresses it by time.

    Raises:
        ConfigError: the corpus's sound has a lower rate than the settings ask for.
    """
    if settings.rate > clip.sound_rate:
        raise ConfigError(
            f"clip {clip.id}: sound at {clip.sound_rate} Hz, the config asks for {settings.rate}; "
            "set data.log_mel.rate to the corpus's rate or below"
        )
    sound = Sound(clip.sound, clip.sound_rate, clip.sound_start)
    gain = level_gain(clip.sound_level, settings)
    end = clip.num_frames / clip.fps + _MARGIN_SECONDS
    return log_mel_of(sound.between(-_MARGIN_SECONDS, end), sound.rate, settings, gain=gain)


def columns_of(frames: int, streams: Streams) -> int:
    """Returns how many columns `clip_log_mel` makes at most of a clip of so many frames."""
    seconds = frames / streams.fps + 2 * _MARGIN_SECONDS
    return math.ceil(seconds * streams.log_mel.columns_per_second) + 2


def cut_log_mel(
    feature: Float32[np.ndarray, "C F"], start: float, stop: float, settings: LogMel
) -> Float32[np.ndarray, "n F"]:
    """Returns the columns of `clip_log_mel` between two times (s) on the clip's clock."""
    return columns(feature, start + _MARGIN_SECONDS, stop + _MARGIN_SECONDS, settings)


def resize(images: UInt8[np.ndarray, "T h w 3"], size: int) -> UInt8[np.ndarray, "T S S 3"]:
    """Resizes square pictures, averaging over areas when they shrink."""
    if images.shape[1:3] == (size, size):
        return images
    import cv2

    shrinks = size < images.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.stack([cv2.resize(image, (size, size), interpolation=method) for image in images])


def resize_flow(flow: Float[np.ndarray, "n h w 2"], size: int) -> Float32[np.ndarray, "n S S 2"]:
    """Brings square flow maps to another grid, displacements in pixels of that grid."""
    import cv2

    method = cv2.INTER_AREA if size < flow.shape[1] else cv2.INTER_LINEAR
    resized = np.zeros((len(flow), size, size, 2), np.float32)
    for t, flow_map in enumerate(flow.astype(np.float32)):
        resized[t] = cv2.resize(flow_map, (size, size), interpolation=method)
    return resized * np.float32(size / flow.shape[1])


class ClipViews:
    """A clip's streams at the settings asked for, each computed once, when first needed.

    Args:
        clip: the prepared clip.
        streams: settings.
        derived: name -> function that reads what was derived from the clip.

    Raises:
        ClipFault: the clip does not fit itself.
        ConfigError: it has another number of frames per second.
    """

    def __init__(
        self,
        clip: Clip,
        streams: Streams,
        derived: Mapping[str, Callable[[], np.ndarray]] | None = None,
    ):
        faults.check_clip(clip)
        if abs(clip.fps - streams.fps) > 1e-6:
            raise ConfigError(
                f"clip {clip.id} has {clip.fps} frames per second, the config asks for "
                f"{streams.fps}; prepare the corpus again with that rate"
            )
        self._clip = clip
        self._streams = streams
        self._derived = derived or {}
        self._made: dict[str, np.ndarray] = {}

    @property
    def clip(self) -> Clip:
        """The clip itself."""
        return self._clip

    @property
    def num_frames(self) -> int:
        """Frames of the clip."""
        return self.clip.num_frames

    @property
    def nbytes(self) -> int:
        """Bytes held by the streams made so far and by the clip."""
        arrays = (self.clip.mouth, self.clip.frames, self.clip.sound, *self._made.values())
        return sum(array.nbytes for array in arrays)

    def stream(self, name: str) -> Shaped[np.ndarray, "..."]:
        """Returns the whole stream of that name (not "frames", which are decoded singly)."""
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def _make(self, name: str) -> np.ndarray:
        size = self._streams.mouth_size
        if name == "mouth":
            return resize(self.clip.mouth, size)
        if name == "landmarks":
            scale = size / self.clip.mouth_size
            return ((self.clip.mouth_landmarks() + 0.5) * scale - 0.5).astype(np.float32)
        if name == "flow":
            flow = self._derived["flow"]()
            self._check_flow(flow)
            return flow if flow.shape[1] == size else resize_flow(flow, size)
        faults.check_sound(self.clip)
        return self._finite(clip_log_mel(self.clip, self._streams.log_mel), name)

    def _check_flow(self, flow: np.ndarray) -> None:
        if len(flow) != max(self.num_frames - 1, 0):
            told = f"clip {self.clip.id}: {len(flow)} flow maps, not its own"
            raise ClipFault(faults.OTHER_LENGTH, told)
        if flow.ndim != 4 or flow.shape[1] != flow.shape[2] or flow.shape[3] != 2 or not flow.size:
            told = f"clip {self.clip.id}: flow of shape {flow.shape}"
            raise ClipFault(faults.OTHER_LENGTH, told)
        self._finite(flow, "flow")

    def _finite(self, values: np.ndarray, name: str) -> np.ndarray:
        if not np.isfinite(values).all():
            raise ClipFault(faults.NOT_FINITE, f"clip {self.clip.id}: {name} is not finite")
        return values

    def cut(self, view: View, anchor: int) -> Shaped[np.ndarray, "n ..."]:
        """Cuts a view whose anchor is at frame `anchor`.

        Pictures outside the clip repeat its first or last frame, so that flow outside is zero;
        sound outside is silence.

        Raises:
            ClipFault: what the view needs is missing, not finite or of another length.
        """
        first = anchor + view.offset
        if view.stream == "log_mel":
            fps, settings = self._streams.fps, self._streams.log_mel
            stop = (first + view.length) / fps
            return cut_log_mel(self.stream("log_mel"), first / fps, stop, settings)
        if view.stream == "flow":
            flow, times = self.stream("flow"), np.arange(first, first + view.length)
            inside = (times >= 0) & (times < len(flow))
            cut = np.zeros((view.length, *flow.shape[1:]), np.float32)
            cut[inside] = flow[times[inside]]
            return cut
        index = np.clip(np.arange(first, first + view.length), 0, self.num_frames - 1)
        if view.stream == "frames":
            pictures = [self.clip.frame(int(t))[None] for t in index]
            return np.concatenate([resize(p, self._streams.frames_size) for p in pictures])
        if view.stream == "landmarks":
            missing = np.count_nonzero(self.clip.landmark_status[index] == MISSING)
            if missing:
                told = f"{missing} of {view.length} frames from frame {first} on have none"
                raise ClipFault(faults.NO_LANDMARKS, f"clip {self.clip.id}: {told}")
            return self._finite(self.stream("landmarks")[index], "landmarks")
        return self.stream(view.stream)[index]
