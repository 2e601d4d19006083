# SPDX-License-Identifier: Apache-2.0
"""A video to dub: its face tracked, its mouth replaced, frame by frame."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8

from lipjax.data.schema import MEASURED, MISSING
from lipjax.errors import FaceNotFoundError
from lipjax.media import crops
from lipjax.media.compose import paste_mouth
from lipjax.media.faces import load_backend, track
from lipjax.media.spool import Spool
from lipjax.media.tracking import Track
from lipjax.media.video import Frame, probe, read_video
from lipjax.speakers.contract import Needs

Mouth = UInt8[np.ndarray, "S S 3"]
Tick = Callable[[int, int], None]
"""(frames done, frames in all)"""


class VideoToDub:
    """A video whose mouth is replaced; played forwards and backwards where it is too short."""

    kind = "video"

    def __init__(
        self, path: Path, needs: Needs, landmarks: str, *, frames: int, tick: Tick | None = None
    ) -> None:
        """Tracks the face through as much of the video as is needed.

        Raises:
            FaceNotFoundError: there is a face in no frame.
            MediaError: the video cannot be read.
        """
        self._path, self._needs, self._frames = path, needs, frames
        info, fps = probe(path), needs.fps
        expected = max(1, min(frames, round(info.duration * fps)))
        backend = load_backend(landmarks, video=path)

        def watched() -> Iterator[Frame]:
            source = itertools.islice(read_video(path, fps=fps), frames)
            for done, frame in enumerate(source, start=1):
                yield frame
                if tick is not None:
                    tick(done, max(expected, done))

        followed = track(watched(), backend)
        self._length = len(followed.status)
        self._tracked: Bool[np.ndarray, " V"] = followed.status != MISSING
        if not self._tracked.any():
            raise FaceNotFoundError(
                f"{path}: no face found in any of {self._length} frames; give a video in which a "
                "face looks into the camera, or landmarks beside it"
            )
        self._transforms = transforms_by_shot(followed, needs)
        chosen = identity_frame(followed)
        frame = next(itertools.islice(read_video(path, fps=fps), chosen, None))
        self.identity = crops.warp(frame.image, self._transforms[chosen], needs.mouth_size)
        self.untracked = tuple(
            number for number, at in enumerate(self._order()) if not self._tracked[at]
        )
        self.notes: tuple[str, ...] = ()
        if frames > self._length:
            seconds = self._length / fps
            self.notes += (f"the video lasts {seconds:.1f} s and is played back and forth",)
        if abs(info.fps - fps) > 0.01:
            self.notes += (f"the video's {info.fps:g} frames per second become {fps:g}",)

    def _order(self) -> Iterator[int]:
        """Which frame of the video is shown at each frame made."""
        period = max(1, 2 * (self._length - 1))
        for number in range(self._frames):
            at = number % period
            yield at if at < self._length else period - at

    def _played(self) -> Iterator[tuple[int, UInt8[np.ndarray, "H W 3"]]]:
        """(number in the video, picture) of each frame made."""
        source = itertools.islice(read_video(self._path, fps=self._needs.fps), self._length)
        if self._frames <= self._length:
            yield from ((number, frame.image) for number, frame in enumerate(source))
            return
        # Going back needs what has been decoded; it waits on disk, not in memory.
        with Spool() as spool:
            order = self._order()
            for frame in source:
                spool.append(frame.image)
                yield next(order), frame.image
            for number in order:
                yield number, spool[number]

    def crops(self) -> Iterator[Mouth]:
        """The video's own mouth at each frame, decoded apart from `paint`."""
        for number, image in self._played():
            yield crops.warp(image, self._transforms[number], self._needs.mouth_size)

    def paint(self, mouths: Iterable[Mouth]) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        """Blends each mouth into its frame; frames without a face pass through."""
        for mouth, (number, image) in zip(mouths, self._played(), strict=True):
            if self._tracked[number]:
                image = paste_mouth(image, mouth, self._transforms[number])
            yield image


def identity_frame(followed: Track) -> int:
    """Picks the frame that shows best what the mouth looks like at rest.

    Args:
        followed: a track with at least one face.

    Returns:
        Among the first ten seconds' measured frames the one whose lips' opening, in mouth
        widths, is nearest to the tenth percentile: nearly closed, and no freak of the tracker.
    """
    candidates = np.flatnonzero(followed.status == MEASURED)[:250]
    if not len(candidates):
        candidates = np.flatnonzero(followed.status != MISSING)[:250]
    points = followed.landmarks[candidates].astype(np.float64)
    opening = np.linalg.norm(points[:, 66] - points[:, 62], axis=-1)
    opening = opening / np.linalg.norm(points[:, 54] - points[:, 48], axis=-1)
    rest = np.percentile(opening, 10)
    return int(candidates[np.argmin(np.abs(opening - rest))])


def transforms_by_shot(followed: Track, needs: Needs) -> Float[np.ndarray, "V 2 3"]:
    """Source to crop for each frame; nothing is smoothed across a cut."""
    length = len(followed.status)
    transforms = np.tile(np.eye(2, 3), (length, 1, 1))
    borders = [0, *followed.cuts, length]
    for first, last in itertools.pairwise(borders):
        status = followed.status[first:last]
        if np.any(status != MISSING):
            transforms[first:last] = crops.mouth_transforms(
                followed.landmarks[first:last],
                status,
                size=needs.mouth_size,
                margin=needs.margin,
            )
    return transforms
