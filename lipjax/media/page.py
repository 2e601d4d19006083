# SPDX-License-Identifier: Apache-2.0
"""Parts of a self-contained HTML page: everything inside one file, nothing loaded from outside.

Every function escapes the text it is given; pictures and videos travel as base64.
"""

import base64
import html
from collections.abc import Sequence
from pathlib import Path

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 72em; padding: 0 1em;
       color: #1a1a1a; background: #fff; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2em; }
table { border-collapse: collapse; font-size: 14px; }
th, td { padding: .3em .8em; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; }
td small { color: #666; white-space: nowrap; }
tr.strong td { background: #eef5ff; font-weight: 600; }
figure { margin: 1em 0; overflow-x: auto; } figcaption { color: #555; font-size: 14px; }
img, video { max-width: 100%; }
img.wide { max-width: none; }
.note { color: #555; }
"""

Cell = str | tuple[str, str]
"""Text, or (text, small text under it)."""


def page(title: str, parts: Sequence[str]) -> str:
    """Assembles parts into a whole HTML document.

    Args:
        title: of the document and its first heading.
        parts: HTML made by the functions of this module.

    Returns:
        The text of the file.
    """
    name = html.escape(title)
    text = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}</title>\n<style>{_STYLE}</style></head>\n<body>\n<h1>{name}</h1>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )
    # Names of files may hold what is no Unicode.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def heading(text: str) -> str:
    """A section heading."""
    return f"<h2>{html.escape(text)}</h2>"


def paragraph(text: str, *, note: bool = False) -> str:
    """A paragraph; a note is drawn in grey."""
    return f"<p{' class=note' if note else ''}>{html.escape(text)}</p>"


def table(header: Sequence[str], rows: Sequence[Sequence[Cell]], *, strong: str = "") -> str:
    """A table.

    Args:
        header: names of the columns.
        rows: of cells.
        strong: rows whose first cell is this text are emphasised.

    Returns:
        The HTML.
    """

    def cell(value: Cell) -> str:
        if isinstance(value, tuple):
            return f"<td>{html.escape(value[0])}<br><small>{html.escape(value[1])}</small></td>"
        return f"<td>{html.escape(value)}</td>"

    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    body = "".join(
        f"<tr{' class=strong' if strong and row[0] == strong else ''}>"
        + "".join(map(cell, row))
        + "</tr>\n"
        for row in rows
    )
    return f"<figure><table><tr>{head}</tr>\n{body}</table></figure>"


def picture(data: bytes, *, caption: str = "", wide: bool = False) -> str:
    """An embedded PNG or JPEG; a wide one scrolls instead of shrinking."""
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    code = base64.b64encode(data).decode("ascii")
    return (
        f'<figure><img{" class=wide" if wide else ""} alt="{html.escape(caption, quote=True)}" '
        f'src="data:image/{kind};base64,{code}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def video(path: Path, *, caption: str = "") -> str:
    """An embedded mp4 file with controls."""
    code = base64.b64encode(Path(path).read_bytes()).decode("ascii")
    return (
        f'<figure><video controls loop src="data:video/mp4;base64,{code}"></video>'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )
