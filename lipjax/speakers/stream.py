# SPDX-License-Identifier: Apache-2.0
"""Sound samples in as they are spoken, frames out as soon as they can be known."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from lipjax.media.audio import LogMelStream
from lipjax.speakers.chunks import Chunks
from lipjax.speakers.contract import Speaker


class Stream:
    """A talk in progress: takes sound piece by piece and holds no more of it than a window.

    The frames are those of one pass over the whole sound, to rounding, the first and the last
    ones included: nothing is approximated for being live.

    Attributes:
        latency: seconds that a frame waits for sound at most, counted from the moment at which
            it is on display, without computing time and the length of the caller's own pieces.
            A player that starts this much late never has to wait. It is
            chunk + 2 reach + sound_context frames and half a transform of the sound feature;
            `chunk` is the way to make it shorter.
    """

    def __init__(
        self,
        speaker: Speaker,
        params: Any,
        target: Float[np.ndarray, "N H W 3"],
        *,
        rate: int | None = None,
        gain: float = 1.0,
        target_frames: Iterable[Float[np.ndarray, "H W 3"]] | None = None,
        chunk: int | None = None,
    ) -> None:
        """Begins a talk.

        Args:
            speaker: the system.
            params: its parameters and statistics.
            target: aligned mouth crops of whom to animate, in [-1, 1]; N = 1 for a picture.
            rate: samples per second of the sound to come; the sound feature's own by default.
            gain: factor that brings the speech to the level the network was trained at
                (`media.audio.level_gain` of its measured level).
            target_frames: the target's crop at each frame, for speakers that need video.
            chunk: frames per step instead of the speaker's own: fewer come sooner, cost more.
        """
        settings = speaker.needs.log_mel
        batched = None if target_frames is None else (crop[None] for crop in target_frames)
        self._needs, self._rate = speaker.needs, rate or settings.rate
        self._columns = LogMelStream(self._rate, settings, gain=gain)
        self._chunks = Chunks(speaker, params, target[None], target_frames=batched, chunk=chunk)
        self._received = 0
        frames, transform = self._chunks.lookahead, settings.n_fft / 2 / settings.rate
        self.latency = frames / self._needs.fps + transform

    def push(self, samples: Shaped[np.ndarray, "n"]) -> list[Float[np.ndarray, "H W 3"]]:
        """Takes the next samples.

        Args:
            samples: mono, int16 or float of full scale 1, any number of them.

        Returns:
            The frames that became ready, in [-1, 1]; mostly none, then a chunk of them.
        """
        self._received += len(samples)
        return self._frames(self._chunks.push(self._columns.push(samples)[None]))

    def finish(self, frames: int | None = None) -> list[Float[np.ndarray, "H W 3"]]:
        """Ends the sound here.

        Args:
            frames: length of the talk; by default as many frames as the sound has begun.

        Returns:
            The remaining frames, in [-1, 1]; where the sound is shorter they hear silence.
        """
        fps = self._needs.fps
        if frames is None:
            frames = math.ceil(round(self._received / self._rate * fps, 6))
        missing = max(0, math.ceil(frames / fps * self._rate) - self._received)
        made = self.push(np.zeros(missing, np.float32))
        made += self._frames(self._chunks.push(self._columns.finish()[None]))
        return made + self._frames(self._chunks.finish(frames))

    @staticmethod
    def _frames(blocks: list[np.ndarray]) -> list[Float[np.ndarray, "H W 3"]]:
        return [frame for block in blocks for frame in block[0]]


def stream(
    speaker: Speaker,
    params: Any,
    target: Float[np.ndarray, "N H W 3"],
    sound_chunks: Iterable[Shaped[np.ndarray, "_"]],
    *,
    rate: int | None = None,
    gain: float = 1.0,
    target_frames: Iterable[Float[np.ndarray, "H W 3"]] | None = None,
    chunk: int | None = None,
) -> Iterator[Float[np.ndarray, "H W 3"]]:
    """Turns sound that arrives in pieces into frames, in memory that does not grow.

    Args:
        speaker: the system.
        params: its parameters and statistics.
        target: whom to animate, crops in [-1, 1]; N = 1 for a picture.
        sound_chunks: pieces of any sizes, mono, int16 or float of full scale 1.
        rate: as for `Stream`.
        gain: as for `Stream`.
        target_frames: as for `Stream`.
        chunk: as for `Stream`, which also states the latency.

    Yields:
        One frame after another, in [-1, 1]: as many as the sound has begun.

    Example:
        >>> model = lipjax.load()
        >>> picture = np.zeros((1, 64, 64, 3), np.float32)
        >>> pieces = [np.zeros(4_000, np.float32), np.zeros(4_000, np.float32)]
        >>> talk = lipjax.stream(model.speaker, model.params, picture, pieces, rate=16_000)
        >>> len(list(talk))  # half a second
        13
    """
    talk = Stream(
        speaker, params, target, rate=rate, gain=gain, target_frames=target_frames, chunk=chunk
    )
    for samples in sound_chunks:
        yield from talk.push(samples)
    yield from talk.finish()
