# SPDX-License-Identifier: Apache-2.0
"""Plates: where frames, words, sound and pictures stand."""

import dataclasses

import numpy as np
import pytest

from lipjax.errors import ConfigError
from lipjax.media.plates import Block, plate


def solid(*colours, side=12):
    """Frames of one colour each."""
    return np.stack([np.full((side, side, 3), colour, np.uint8) for colour in colours])


RED, GREEN, BLUE, PINK = (200, 0, 0), (0, 200, 0), (0, 0, 200), (250, 120, 200)
BLOCK = Block(
    title="clip",
    picture=solid(PINK, side=30)[0],
    caption="given",
    rows={"real": solid(RED, GREEN, BLUE), "generated": solid(BLUE, RED, GREEN)},
    times=(0.1, 0.2, 0.3),
)


def place(image: np.ndarray, colour) -> list[tuple[int, int, int, int]]:
    """Boxes (top, bottom, left, right) of one colour, those further left first."""
    from scipy import ndimage

    labels, _ = ndimage.label((image == colour).all(axis=-1))
    boxes = [
        (rows.start, rows.stop, columns.start, columns.stop)
        for rows, columns in ndimage.find_objects(labels)
    ]
    return sorted(boxes, key=lambda box: box[2])


@pytest.mark.parametrize("cell", [96, 64])
def test_time_runs_to_the_right_and_rows_are_below_each_other(cell):
    image = plate([BLOCK], cell=cell)
    # By column: red and blue, green and red, blue and green; each a full cell.
    red, green, blue = (place(image, colour) for colour in (RED, GREEN, BLUE))
    for boxes in (red, green, blue):
        assert [(b - a, d - c) for a, b, c, d in boxes] == [(cell, cell)] * 2
    assert red[0][0] < blue[0][0] and green[0][0] < red[1][0] and blue[1][0] < green[1][0]
    assert red[0][2] == blue[0][2] < green[0][2] == red[1][2] < blue[1][2] == green[1][2]
    (picture,) = place(image, PINK)
    assert picture[3] < red[0][2] and picture[1] == blue[0][1]  # beside both rows


def test_words_stand_over_the_columns_in_which_they_are_said():
    """A line as wide as its columns is drawn under each word, none where nothing is said."""
    bare = plate([BLOCK], cell=96)
    said = plate([dataclasses.replace(BLOCK, words=("bin", "bin", ""))], cell=96)
    assert said.shape == bare.shape
    left, right = (place(bare, colour)[0][2] for colour in (RED, BLUE))
    (top, _, first, last) = place(bare, RED)[0]
    above = (said[:top] != bare[:top]).any(axis=-1)
    columns = np.flatnonzero(above.any(axis=0))
    two = first, place(bare, GREEN)[0][3]
    assert two[0] <= columns.min() < two[0] + 6 and two[1] - 6 < columns.max() <= two[1]
    rows = above.sum(axis=1)
    assert rows.max() > 2 * 96 - 12  # the line
    sentence = plate([dataclasses.replace(BLOCK, sentence="bin blue")], cell=96)
    assert (sentence[:top] != bare[:top]).any() and (sentence[top:] == bare[top:]).all()


def test_sound_is_high_where_it_is_loud():
    loudness = np.repeat([0.0, 1.0, 0.2], 10)
    image = plate([dataclasses.replace(BLOCK, loudness=loudness)], cell=96)
    (top, _, left, right) = place(image, RED)[0]
    strip = (image[:top] == (150, 170, 200)).all(axis=-1)
    heights = strip[:, left : place(image, BLUE)[-1][3]].sum(axis=0)
    assert heights[40] == 1 < heights[97 + 97 + 60] < 8 < 15 < heights[97 + 40]
    assert len(image) > len(plate([BLOCK], cell=96))


def test_blocks_of_different_sizes_and_a_note():
    tall = dataclasses.replace(
        BLOCK, picture=np.zeros((90, 20, 3), np.uint8), title="a long name of a clip " * 4
    )
    one = dataclasses.replace(tall, rows={"long name of a model " * 5: solid(RED, GREEN, BLUE)})
    image = plate([tall, one], cell=48, note="small print " * 40)
    assert [len(place(image, colour)) for colour in (RED, GREEN, BLUE)] == [3, 3, 3]
    assert (image[:, -4:] == 255).all() and (image[:, :4] == 255).all()  # nothing is cut off
    assert len(place(image, (0, 0, 0))) == 2  # both pictures are whole
    assert len(image) > len(plate([tall, one], cell=48))


def test_frames_must_fit_the_columns():
    with pytest.raises(ConfigError, match="generated: 2 frames for 3 columns"):
        plate([dataclasses.replace(BLOCK, rows={"generated": solid(RED, BLUE)})])
    with pytest.raises(ConfigError, match="at least one block"):
        plate([])
