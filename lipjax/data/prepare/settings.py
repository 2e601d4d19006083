# SPDX-License-Identifier: Apache-2.0
"""What decides the content of a corpus; recorded in it, and equal when it is resumed."""

import dataclasses
import math
from typing import Any

from lipjax.data.corpora import LAYOUTS
from lipjax.errors import ConfigError, CorpusError, nearest
from lipjax.media.limits import MAX_PIXELS, MAX_SECONDS

OFFSETS = ("report", "shift", "drop")
_GUARDS = ("max_video_seconds", "max_pixels", "max_worker_gb")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareSettings:
    """Settings of `prepare`.

    Attributes:
        fps: frames per second of the clips.
        mouth_size: side of the stored mouth crop in pixels.
        margin: side of the crop in units of the clip's median mouth width.
        layout: where speaker and sentence come from: "auto", "grid", "lrw", "ldc" or "folder".
        landmarks: landmark backend: "auto", "dlib", "files" or "mediapipe:FILE.task".
        offset: clips whose sound is out of step are told ("report"), put right ("shift") or
            left out ("drop").
        test_speakers: speakers held out; chosen by hash if none is named.
        max_seconds: longest clip; longer stretches are divided evenly.
        min_frames: shorter stretches are left out.
        limit_seconds: use at most so many seconds of video; None for all.
        max_video_seconds: a longer video is reported, not read. This and what follows guards
            against hostile and damaged files; it decides no clip and is not recorded.
        max_pixels: of a picture; a video of larger ones is reported, not read.
        max_worker_gb: memory that a worker process may take above what it starts with (Linux).

    Example:
        >>> settings = lipjax.PrepareSettings(mouth_size=64, test_speakers=("s3",))
        >>> settings.fps, settings.margin
        (25.0, 1.5)
    """

    fps: float = 25.0
    mouth_size: int = 96
    margin: float = 1.5
    layout: str = "auto"
    landmarks: str = "auto"
    offset: str = "report"
    test_speakers: tuple[str, ...] = ()
    max_seconds: float = 10.0
    min_frames: int = 16
    limit_seconds: float | None = None
    max_video_seconds: float = MAX_SECONDS
    max_pixels: int = MAX_PIXELS
    max_worker_gb: float = 8.0

    def __post_init__(self) -> None:
        for name, choices in (("layout", LAYOUTS), ("offset", OFFSETS)):
            value = getattr(self, name)
            if value not in choices:
                raise ConfigError(f"{name} {value!r} is unknown{nearest(value, choices)}")
        for name in ("fps", "margin", "max_seconds", "limit_seconds"):
            value = getattr(self, name)  # 25 and 25.0 are one setting
            object.__setattr__(self, name, None if value is None else float(value))
        object.__setattr__(self, "test_speakers", tuple(self.test_speakers))
        positive = ("fps", "mouth_size", "margin", "max_seconds", "min_frames", "limit_seconds")
        for name in (*positive, *_GUARDS):
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise ConfigError(f"{name} must be above 0, not {value}")
        if self.max_seconds * self.fps < self.min_frames:
            raise ConfigError(
                f"max_seconds {self.max_seconds} at {self.fps} fps is shorter than "
                f"min_frames {self.min_frames}"
            )

    def record(self, layout: str) -> dict[str, Any]:
        """Returns what the corpus keeps of the settings, JSON-like, `layout` resolved."""
        values = {k: v for k, v in dataclasses.asdict(self).items() if k not in _GUARDS}
        return {**values, "layout": layout, "test_speakers": sorted(self.test_speakers)}


def check_same(found: dict[str, Any], wanted: dict[str, Any], where: str) -> None:
    """Checks that work can go on with the settings it was begun with.

    Raises:
        CorpusError: a setting differs; the message names each.
    """
    names = [name for name in {**wanted, **found} if found.get(name) != wanted.get(name)]
    if names:
        told = ", ".join(f"{name} was {found.get(name)}, now {wanted.get(name)}" for name in names)
        raise CorpusError(
            f"{where}: made with other settings ({told}); use the same ones, another --out, "
            "or delete the folder"
        )
