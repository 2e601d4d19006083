# SPDX-License-Identifier: Apache-2.0
"""Cutting a source into clips."""

import numpy as np
import pytest

from lipjax.data.prepare.segments import Segment, plan, within
from lipjax.data.schema import INTERPOLATED, MEASURED, MISSING


def segments(status, *, usable=None, cuts=(), max_seconds=10.0, min_frames=16):
    status = np.asarray(status, np.uint8)
    usable = np.ones(len(status), bool) if usable is None else usable
    found = plan(status, usable, cuts, fps=25.0, max_seconds=max_seconds, min_frames=min_frames)
    return [(segment.start, segment.stop) for segment in found]


def seen(count):
    return np.full(count, MEASURED, np.uint8)


def test_a_short_source_is_one_clip():
    assert segments(seen(250)) == [(0, 250)]
    assert plan(seen(20), np.ones(20, bool), (), fps=25.0, max_seconds=10.0, min_frames=16) == [
        Segment(0, 20)
    ]


def test_long_stretches_are_divided_evenly_and_completely():
    found = segments(seen(1003))
    assert found[0][0] == 0 and found[-1][1] == 1003 and len(found) == 5
    assert all(a[1] == b[0] for a, b in zip(found[:-1], found[1:], strict=True))
    lengths = [b - a for a, b in found]
    assert max(lengths) <= 250 and max(lengths) - min(lengths) <= 1


def test_cuts_gaps_and_short_rests():
    status = seen(200)
    status[100:110] = MISSING
    assert segments(status, cuts=(40, 195)) == [(0, 40), (40, 100), (110, 195)]
    assert segments(status, cuts=(90,)) == [(0, 90), (110, 200)]
    assert segments(np.full(50, MISSING)) == []


@pytest.mark.parametrize("interpolated, expected", [(20, [(0, 60)]), (40, [])])
def test_mostly_interpolated_is_left_out(interpolated, expected):
    status = seen(60)
    status[5 : 5 + interpolated] = INTERPOLATED
    assert segments(status) == expected


def test_only_usable_stretches():
    usable = within(((0.0, 2.0), (3.0, 99.0)), 150, 25.0)
    assert segments(seen(150), usable=usable) == [(0, 50), (75, 150)]
    assert within((), 5, 25.0).all()
