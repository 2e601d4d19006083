# SPDX-License-Identifier: Apache-2.0
"""Following one face through a video: which face, where it is lost, where the picture cuts.

Knows nothing of how faces are found; a backend (see `faces.py`) does that.
"""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int32, UInt8

from lipjax.media import crops
from lipjax.media.cuts import CutFinder
from lipjax.media.landmark_status import INTERPOLATED, MEASURED, MISSING

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels."""

BOX_SIDE = 2.9
"""Side of the detector's box in units of the landmarks' root mean square radius."""
BOX_RISE = 0.036
"""How far the box's centre lies above the landmarks' mean, in sides of the box.

Both are medians over dlib's detections on faces of several people.
"""
SEARCH_EVERY = 25
"""Frames after which the whole picture is searched again though a face is followed."""
SEARCH_ON = 10
"""Frames for which a lost face is searched in every picture."""
MAX_GAP = 5
"""Longest run of frames without a face that is interpolated."""
MAX_FACES = 4
"""Faces that are followed at once."""


@dataclasses.dataclass(frozen=True)
class Face:
    """A face in one picture.

    Attributes:
        landmarks: 68 points (x, y) in pixels.
        box: the square around the inner face, where dlib's detector would put it.
        score: the detector's confidence; about 0 to 3 for dlib, 1 where none is known.
    """

    landmarks: Float32[np.ndarray, "68 2"]
    box: Box
    score: float


Backend = Callable[[UInt8[np.ndarray, "H W 3"], int, Box | None], list[Face]]
"""(picture, source frame number, box) -> faces: all of them, or with a box the one near it."""


@dataclasses.dataclass(frozen=True)
class Track:
    """One face through a video.

    Attributes:
        landmarks: 68 points in source pixels; NaN where missing.
        status: MISSING, MEASURED or INTERPOLATED per frame.
        faces: how many faces were seen in each frame.
        cuts: frames that start a new shot or another face.
        source_index: number of each frame among the source's decoded frames.
        source_time: presentation time of each frame in seconds.
        width: width of the pictures in pixels, 0 if there were none.
        height: height of the pictures in pixels, 0 if there were none.
    """

    landmarks: Float32[np.ndarray, "T 68 2"]
    status: UInt8[np.ndarray, "T"]
    faces: Int32[np.ndarray, "T"]
    cuts: tuple[int, ...]
    source_index: Int32[np.ndarray, "T"]
    source_time: Float64[np.ndarray, "T"]
    width: int
    height: int


def box_of_landmarks(landmarks: Float[np.ndarray, "68 2"]) -> Box:
    """Returns the box that dlib's detector would give for these landmarks."""
    points = landmarks.astype(np.float64)
    x, y = points.mean(axis=0)
    spread = np.sqrt(np.mean(np.sum((points - [x, y]) ** 2, axis=1)))
    side = BOX_SIDE * spread
    half, y = side / 2, y - BOX_RISE * side
    return (float(x - half), float(y - half), float(x + half), float(y + half))


def overlap(a: Box, b: Box) -> float:
    """Returns the area that two boxes share, as a fraction of the area they cover together."""
    wide, high = (max(0.0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1))
    both = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return wide * high / max(both - wide * high, 1e-9)


def plausible(before: Float[np.ndarray, "68 2"], after: Float[np.ndarray, "68 2"]) -> bool:
    """Says whether a face can change from one shape to the other within one frame."""
    moved = crops.similarity(before, after)
    scale = np.hypot(*moved[:, 0])
    box = box_of_landmarks(after)
    size = box[2] - box[0]
    rest = np.sqrt(np.mean(np.sum((crops.apply(moved, before) - after) ** 2, axis=1)))
    shift = np.linalg.norm(after.mean(axis=0) - before.mean(axis=0))
    return bool(0.75 < scale < 1.33 and rest < 0.08 * size and shift < 0.35 * size)


class _Candidate:
    """A face that is followed: its landmarks per frame, and whether it is in sight."""

    def __init__(self) -> None:
        self.landmarks: dict[int, np.ndarray] = {}
        self.box: Box = (0.0, 0.0, 0.0, 0.0)
        self.in_sight = True

    def add(self, frame: int, face: Face) -> None:
        self.landmarks[frame] = face.landmarks
        self.box = box_of_landmarks(face.landmarks)
        self.in_sight = True

    @property
    def weight(self) -> float:
        """Width summed over frames: large and steady faces weigh most."""
        return sum(float(np.ptp(points[:, 0])) for points in self.landmarks.values())


