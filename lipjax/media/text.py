# SPDX-License-Identifier: Apache-2.0
"""Text from strangers: names and sentences that go into corpora, pages, pictures and consoles."""

import unicodedata

_DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Marks that turn the direction of what follows, also of text that is not theirs."""
_NOT_TEXT = ("Cc", "Cs", "Zl", "Zp")


def plain(text: str, most: int = 1000) -> str:
    """Returns text as one line that can be stored, drawn and printed.

    Control characters (a terminal obeys them), halves of characters (UTF-8 cannot hold them) and
    marks of direction become spaces; spaces are joined.

    Args:
        text: any.
        most: characters; a longer text is cut and ends in three dots.
    """
    shown = text[: 4 * most]
    if not shown.isprintable() or not shown.isascii():
        shown = "".join(" " if _harmful(letter) else letter for letter in shown)
    shown = " ".join(shown.split())
    return shown if len(shown) <= most else shown[: most - 3] + "..."


def is_text(name: str) -> bool:
    """Returns whether a file's name is proper Unicode, so that it can be written down."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def _harmful(letter: str) -> bool:
    return unicodedata.category(letter) in _NOT_TEXT or letter in _DIRECTIONS
