# SPDX-License-Identifier: Apache-2.0
"""Plates: rows of frames as papers print them, under words, sound and times, beside a picture."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from lipjax.errors import ConfigError
from lipjax.media.text import plain

_PAPER, _INK, _GREY, _SOUND = (255, 255, 255), (20, 20, 20), (115, 115, 115), (150, 170, 200)
# All lengths in 1/96 of a cell's side.
_MARGIN, _GAP, _BLOCK_GAP, _COLUMN_GAP = 16, 3, 22, 14
_TITLE, _WAVE, _FOOT = 26, 30, 19
_TITLE_FONT, _WORD_FONT, _LABEL_FONT, _SMALL_FONT = 17, 16, 16, 12
_LABEL_MOST = 150
_LONGEST = 300  # characters of a text


@dataclasses.dataclass(frozen=True)
class Block:
    """Rows of frames that belong together.

    Attributes:
        title: above the picture and the rows.
        picture: shown at the left, any size and shape.
        caption: under the picture.
        rows: label -> frames, one per column, square, any size.
        times: of each column in seconds.
        words: what is said at each column, "" for nothing; no words are written if not given.
        sentence: written above the rows where there are no words.
        loudness: of the sound, 0 to 1, evenly from the left edge of the first column to the
            right edge of the last; no sound is drawn if not given.
    """

    title: str
    picture: UInt8[np.ndarray, "H W 3"]
    caption: str
    rows: Mapping[str, np.ndarray]
    times: Sequence[float]
    words: Sequence[str] = ()
    sentence: str = ""
    loudness: Float[np.ndarray, "N"] | None = None


def plate(
    blocks: Sequence[Block], *, note: str = "", cell: int = 128
) -> UInt8[np.ndarray, "height width 3"]:
    """Draws blocks one under the other on white.

    Args:
        blocks: at least one.
        note: small print at the foot.
        cell: side of a frame in pixels; everything else is in proportion.

    Returns:
        One picture.

    Raises:
        ConfigError: no blocks, or a row whose frames do not fit the columns.
    """
    if not blocks:
        raise ConfigError("a plate needs at least one block of frames")
    for block in blocks:
        for label, frames in block.rows.items():
            if len(frames) != len(block.times):
                raise ConfigError(
                    f"{block.title}, {label}: {len(frames)} frames for {len(block.times)} columns"
                )
    return _Plate(blocks, note, cell).draw()


class _Plate:
    """One drawing: sizes in pixels, and the pen."""

    def __init__(self, blocks: Sequence[Block], note: str, cell: int) -> None:
        self._blocks, self._note, self._cell, self._unit = blocks, note, cell, cell / 96
        self._gap = self._px(_GAP)
        most = max(len(block.rows) for block in blocks)
        # One row alone leaves little room for the picture.
        self._side = max(min(most, 2) * (cell + self._gap) - self._gap, round(1.5 * cell))
        labels = [label for block in blocks for label in block.rows]
        font = self._font(_LABEL_FONT)
        wide = max(int(font.getlength(plain(label, _LONGEST))) for label in labels) + 1
        self._label = min(wide, self._px(_LABEL_MOST))
        self._left = self._px(_MARGIN) + self._side + self._label + 2 * self._px(_COLUMN_GAP)
        columns = max(len(block.times) for block in blocks)
        self._width = self._left + columns * (cell + self._gap) - self._gap + self._px(_MARGIN)

    def draw(self) -> UInt8[np.ndarray, "height width 3"]:
        note = self._note_lines()
        heights = [self._height(block) for block in self._blocks]
        gaps = self._px(_BLOCK_GAP) * (len(heights) - 1 + bool(note))
        foot = len(note) * self._px(_FOOT)
        total = sum(heights) + gaps + foot + 2 * self._px(_MARGIN)
        self._sheet = Image.new("RGB", (self._width, total), _PAPER)
        self._pen = ImageDraw.Draw(self._sheet)
        top = self._px(_MARGIN)
        for block, height in zip(self._blocks, heights, strict=True):
            self._draw_block(block, top)
            top += height + self._px(_BLOCK_GAP)
        for line in note:
            self._text((self._px(_MARGIN), top), line, _SMALL_FONT, _GREY, "la")
            top += self._px(_FOOT)
        return np.asarray(self._sheet)

    def _px(self, length: float | int) -> int:
        return round(length * self._unit)

    def _font(self, size: float | int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
        return ImageFont.load_default(max(1.0, size * self._unit))

    def _text(self, at: tuple, text: str, size: float | int, ink: tuple, anchor: str):
        self._pen.text(at, plain(text, _LONGEST), fill=ink, font=self._font(size), anchor=anchor)

    def _fitting(self, text: str, size: float | int, width: float | int) -> float:
        """The size at which a text is no wider than so many pixels."""
        length = self._font(size).getlength(plain(text, _LONGEST))
        return size * min(1.0, width / max(1.0, length))

    def _rows_height(self, block: Block) -> int:
        return len(block.rows) * (self._cell + self._gap) - self._gap

    def _head(self, block: Block) -> int:
        return self._px(_TITLE) + (self._px(_WAVE) if block.loudness is not None else 0)

    def _height(self, block: Block) -> int:
        beside = self._px(_TITLE) + self._side
        return max(self._head(block) + self._rows_height(block), beside) + self._px(_FOOT)

    def _centre(self, column: float | int) -> float:
        return self._left + column * (self._cell + self._gap) + self._cell / 2

    def _draw_block(self, block: Block, top: int) -> None:
        margin, cell = self._px(_MARGIN), self._cell
        # Where words stand above the frames, the title has the room beside them alone.
        room = (self._left if any(block.words) or block.sentence else self._width) - 2 * margin
        size = self._fitting(block.title, _TITLE_FONT, room)
        self._text((margin, top + self._px(_TITLE) / 2), block.title, size, _INK, "lm")
        self._draw_words(block, top)
        if block.loudness is not None:
            self._draw_sound(block, block.loudness, top + self._px(_TITLE))
        first = top + self._head(block)
        for number, (label, frames) in enumerate(block.rows.items()):
            y = first + number * (cell + self._gap)
            size = self._fitting(label, _LABEL_FONT, self._label)
            right = self._left - self._px(_COLUMN_GAP) // 2
            self._text((right, y + cell / 2), label, size, _INK, "rm")
            for column, frame in enumerate(frames):
                x = round(self._centre(column) - cell / 2)
                self._sheet.paste(_scaled(frame, cell, cell), (x, y))
        foot = first + self._rows_height(block) + self._px(_FOOT) / 2 + 1
        for column, time in enumerate(block.times):
            self._text((self._centre(column), foot), f"{time:.2f} s", _SMALL_FONT, _GREY, "mm")
        self._draw_picture(block, top)

    def _draw_picture(self, block: Block, top: int) -> None:
        """The picture, beside the middle of the rows as far as title and foot leave room."""
        height, width = block.picture.shape[:2]
        scale = self._side / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        y = top + self._head(block) + (self._rows_height(block) - size[1]) // 2
        y = min(y, top + self._height(block) - self._px(_FOOT) - size[1])
        y = max(y, top + self._px(_TITLE))
        self._sheet.paste(_scaled(block.picture, size[1], size[0]), (self._px(_MARGIN), y))
        below = y + size[1] + self._px(_FOOT) / 2 + 1
        middle = self._px(_MARGIN) + size[0] / 2
        anchor = "mm" if size[0] > self._px(80) else "lm"
        at = middle if anchor == "mm" else self._px(_MARGIN)
        self._text((at, below), block.caption, _SMALL_FONT, _GREY, anchor)

    def _draw_words(self, block: Block, top: int) -> None:
        """Each word once, over a line as long as it is spoken; else the whole sentence."""
        if not any(block.words):
            room = self._width - self._left - self._px(_MARGIN)
            size = self._fitting(block.sentence, _WORD_FONT, room)
            self._text((self._left, top + self._px(_TITLE) / 2), block.sentence, size, _INK, "lm")
            return
        base = top + self._px(_TITLE) - self._px(3)
        first = 0
        for column in range(1, len(block.words) + 1):
            if column < len(block.words) and block.words[column] == block.words[first]:
                continue
            word, last = block.words[first], column - 1
            if word:
                ends = self._centre(first) - self._cell / 2, self._centre(last) + self._cell / 2
                inset = self._px(3)
                self._pen.line(
                    [(ends[0] + inset, base), (ends[1] - inset, base)], _GREY, max(1, self._px(1))
                )
                size = self._fitting(word, _WORD_FONT, ends[1] - ends[0])
                self._text((sum(ends) / 2, base - self._px(3)), word, size, _INK, "ms")
            first = column

    def _draw_sound(self, block: Block, loudness: np.ndarray, top: int) -> None:
        """The loudness as a band around a middle line."""
        left = self._centre(0) - self._cell / 2
        right = self._centre(len(block.times) - 1) + self._cell / 2
        half = self._px(_WAVE - 6) / 2
        middle = top + self._px(_WAVE) / 2
        x = np.linspace(left, right, len(loudness))
        up = [(a, middle - half * b) for a, b in zip(x, loudness, strict=True)]
        down = [(a, middle + half * b) for a, b in zip(x, loudness, strict=True)]
        self._pen.line([(left, middle), (right, middle)], _SOUND, 1)
        self._pen.polygon([*up, *down[::-1]], fill=_SOUND)

    def _note_lines(self) -> list[str]:
        font = self._font(_SMALL_FONT)
        lines: list[str] = []
        for word in self._note.split():
            longer = f"{lines[-1]} {word}" if lines else word
            if lines and font.getlength(longer) <= self._width - 2 * self._px(_MARGIN):
                lines[-1] = longer
            else:
                lines.append(word)
        return lines


def _scaled(image: UInt8[np.ndarray, "h w 3"], height: int, width: int) -> Image.Image:
    picture = Image.fromarray(np.ascontiguousarray(image))
    return picture.resize((width, height), Image.Resampling.LANCZOS)