class _Shot:
    """The faces between two cuts."""

    def __init__(self) -> None:
        self.candidates: list[_Candidate] = []
        self.search_until = 0

    def see(self, frame: int, image: np.ndarray, source_index: int, backend: Backend) -> int:
        """Follows and searches faces in one frame; returns how many it saw."""
        for one in [c for c in self.candidates if c.in_sight]:
            found = backend(image, source_index, one.box)
            face = max(found, key=lambda f: overlap(f.box, one.box), default=None)
            last = next(reversed(one.landmarks.values()))
            if face is not None and plausible(last, face.landmarks):
                one.add(frame, face)
            else:
                one.in_sight = False
                self.search_until = frame + SEARCH_ON
        followed = sum(c.in_sight for c in self.candidates)
        if followed and frame % SEARCH_EVERY and frame >= self.search_until:
            return followed
        found = sorted(backend(image, source_index, None), key=lambda f: f.box[0] - f.box[2])
        for face in found[:MAX_FACES]:
            known = max(self.candidates, key=lambda c: overlap(c.box, face.box), default=None)
            if known is None or overlap(known.box, face.box) < 0.3:
                known = _Candidate()
                self.candidates.append(known)
            if frame not in known.landmarks:
                known.add(frame, face)
        return max(len(found), sum(c.in_sight for c in self.candidates))

    def chosen(self) -> list[dict[int, np.ndarray]]:
        """The heaviest face, then others outside its span, in order of time."""
        spans: list[tuple[int, int, dict[int, np.ndarray]]] = []
        for one in sorted(self.candidates, key=lambda c: -c.weight):
            first, last = min(one.landmarks), max(one.landmarks)
            if all(last < a or first > b for a, b, _ in spans):
                spans.append((first, last, one.landmarks))
        return [landmarks for _, _, landmarks in sorted(spans, key=lambda span: span[0])]


def track(frames: Iterable[Any], backend: Backend) -> Track:
    """Follows the larger, steadier face through a video.

    After a first detection each frame's face is fitted near the one before; the whole picture
    is searched again every second, when the face is lost, and after a cut. Of several faces
    the one with the greatest width summed over its frames is taken, in each shot. Gaps of at
    most 5 frames within a shot are interpolated.

    Args:
        frames: (image, source_index, source_time) in order of time, images uint8 [H, W, 3].
        backend: finds faces.

    Returns:
        The track, one entry per frame.
    """
    shots, starts, counts, indices, times = [_Shot()], [0], [], [], []
    is_cut, width, height = CutFinder(), 0, 0
    for number, (image, source_index, source_time) in enumerate(frames):
        cut, back = is_cut(image)
        if cut and back and number - starts[-1] <= MAX_GAP:
            # A flash or a few broken frames: the shot before them goes on.
            shots.pop()
            starts.pop()
        elif cut:
            shots.append(_Shot())
            starts.append(number)
        height, width = image.shape[:2]
        counts.append(shots[-1].see(number, image, source_index, backend))
        indices.append(source_index)
        times.append(source_time)
    landmarks = np.full((len(counts), 68, 2), np.nan, np.float32)
    status = np.full(len(counts), MISSING, np.uint8)
    cuts = set(starts[1:])
    for shot in shots:
        for position, chosen in enumerate(shot.chosen()):
            if position:
                cuts.add(min(chosen))
            for number, points in chosen.items():
                landmarks[number], status[number] = points, MEASURED
    seen = status == MEASURED
    for number in (np.flatnonzero(seen[1:] & seen[:-1]) + 1).tolist():
        if not plausible(landmarks[number - 1], landmarks[number]):
            cuts.add(number)
    fill_gaps(landmarks, status, cuts=tuple(sorted(cuts)))
    return Track(
        landmarks=landmarks,
        status=status,
        faces=np.array(counts, np.int32),
        cuts=tuple(sorted(cuts)),
        source_index=np.array(indices, np.int32),
        source_time=np.array(times, np.float64),
        width=width,
        height=height,
    )


def fill_gaps(
    landmarks: Float32[np.ndarray, "T 68 2"],
    status: UInt8[np.ndarray, "T"],
    *,
    cuts: tuple[int, ...] = (),
) -> None:
    """Interpolates short gaps in place, linearly, never across a cut, and flags them."""
    known: Bool[np.ndarray, " T"] = status != MISSING
    numbers = np.flatnonzero(known)
    for a, b in zip(numbers[:-1], numbers[1:], strict=True):
        if not 1 < b - a <= MAX_GAP + 1 or any(a < cut <= b for cut in cuts):
            continue
        for t in range(a + 1, b):
            part = (t - a) / (b - a)
            landmarks[t] = (1 - part) * landmarks[a] + part * landmarks[b]
            status[t] = INTERPOLATED
