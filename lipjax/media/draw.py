# SPDX-License-Identifier: Apache-2.0
"""Pictures for people: contact sheets, labelled frames side by side, plots as PNG."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Num, UInt8
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from lipjax.errors import ConfigError
from lipjax.media.text import plain

_PAPER, _INK, _GAP = (255, 255, 255), (20, 20, 20), 2


def png(image: UInt8[np.ndarray, "H W 3"], *, comment: str | None = None) -> bytes:
    """Encodes an RGB picture as a PNG file, with a comment in it if one is given."""
    buffer, info = io.BytesIO(), PngImagePlugin.PngInfo()
    if comment is not None:
        info.add_text("Comment", comment)
    picture = Image.fromarray(np.ascontiguousarray(image))
    picture.save(buffer, "PNG", optimize=True, pnginfo=info)
    return buffer.getvalue()


def jpeg(image: UInt8[np.ndarray, "H W 3"], *, quality: int = 90) -> bytes:
    """Encodes an RGB picture as a JPEG file, for pages with many photographs."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def resize(
    image: UInt8[np.ndarray, "H W 3"], height: int, width: int
) -> UInt8[np.ndarray, "h w 3"]:
    """Scales an RGB picture, anti-aliased, to the given size in pixels."""
    if image.shape[:2] == (height, width):
        return image
    picture = Image.fromarray(np.ascontiguousarray(image))
    return np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC))


def label(text: str, *, height: int, width: int) -> UInt8[np.ndarray, "height width 3"]:
    """Writes text into a white strip, as large as fits, long text broken at spaces."""
    lines = [plain(line) for line in text[:4000].split("\n")]
    text = "\n".join(lines)
    size = max(8, min(16, height - 4))
    while size > 8 and not _fits(lines, size, height, width):
        wrapped = _wrap(text, size, width)
        if _fits(wrapped, size, height, width):
            lines = wrapped
            break
        size -= 1
    strip = Image.new("RGB", (width, height), _PAPER)
    pen, font = ImageDraw.Draw(strip), ImageFont.load_default(size)
    top = max(0, (height - len(lines) * (size + 3)) // 2)
    for line in lines:
        pen.text((3, top), line, fill=_INK, font=font)
        top += size + 3
    return np.asarray(strip)


def _fits(lines: Sequence[str], size: int, height: int, width: int) -> bool:
    font = ImageFont.load_default(size)
    return len(lines) * (size + 3) <= height and all(font.getlength(x) <= width - 6 for x in lines)


def _wrap(text: str, size: int, width: int) -> list[str]:
    font, lines = ImageFont.load_default(size), [""]
    for word in text.replace("\n", " ").split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width - 6:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def contact_sheet(
    rows: Mapping[str, UInt8[np.ndarray, "_ _ _ 3"]],
    *,
    every: int = 1,
    scale: float = 1.0,
    label_width: int = 120,
) -> UInt8[np.ndarray, "height width 3"]:
    """Lays videos out as labelled rows of frames, time from left to right.

    Args:
        rows: name of the row -> its frames (T, H, W, 3); rows may differ in length and size.
        every: take frames 0, every, 2 every, ...
        scale: size of a drawn frame relative to the first row's frames.
        label_width: pixels for the names on the left; 0 leaves them out.

    Returns:
        One picture on white.

    Example:
        >>> video = np.zeros((16, 32, 32, 3), np.uint8)
        >>> sheet = lipjax.contact_sheet({"real": video, "made": video}, every=4)
        >>> sheet.shape[2], sheet.dtype.name
        (3, 'uint8')
    """
    if not rows or every < 1:
        raise ConfigError(f"a contact sheet needs rows and every >= 1 (rows {len(rows)}, {every=})")
    first = next(iter(rows.values()))
    height, width = (max(1, round(side * scale)) for side in first.shape[1:3])
    most = max(len(video[::every]) for video in rows.values())
    sheet = np.full(
        (
            len(rows) * (height + _GAP) - _GAP,
            label_width + most * (width + _GAP) - _GAP,
            3,
        ),
        255,
        np.uint8,
    )
    for number, (name, video) in enumerate(rows.items()):
        top = number * (height + _GAP)
        if label_width:
            sheet[top : top + height, :label_width] = label(name, height=height, width=label_width)
        for column, frame in enumerate(video[::every]):
            left = label_width + column * (width + _GAP)
            sheet[top : top + height, left : left + width] = resize(frame, height, width)
    return sheet


def side_by_side(
    named: Mapping[str, UInt8[np.ndarray, "_ _ 3"]], *, height: int | None = None
) -> UInt8[np.ndarray, "height width 3"]:
    """Puts pictures next to each other at one height, each under its name.

    Args:
        named: name -> RGB picture.
        height: of the pictures in pixels; that of the tallest if not given.

    Returns:
        One picture of even height and width, as video encoders want it.
    """
    if not named:
        raise ConfigError("side_by_side needs at least one picture")
    tall = height or max(picture.shape[0] for picture in named.values())
    tall += tall % 2
    parts = []
    for name, picture in named.items():
        wide = max(2, round(picture.shape[1] * tall / picture.shape[0]))
        wide += wide % 2
        strip = label(name, height=36, width=wide)
        parts.append(np.concatenate([strip, resize(picture, tall, wide)]))
        parts.append(np.full((len(parts[0]), _GAP, 3), 255, np.uint8))
    return np.concatenate(parts[:-1], axis=1)


def line_plot(
    curves: Mapping[str, tuple[Num[np.ndarray, "_"], Num[np.ndarray, "_"]]],
    *,
    title: str = "",
    x_label: str = "",
    y_label: str = "",
    log_y: bool = False,
    size: tuple[float, float] = (7.0, 3.2),
) -> bytes:
    """Draws curves into one PNG.

    Args:
        curves: name -> (x, y); values that are not finite leave gaps.
        title: above the plot.
        x_label: under it.
        y_label: beside it.
        log_y: logarithmic y axis.
        size: in inches, at 100 dots per inch.

    Returns:
        The PNG file.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError("plots need matplotlib: pip install 'lipjax[media]'") from error

    figure = Figure(figsize=size, dpi=100, layout="constrained")
    axes = figure.add_subplot()
    for name, (x, y) in curves.items():
        axes.plot(x, np.where(np.isfinite(y), y, np.nan), label=_literal(name), linewidth=1.3)
    axes.set(title=_literal(title, 80), xlabel=_literal(x_label), ylabel=_literal(y_label))
    if log_y:
        axes.set_yscale("log")
    axes.grid(alpha=0.3)
    if curves:
        axes.legend(fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _literal(text: str, most: int = 60) -> str:
    """Text that matplotlib takes for no formula and, as a label, for no hidden one."""
    shown = plain(text, most).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown
