# SPDX-License-Identifier: Apache-2.0
"""Clips whose pixels say which clip and frame they are, and a corpus of them in memory."""

import dataclasses

import numpy as np

from lipjax.data import schema
from lipjax.data.reading import ClipIndex, Corpus, row_of
from lipjax.data.views import Streams, View
from lipjax.errors import CorpusError
from lipjax.media.audio import LogMel

LOG_MEL = LogMel(bands=40)
STREAMS = Streams(mouth_size=16, log_mel=LOG_MEL)
FRAMES = (30, 40, 25, 12)
SPEAKERS = ("anna", "anna", "ben", "ben")


def make_clip(number: int, frames: int, speaker: str) -> schema.Clip:
    """A clip whose mouth pixels are (clip, frame, 0) and whose sound is a tone per clip."""
    mouth = np.zeros((frames, 16, 16, 3), np.uint8)
    mouth[..., 0] = number
    mouth[..., 1] = np.arange(frames)[:, None, None]
    landmarks = np.zeros((frames, 68, 2), np.float32)
    landmarks[:, :, 0] = np.arange(frames)[:, None]
    time = np.arange(int(frames / 25 * 16_000)) / 16_000
    tone = 8000 * np.sin(2 * np.pi * (300 + 200 * number) * time)
    eye = np.tile(np.eye(3)[:2], (frames, 1, 1))
    return schema.Clip(
        id=f"clip{number}",
        speaker=speaker,
        sentence=str(number),
        source="",
        source_sha256="",
        fps=25.0,
        source_frames=np.arange(frames, dtype=np.int32),
        source_times=np.arange(frames) / 25,
        mouth=mouth,
        mouth_from_source=eye,
        frames=np.zeros(0, np.uint8),
        frame_offsets=np.zeros(frames + 1, np.int64),
        frames_from_source=eye[0],
        landmarks=landmarks,
        landmark_status=np.full(frames, schema.MEASURED, np.uint8),
        sound=tone.astype(np.int16),
        sound_rate=16_000,
        sound_start=0.0,
        sound_level=-15.0,
    )


@dataclasses.dataclass(frozen=True)
class MemoryCorpus(Corpus):
    """A corpus in memory; reading a clip named in `broken` fails."""

    broken: tuple[int, ...] = ()
    offset: int = 0

    def _all(self):
        return [
            make_clip(self.offset + i, n, s)
            for i, (n, s) in enumerate(zip(FRAMES, SPEAKERS, strict=True))
        ]

    def index(self, split):
        return ClipIndex.from_rows([row_of(clip) for clip in self._all()])

    def clips(self, split):
        clips, broken = self._all(), self.broken

        class Clips:
            def __getitem__(self, position):
                if position in broken:
                    raise CorpusError(f"record {position} is unreadable")
                return clips[position]

        return Clips()


SOUND = {"stream": "log_mel", "length": 16}
AT_A_GLANCE = {
    "video": View("mouth", 16),
    "log_mel": View(**SOUND),
    "identity": View("mouth", 1, where="same_clip"),
    "wrong_video": View("mouth", 16, where="other_clip"),
    "wrong_log_mel": View(**SOUND, where="other_clip"),
}
