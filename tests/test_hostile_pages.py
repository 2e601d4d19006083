# SPDX-License-Identifier: Apache-2.0
"""Pages and pictures about hostile names: all text is escaped, drawn, and kept to one line."""

import numpy as np
from page_tools import SCRIPT, harmless

from lipjax.evaluation import rows
from lipjax.media import draw, page
from lipjax.media.audio import Sound
from lipjax.media.plates import Block, plate
from lipjax.media.text import plain
from lipjax.metrics.results import Evaluation, Example
from lipjax.report import evaluation_parts, write_report


def evaluation(ids):
    mouth = np.zeros((2, 16, 16, 3), np.uint8)
    sound = Sound(np.zeros(1600, np.int16), 16_000)
    return Evaluation(
        facts={
            **{"clips": 1, "frames": 2, "split": SCRIPT, "speakers": [SCRIPT, "\x1b[2J"]},
            **{"crop_pixels": 16, "lip_reader": {"name": SCRIPT}},
        },
        table={},
        differences={},
        opening={},
        closures={},
        clips=[],
        examples=[Example(name, 25.0, sound, {SCRIPT: mouth, rows.TRUTH: mouth}) for name in ids],
    )


def test_a_report_about_hostile_clips_stays_in_its_folder(tmp_path):
    ids = [SCRIPT, "../../escaped", "/etc/passwd", "\N{CJK UNIFIED IDEOGRAPH-53E3}" * 200, "a\nb"]
    out = tmp_path / "deep" / "out"
    path = write_report(out / "report.html", title=SCRIPT, evaluation=evaluation(ids))
    assert harmless(path.read_text("utf-8"))
    assert {p.parent for p in tmp_path.rglob("*") if p.is_file()} == {out}
    assert len(list(out.glob("side_by_side_*.mp4"))) == len(ids)
    assert list(evaluation_parts(evaluation([]), out))


def test_every_part_of_a_page_escapes(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    parts = [
        page.heading(SCRIPT),
        page.paragraph(SCRIPT, note=True),
        page.table([SCRIPT], [[SCRIPT], [(SCRIPT, SCRIPT)]], strong=SCRIPT),
        page.picture(b"x", caption=f'" onload="x" {SCRIPT}'),
        page.video(tmp_path / "a.mp4", caption=SCRIPT),
    ]
    text = page.page(f"{SCRIPT}\udcff", parts)
    text.encode("utf-8")
    assert harmless(text) and text.count("&lt;script&gt;") >= 8
    assert not harmless(f"<p>{SCRIPT}</p>")  # the check itself


def test_hostile_text_is_drawn(tmp_path):
    nasty = f"$\\frac{{x$ {SCRIPT}\n\x00\x1b[2J\udcff" + "long " * 500
    curve = (np.arange(3.0), np.arange(3.0))
    png = draw.line_plot({nasty: curve, "_hidden": curve, "$": curve}, title=nasty, x_label="$a$b$")
    assert png.startswith(b"\x89PNG")
    frames = np.zeros((2, 8, 8, 3), np.uint8)
    draw.contact_sheet({nasty: frames})
    draw.side_by_side({nasty: frames[0]})
    block = Block(nasty, frames[0], nasty, {nasty: frames}, [0.0, 1.0], sentence=nasty)
    words = Block(nasty, frames[0], nasty, {"": frames}, [0.0, 1.0], words=[nasty, "\n"])
    plate([block, words], note=nasty, cell=24)


def test_plain_text():
    assert plain("a\x00b\n c\u202e\udcffd\u2028e") == "a b c d e"
    assert plain("é 口 \N{THUMBS UP SIGN}") == "é 口 \N{THUMBS UP SIGN}"
    assert plain("x" * 50, 10) == "xxxxxxx..." and plain("x" * 10, 10) == "x" * 10
