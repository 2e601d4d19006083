# SPDX-License-Identifier: Apache-2.0
"""Sheets, labelled frames, plots and page parts."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from lipjax.errors import ConfigError
from lipjax.media import draw, page


def video(frames, height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), np.uint8)


def test_png_keeps_every_pixel():
    image = video(1, 13, 17)[0]
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(draw.png(image)))), image)


def test_contact_sheet_shows_the_right_frames_in_order():
    rows = {"truth": video(10, 20, 24, 1), "model": video(7, 20, 24, 2)}
    sheet = draw.contact_sheet(rows, every=3, label_width=60)
    assert sheet.shape == (2 * 20 + 2, 60 + 4 * 26 - 2, 3)
    np.testing.assert_array_equal(sheet[:20, 60:84], rows["truth"][0])
    np.testing.assert_array_equal(sheet[:20, 60 + 3 * 26 :], rows["truth"][9])
    np.testing.assert_array_equal(sheet[22:, 86:110], rows["model"][3])
    assert (sheet[22:, 60 + 3 * 26 :] == 255).all()  # the shorter row ends white
    assert (sheet[:20, :60] < 128).any()  # its name is written


def test_contact_sheet_scales():
    sheet = draw.contact_sheet({"a": video(4, 20, 24)}, every=2, scale=2.0, label_width=0)
    assert sheet.shape == (40, 48 + 2 + 48, 3)
    with pytest.raises(ConfigError, match="every"):
        draw.contact_sheet({"a": video(4, 20, 24)}, every=0)


def test_side_by_side_is_even_and_keeps_proportions():
    joined = draw.side_by_side({"face": video(1, 31, 47)[0], "mouth": video(1, 16, 16)[0]})
    assert joined.shape[0] % 2 == 0 and joined.shape[1] % 2 == 0
    assert joined.shape == (36 + 32, 50 + 2 + 32, 3)


def test_long_names_are_broken_not_cut():
    wide = draw.label("another sentence's mouth", height=60, width=400)
    narrow = draw.label("another sentence's mouth", height=60, width=90)
    ink = [(picture < 128).any(axis=2).any(axis=1) for picture in (wide, narrow)]
    lines = [int(np.sum(np.diff(rows.astype(int)) == 1)) for rows in ink]
    assert lines[1] > lines[0]
    assert not (narrow[:, -3:] < 128).any()


def test_line_plot_is_a_png_and_differs_with_the_curve():
    x = np.arange(10)
    first = draw.line_plot({"loss": (x, x**2)}, title="t", x_label="step", log_y=False)
    second = draw.line_plot({"loss": (x, np.where(x == 5, np.nan, x))}, x_label="step")
    pictures = [np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for data in (first, second)]
    assert pictures[0].shape == pictures[1].shape == (320, 700, 3)
    assert (pictures[0] != pictures[1]).any()


class Sources(HTMLParser):
    """Collects everything that a page would load, and checks that tags close."""

    def __init__(self):
        super().__init__()
        self.sources, self.open = [], []

    def handle_starttag(self, tag, attrs):
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_is_well_formed_self_contained_and_escaped(tmp_path):
    (tmp_path / "talk.mp4").write_bytes(b"not really")
    text = page.page(
        "Clips <of> s1 & others",
        [
            page.heading("Table"),
            page.paragraph("a < b", note=True),
            page.table(
                ["row", "x"], [["model", ("1.0", "0.9 to 1.1")], ["<b>", "2"]], strong="model"
            ),
            page.picture(draw.png(video(1, 4, 4)[0]), caption='"quoted"'),
            page.picture(draw.jpeg(video(1, 4, 4)[0]), wide=True),
            page.video(tmp_path / "talk.mp4", caption="talk"),
        ],
    )
    parser = Sources()
    parser.feed(text)
    assert not parser.open
    assert [source.split(";")[0] for source in parser.sources] == [
        "data:image/png",
        "data:image/jpeg",
        "data:video/mp4",
    ]
    assert "http" not in re.sub(r"base64,[^\"]*", "", text)
    assert "&lt;of&gt; s1 &amp; others" in text and "<b>" not in text
    assert base64.b64decode(parser.sources[2].split(",")[1]) == b"not really"
