# SPDX-License-Identifier: Apache-2.0
"""Whole clips, checked when read."""

import dataclasses

import numpy as np
import pytest
from synthetic import make_clip

from lipjax.data import faults
from lipjax.data.checked import CheckedClips, check_numbers
from lipjax.data.prepare.pack import CorpusWriter
from lipjax.data.reading import open_corpus
from lipjax.data.schema import MISSING
from lipjax.errors import CorpusError


@pytest.fixture(scope="module")
def clip():
    return make_clip("c", frames=12)


def changed(array, index, value):
    copy = np.array(array)
    copy[index] = value
    return copy


def faulty(clip):
    """Name of a fault -> the clip with it, and its kind."""
    nan = np.nan
    return {
        "landmark": ({"landmarks": changed(clip.landmarks, (3, 50, 1), nan)}, faults.NOT_FINITE),
        "crop": (
            {"mouth_from_source": changed(clip.mouth_from_source, (0, 0, 2), np.inf)},
            faults.NOT_FINITE,
        ),
        "time": ({"source_times": changed(clip.source_times, 5, nan)}, faults.NOT_FINITE),
        "clock": ({"sound_start": nan}, faults.NOT_FINITE),
        "level": ({"sound_level": np.inf}, faults.NOT_FINITE),
        "frames": (
            {"frame_offsets": changed(clip.frame_offsets, 2, 1 << 40)},
            faults.INCONSISTENT,
        ),
    }


@pytest.mark.parametrize("name", ["landmark", "crop", "time", "clock", "level", "frames"])
def test_numbers_that_are_none_are_found(clip, name):
    change, kind = faulty(clip)[name]
    check_numbers(clip)
    with pytest.raises(faults.ClipFault) as error:
        check_numbers(dataclasses.replace(clip, **change))
    assert error.value.kind == kind


def test_landmarks_of_frames_without_a_face_may_be_anything(clip):
    check_numbers(
        dataclasses.replace(
            clip,
            landmarks=changed(clip.landmarks, 3, np.nan),
            landmark_status=changed(clip.landmark_status, 3, MISSING),
        )
    )


@pytest.fixture
def corpus(tmp_path):
    """Ten clips; the record of c4 is not what it was."""
    writer = CorpusWriter(tmp_path)
    for n in range(10):
        made = make_clip(f"c{n}", speaker="s", frames=12, seed=n)
        if n == 4:
            made = dataclasses.replace(made, landmarks=changed(made.landmarks, (3, 50), np.nan))
        writer.add("test", made)
    writer.close({"settings": {"fps": 25.0, "mouth_size": 32, "margin": 1.5}})
    return open_corpus(tmp_path)


def test_what_cannot_be_used_is_left_out_named_and_counted(corpus):
    lines = []
    clips = CheckedClips(corpus, "test", log=lines.append)
    assert clips.get(4) is None and clips.get(4) is None
    assert clips.get(3).id == "c3" and clips.first([4, 6, 7]).id == "c6"
    assert clips.first([4]) is None
    assert clips.left_out == {"not_finite": 1} and clips.bad == {4}
    assert lines == ["left out: clip c4: not_finite: clip c4: landmarks is not finite"]
    assert clips.use(2, lambda clip: clip.num_frames) == 12


def test_what_work_says_of_a_clip_counts_up_to_the_limit(corpus):
    def picky(clip):
        raise CorpusError(f"{clip.id} will not do")

    def broken(clip):
        raise ValueError("a mistake of the program")

    clips = CheckedClips(corpus, "test", max_bad_fraction=0.1)
    with pytest.raises(ValueError, match="of the program"):
        clips.use(0, broken)
    for number in range(3):
        assert clips.use(number, picky) is None
    says = r"4 of 10 clips cannot be used .*3 are allowed \(--max-bad-fraction 0.1\)"
    with pytest.raises(CorpusError, match=says):
        clips.use(3, picky)
    strict = CheckedClips(corpus, "test", max_bad_fraction=0.0)
    with pytest.raises(CorpusError, match="c4: not_finite"):
        strict.get(4)
