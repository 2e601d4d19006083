# SPDX-License-Identifier: Apache-2.0
"""What dubbing decides about a video: the frame to start from, transforms shot by shot."""

import tracemalloc

import numpy as np
import pytest
from generate_tools import landmarks, needs, picture

from lipjax.data.schema import MEASURED, MISSING
from lipjax.generation.dubbing import identity_frame, transforms_by_shot
from lipjax.media import crops
from lipjax.media.spool import Spool
from lipjax.media.tracking import Track


def tracked(points: np.ndarray, *, cuts=(), missing=()) -> Track:
    length = len(points)
    status = np.full(length, MEASURED, np.uint8)
    status[list(missing)] = MISSING
    points = points.astype(np.float32)
    points[list(missing)] = np.nan
    return Track(
        landmarks=points,
        status=status,
        faces=np.ones(length, np.int32),
        cuts=tuple(cuts),
        source_index=np.arange(length, dtype=np.int32),
        source_time=np.arange(length) / 25,
        width=192,
        height=144,
    )


def test_the_mouth_at_rest_is_nearly_closed_and_no_freak():
    points = np.stack([landmarks()] * 100)
    opening = 2.0 + 6 * np.abs(np.sin(np.arange(100) / 7))
    opening[40] = -9.0  # a slip of the tracker: the lips far across each other
    points[:, 66, 1] = points[:, 62, 1] + opening
    chosen = identity_frame(tracked(points, missing=[0]))
    assert chosen not in (0, 40)
    assert opening[chosen] == pytest.approx(np.percentile(np.abs(opening[1:]), 10), abs=0.5)


def test_shots_have_their_own_scale_and_place():
    near, far = landmarks(60), (landmarks(60) - 60) * 0.5 + [120, 70]
    points = np.concatenate([[near] * 10, [far] * 10])
    transforms = transforms_by_shot(tracked(points, cuts=[10], missing=[3]), needs())
    scale = np.hypot(transforms[:, 0, 0], transforms[:, 1, 0])
    np.testing.assert_allclose(scale[10:] / scale[0], 2, rtol=1e-5)
    for number in (9, 10):
        mouth = points[number, 48:68]
        width = np.ptp(crops.apply(transforms[number], mouth)[:, 0])
        assert width == pytest.approx(32 / 1.5, rel=1e-3)
    np.testing.assert_allclose(transforms[:9], transforms[1:10], atol=1e-6)


def test_memory_grows_with_the_length_of_a_video_not_its_square():
    shifts = np.cumsum(np.random.default_rng(0).normal(0, 0.3, (3_000, 1, 2)), axis=0)
    track = tracked(landmarks() + shifts)
    tracemalloc.start()
    transforms = transforms_by_shot(track, needs())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 25 * track.landmarks.nbytes
    part = transforms_by_shot(tracked((landmarks() + shifts)[:300]), needs())
    scale = np.hypot(part[:280, 0, 0], part[:280, 1, 0])
    inner = np.hypot(transforms[:280, 0, 0], transforms[:280, 1, 0])
    np.testing.assert_allclose(scale, inner, rtol=1e-6)


def test_pictures_come_back_from_the_spool():
    with Spool() as spool:
        for number in range(5):
            spool.append(picture(number))
        for number in (4, 0, 2, 2):
            error = spool[number].astype(int) - picture(number)
            assert np.abs(error).max() <= 6 and np.abs(error).mean() < 1.5
        assert len(spool) == 5
