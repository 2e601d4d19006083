# SPDX-License-Identifier: Apache-2.0
"""Speech of any length through a network of fixed size: chunked equals whole, frame by frame.

A window is `chunk` frames and `reach` frames of real context on each side, which are made and
thrown away. The first window starts at frame 0 and the last one ends at the last frame, moved
back so that it has the same shape: the network then sees its own zero padding exactly where one
pass over the whole clip would see it, and is compiled once. A clip shorter than a window is one
pass. A system without reach gets its windows side by side, its carry handed on, the last one
filled up with silence and cut.
"""

import functools
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from lipjax.errors import ConfigError, MediaError
from lipjax.speakers.contract import Speaker

SILENCE = -1.0
"""The sound feature's value at its floor; stands before the sound begins and after it ends."""


@functools.partial(jax.jit, static_argnums=0)
def _begin(speaker, params, target):
    return speaker.begin(params, target)


@functools.partial(jax.jit, static_argnums=0)
def _step(speaker, params, carry, sound, target_chunk):
    return speaker.step(params, carry, sound, target_chunk)


class Chunks:
    """Takes columns of the sound feature as they come and returns the frames that are ready.

    Memory does not grow with the length of the sound.
    """

    def __init__(
        self,
        speaker: Speaker,
        params: Any,
        target: Float[np.ndarray, "B N H W 3"],
        *,
        target_frames: Iterable[Float[np.ndarray, "B H W 3"]] | None = None,
        before: Float[np.ndarray, "B C F"] | None = None,
        chunk: int | None = None,
    ) -> None:
        """Begins a talk.

        Args:
            speaker: the system.
            params: its parameters and statistics.
            target: aligned mouth crops of whom to animate, in [-1, 1]; N = 1 for a picture.
            target_frames: the crop of the target at each frame, drawn on as needed, the last
                one repeated when they run out; without it a speaker that needs them gets
                `target` over and over.
            before: columns of real sound before the first frame; silence without them.
            chunk: frames per step instead of the speaker's own: fewer come sooner and cost more.

        Raises:
            ConfigError: `chunk` is less than 1.
        """
        if chunk is not None and chunk < 1:
            raise ConfigError(f"chunk={chunk} frames per step; at least 1")
        needs = speaker.needs
        self._speaker, self._params, self._needs = speaker, params, needs
        # A window must start where a column starts, or it would hear other columns.
        self._grid = needs.columns_per_frame.denominator
        self._chunk = -(-(chunk or needs.chunk) // self._grid) * self._grid
        self._window = self._chunk + 2 * needs.reach
        self._carry = _begin(speaker, params, np.asarray(target, np.float32))
        self._target_frames: Iterator[Any] | None = None
        if needs.target != "picture":
            loop = itertools.cycle(np.moveaxis(np.asarray(target), 1, 0))
            self._target_frames = iter(loop if target_frames is None else target_frames)
        self._target_buffer: list[Any] = []
        self._origin = 0  # frame at which the buffers begin
        self._start = 0  # frame at which the next window begins
        self._done = 0  # frames returned
        self._received = 0  # columns pushed
        lead = -needs.columns_in(-needs.sound_context)
        columns = np.full((target.shape[0], lead, needs.log_mel.bands), SILENCE, np.float32)
        if before is not None and lead and before.shape[1]:
            columns[:, -before.shape[1] :] = before[:, -lead:]
        self._columns = columns

    @property
    def lookahead(self) -> int:
        """Frames of sound, counted from its own start, that any frame waits for at most."""
        return self._window + self._needs.sound_context

    def push(self, log_mel: Float[np.ndarray, "B C F"]) -> list[Float[np.ndarray, "B T H W 3"]]:
        """Takes the next columns of the sound.

        Args:
            log_mel: any number of columns, following on those of the last call.

        Returns:
            The frames that became ready, in [-1, 1], in blocks; mostly none or one.
        """
        needs, ready = self._needs, []
        self._received += log_mel.shape[1]
        self._columns = np.concatenate([self._columns, log_mel.astype(np.float32)], axis=1)
        while needs.columns_in(self._end + needs.sound_context) <= self._received:
            ready.append(self._run(self._start, self._end, self._end - needs.reach))
        return ready

    def finish(self, frames: int | None = None) -> list[Float[np.ndarray, "B T H W 3"]]:
        """Ends the talk.

        Args:
            frames: its length; as many as the columns cover by default. Columns beyond them
                are heard as sound context.

        Returns:
            The remaining frames in blocks, so that there are `frames` of them with those that
            `push` returned.
        """
        needs, ready = self._needs, []
        frames = needs.frames_in(self._received) if frames is None else frames
        tail = needs.columns_in(frames + self._window + needs.sound_context) - self._received
        padding = ((0, 0), (0, max(0, tail)), (0, 0))
        self._columns = np.pad(self._columns, padding, constant_values=SILENCE)
        while self._done < frames:
            if needs.reach == 0:
                ready.append(self._run(self._start, self._end, min(self._end, frames)))
            elif self._end < frames:
                ready.append(self._run(self._start, self._end, self._end - needs.reach))
            else:
                start = max(0, frames - self._window) // self._grid * self._grid
                ready.append(self._run(start, frames, frames))
        return ready

    @property
    def _end(self) -> int:
        return self._start + self._window

    def _run(self, start: int, stop: int, keep_to: int) -> Float[np.ndarray, "B T H W 3"]:
        """Makes frames start..stop-1 and returns those not yet returned, up to `keep_to`."""
        needs = self._needs
        first = needs.columns_in(start - self._origin)
        count = needs.columns_in(stop - start + 2 * needs.sound_context)
        sound = self._columns[:, first : first + count]
        targets = self._targets(start, stop)
        frames, carry = _step(self._speaker, self._params, self._carry, sound, targets)
        kept = np.asarray(frames, np.float32)[:, self._done - start : keep_to - start]
        self._done = keep_to
        self._start = keep_to - needs.reach
        if needs.reach == 0:
            self._carry, start = carry, self._start
        # The last window may have to begin as early as this one did, so its start is kept.
        self._columns = self._columns[:, needs.columns_in(start - self._origin) :]
        self._target_buffer = self._target_buffer[start - self._origin :]
        self._origin = start
        return kept

    def _targets(self, start: int, stop: int) -> Float[np.ndarray, "B T H W 3"] | None:
        """The target's crops at frames start..stop-1."""
        if self._target_frames is None:
            return None
        buffer = self._target_buffer
        while len(buffer) < stop - self._origin:
            crop = next(self._target_frames, buffer[-1] if buffer else None)
            if crop is None:
                raise MediaError("the video to paint into has no frames")
            buffer.append(np.asarray(crop, np.float32))
        return np.stack(buffer[start - self._origin : stop - self._origin], axis=1)


def speak(
    speaker: Speaker,
    params: Any,
    target: Float[np.ndarray, "B N H W 3"],
    log_mel: Float[np.ndarray, "B C F"],
    *,
    surplus: int = 0,
    target_frames: Iterable[Float[np.ndarray, "B H W 3"]] | None = None,
    chunk: int | None = None,
) -> Float[np.ndarray, "B T H W 3"]:
    """Makes the frames of a whole clip, window by window.

    Args:
        speaker: the system.
        params: its parameters and statistics.
        target: whom to animate, crops in [-1, 1].
        log_mel: columns of the sound feature.
        surplus: frames of real sound that `log_mel` holds on each side beyond those to make.
        target_frames: as for `Chunks`.
        chunk: frames per step instead of the speaker's own.

    Returns:
        The frames in [-1, 1]: those of one pass over the clip, to rounding.

    Example:
        >>> model = lipjax.load()
        >>> picture = np.zeros((1, 1, 64, 64, 3), np.float32)
        >>> sound = np.full((1, 32, 128), -1, np.float32)  # 8 frames of silence
        >>> lipjax.speak(model.speaker, model.params, picture, sound).shape
        (1, 8, 64, 64, 3)
    """
    needs = speaker.needs
    frames = needs.frames_in(log_mel.shape[1]) - 2 * surplus
    first = needs.columns_in(surplus)
    last = needs.columns_in(surplus + frames + min(surplus, needs.sound_context))
    chunks = Chunks(
        speaker,
        params,
        target,
        target_frames=target_frames,
        before=log_mel[:, :first],
        chunk=chunk,
    )
    block = needs.columns_in(64)
    made = []
    for start in range(first, last, block):
        made += chunks.push(log_mel[:, start : min(start + block, last)])
    made += chunks.finish(frames)
    if not made:
        return np.zeros((len(target), 0, *target.shape[2:]), np.float32)
    return np.concatenate(made, axis=1)
