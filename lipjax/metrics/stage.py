# SPDX-License-Identifier: Apache-2.0
"""Reading lips off mouth crops: every row of a table is seen through the same path.

A clip's *stage* is one fixed real frame of it. Each crop, the true ones included, is pasted
into that frame and the landmarks are fitted inside the same box, so rows differ in nothing but
the mouth. No JAX here: workers import this module.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Float32, UInt8

from lipjax.data.schema import MEASURED, MISSING, Clip
from lipjax.errors import FaceNotFoundError
from lipjax.media import crops, faces
from lipjax.media.compose import paste_mouth
from lipjax.metrics.cpbd import cpbd_of_frames, luma
from lipjax.metrics.landmarks import opening

_BLOCK = 64


@dataclasses.dataclass(frozen=True)
class Stage:
    """The fixed frame into which every crop of a clip is pasted.

    Attributes:
        frame: a real frame of the clip, RGB.
        mouth_from_frame: transform, pixels of `frame` to pixels of a crop of side `size`.
        box: the face in `frame`, as dlib's detector would give it.
        size: side of the crops in pixels.
    """

    frame: UInt8[np.ndarray, "H W 3"]
    mouth_from_frame: Float[np.ndarray, "2 3"]
    box: faces.Box
    size: int


Reader = Callable[[Stage, UInt8[np.ndarray, "T S S 3"]], Float32[np.ndarray, "T 68 2"]]
"""Finds landmarks on crops, in pixels of the crop; NaN for points that it does not know."""


def rescaled(
    transform: Float[np.ndarray, "*t 2 3"], old: int, new: int
) -> Float[np.ndarray, "*t 2 3"]:
    """Makes a transform to crops of side `old` one to the same crops at side `new`."""
    scale, shift = new / old, (new / old - 1) / 2
    return transform * scale + np.array([[0.0, 0.0, shift], [0.0, 0.0, shift]])


def stage_of(clip: Clip, size: int) -> Stage:
    """Chooses a clip's fixed frame: the measured one whose mouth is nearest its usual opening.

    Args:
        clip: a prepared clip.
        size: side of the crops that will be read, in pixels.

    Returns:
        The stage.

    Raises:
        FaceNotFoundError: the clip has no landmarks.
    """
    seen = np.flatnonzero(clip.landmark_status == MEASURED)
    if not len(seen):
        seen = np.flatnonzero(clip.landmark_status != MISSING)
    if not len(seen):
        raise FaceNotFoundError(f"clip {clip.id} has no landmarks, so its lips cannot be read")
    openings = opening(clip.landmarks[seen])
    index = int(seen[np.argmin(np.abs(openings - np.median(openings)))])
    points = crops.apply(clip.frames_from_source, clip.landmarks[index].astype(np.float64))
    return Stage(
        frame=clip.frame(index),
        mouth_from_frame=rescaled(clip.mouth_from_frames()[index], clip.mouth_size, size),
        box=faces.box_of_landmarks(points),
        size=size,
    )


def read_with_dlib(
    stage: Stage, mouths: UInt8[np.ndarray, "T S S 3"]
) -> Float32[np.ndarray, "T 68 2"]:
    """The reader for real faces: dlib's predictor on the crop pasted into the stage."""
    # The eyes are the stage's in every picture, and with them the tilt.
    roll = faces.fit_roll(stage.frame, stage.box)
    points = [
        faces.fit_landmarks(
            paste_mouth(stage.frame, mouth, stage.mouth_from_frame), stage.box, roll=roll
        )
        for mouth in mouths
    ]
    return crops.apply(stage.mouth_from_frame, np.stack(points).astype(np.float64)).astype(
        np.float32
    )


def sharpness(mouths: UInt8[np.ndarray, "T S S 3"]) -> Float[np.ndarray, "T"]:
    """CPBD of each crop's luma, on the whole 64-pixel blocks that fit around its centre.

    Returns:
        One value per crop; NaN if crops are smaller than a block.
    """
    size = mouths.shape[1]
    side = size // _BLOCK * _BLOCK
    if not side:
        return np.full(len(mouths), np.nan)
    first = (size - side) // 2
    inner = luma(mouths[:, first : first + side, first : first + side])
    return cpbd_of_frames(inner)


def measure(
    reader: Reader, stage: Stage, mouths: UInt8[np.ndarray, "T S S 3"], *, sharp: bool = True
) -> tuple[Float32[np.ndarray, "T 68 2"], Float[np.ndarray, "T"]]:
    """Reads landmarks and sharpness off crops; equal neighbouring crops are read once.

    Args:
        reader: finds the landmarks.
        stage: of the clip that the crops belong to or compete with.
        mouths: the crops.
        sharp: whether to compute CPBD, else it is NaN.

    Returns:
        Landmarks in pixels of the crop, and CPBD per crop.
    """
    fresh = np.ones(len(mouths), bool)
    fresh[1:] = [not np.array_equal(a, b) for a, b in zip(mouths[1:], mouths[:-1], strict=True)]
    which = np.cumsum(fresh) - 1
    points = reader(stage, mouths[fresh])[which]
    values = sharpness(mouths[fresh])[which] if sharp else np.full(len(mouths), np.nan)
    return points, values
