# SPDX-License-Identifier: Apache-2.0
"""Layouts: what the place and the name of a video say in GRID, LRW, LDC2009V01 and any folder."""

import dataclasses
import json
import math
import re
from collections.abc import Callable, Collection
from pathlib import Path

from lipjax.data.schema import Span
from lipjax.media.limits import MAX_TEXT_BYTES
from lipjax.media.text import plain

_MOST_NAME, _MOST_WORD, _MOST_SENTENCE = 200, 100, 20_000  # characters


@dataclasses.dataclass(frozen=True)
class Source:
    """A video to prepare and what is known about it.

    Attributes:
        path: relative to the scanned folder, with forward slashes.
        id: unique among the sources, safe as a file name.
        speaker: "" if unknown.
        sentence: "" if unknown.
        spans: words and phones, seconds from the video's start.
        split: the official split, None if there is none.
        keep: stretches to use, (start, stop) in seconds from the video's start; all if empty.
    """

    path: str
    id: str
    speaker: str = ""
    sentence: str = ""
    spans: tuple[Span, ...] = ()
    split: str | None = None
    keep: tuple[tuple[float, float], ...] = ()


_GRID_NAME = re.compile(r"[blps][bgrw][abiw][a-z][z1-9][anps]", re.IGNORECASE)
_GRID_SPEAKER = re.compile(r"(s\d+)(?![a-z0-9])", re.IGNORECASE)
_GRID_WORDS = (
    {"b": "bin", "l": "lay", "p": "place", "s": "set"},
    {"b": "blue", "g": "green", "r": "red", "w": "white"},
    {"a": "at", "b": "by", "i": "in", "w": "with"},
    {letter: letter for letter in "abcdefghijklmnopqrstuvwxyz"},
    dict(
        zip("z123456789", "zero one two three four five six seven eight nine".split(), strict=True)
    ),
    {"a": "again", "n": "now", "p": "please", "s": "soon"},
)
_GRID_TICKS = 25_000.0
_LRW_PATH = re.compile(r"(?:^|.*/)([^/]+)/(train|val|test)/\1_(\d+)\.[^/.]+")
_LRW_SECONDS = 1.16
_LDC_FOLDER = re.compile(r"[FM]\d\d", re.IGNORECASE)
_LDC_NAME = re.compile(r"([FM]\d\d)[_-](.*)", re.IGNORECASE)
_LDC_TEST = ("F02", "M01")


def grid_sentence(stem: str) -> str:
    """Returns the sentence that a GRID file name spells, "" if it spells none.

    >>> grid_sentence("bbaf2n")
    'bin blue at f two now'
    """
    if not _GRID_NAME.fullmatch(stem):
        return ""
    return " ".join(words[letter] for words, letter in zip(_GRID_WORDS, stem.lower(), strict=True))


def _grid(root: Path, path: str, notes: list[str]) -> Source:
    """GRID (Cooke et al. 2006): speaker folders s1 .. s34, names that spell the sentence."""
    relative = Path(path)
    above = [*root.resolve().parts, *relative.parts[:-1]]
    named = (_GRID_SPEAKER.match(part) for part in reversed(above))
    speaker = next((match[1].lower() for match in named if match), "")[:_MOST_NAME]
    sides = (relative.parent, relative.parent / "align", relative.parent.parent / "align")
    spans: tuple[Span, ...] = ()
    for side in sides:
        file = root / side / (relative.stem + ".align")
        if (text := _beside(root, file, notes)) is not None:
            spans = _read_align(file, text, notes)
            break
    sentence = grid_sentence(relative.stem) or plain(
        " ".join(span.text for span in spans), _MOST_SENTENCE
    )
    return Source(path, f"{speaker}-{relative.stem}", speaker, sentence, spans)


def _beside(root: Path, file: Path, notes: list[str]) -> str | None:
    """The text of a file that lies beside a video; None if there is none to be read."""
    reason = ""
    try:
        if not file.is_file():
            return None
        size = file.stat().st_size
        if file.is_symlink() and not _goes_to_text(root, file):
            # Else a folder of links from a stranger would carry any file of ours into a corpus.
            reason = "a link to another kind of file, outside the folder"
        elif size > MAX_TEXT_BYTES:
            reason = f"{size:,} bytes, more than the {MAX_TEXT_BYTES:,} allowed"
        else:
            return file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        reason = error.strerror or str(error)
    notes.append(plain(f"{file}: left out ({reason})"))
    return None


def _goes_to_text(root: Path, link: Path) -> bool:
    target = link.resolve()
    return target.suffix == link.suffix or target.is_relative_to(root.resolve())


def _read_align(file: Path, text: str, notes: list[str]) -> tuple[Span, ...]:
    spans = []
    try:
        for line in text.splitlines():
            start, stop, word = line.split()
            first, last = int(start) / _GRID_TICKS, int(stop) / _GRID_TICKS
            if not 0 <= first <= last:
                raise ValueError(f"{word!r} from {start} to {stop}")
            if word not in ("sil", "sp"):
                spans.append(Span("word", plain(word, _MOST_WORD), first, last))
    except (ValueError, OverflowError) as error:
        notes.append(plain(f"{file}: alignment left out ({error})"))
        return ()
    return tuple(spans)


def _lrw(root: Path, path: str, notes: list[str]) -> Source:
    """LRW (Chung and Zisserman 2016): word folders with an official split, speakers unknown."""
    match = _LRW_PATH.fullmatch((root.resolve() / path).as_posix())
    if not match:
        return Source(path, "-".join(Path(path).with_suffix("").parts))
    word, split, number = match.groups()
    spans: tuple[Span, ...] = ()
    file = (root / path).with_suffix(".txt")
    spoken = plain(word.lower(), _MOST_WORD)
    text = _beside(root, file, notes)
    if text is not None:  # the word lies in the middle of the clip, for "Duration" seconds
        found = re.search(r"Duration:\s*(\d{1,3}(?:\.\d*)?|\.\d+)(?![\d.])", text, re.ASCII)
        if found:
            half, middle = float(found[1]) / 2, _LRW_SECONDS / 2
            spans = (Span("word", spoken, middle - half, middle + half),)
        else:
            notes.append(plain(f"{file}: no line 'Duration: SECONDS'; word times left out"))
    # Each split counts from 1 again: only with the split is the name an id.
    return Source(path, f"{word}-{split}-{number}", "", spoken, spans, split)


def _ldc(root: Path, path: str, notes: list[str]) -> Source:
    """LDC2009V01 (Richie, Warburton and Carter 2009): 14 speakers who read the same lists.

    Known from two public projects that read the corpus: QuickTime files that hold picture and
    sound, one folder for each speaker (av_db_am_eng/data/F02), names of the form
    SPEAKER_LIST_ITEM such as F02_TIMIT_... . The other lists' names are not known, so all that
    follows the speaker counts as the name of what is said, the same for every speaker who reads
    it; a transcript beside the video, as in any folder, replaces it. The speaker is taken from
    the file's name, else from the nearest folder, at any depth. F02 and M01 are for testing, as
    in Chen et al. 2018.
    """
    # Folders above the given one say nothing: a disk may be called M01.
    speaker, item = _ldc_name(f"{root.resolve().name}/{path}")
    known = _folder(root, path, notes)
    item = " ".join(re.split(r"[\W_]+", item.lower())).strip()
    return dataclasses.replace(
        known,
        id=f"{speaker}-{item.replace(' ', '_')}" if speaker and item else known.id,
        speaker=speaker,
        sentence=known.sentence or (plain(item) if speaker else ""),
        split="test" if speaker in _LDC_TEST else None,
    )


def _ldc_name(path: str) -> tuple[str, str]:
    """Returns the speaker and the item of a path in LDC2009V01, ("", stem) for other paths."""
    *folders, name = path.split("/")
    stem = name.rpartition(".")[0]
    if match := _LDC_NAME.fullmatch(stem):
        return match[1].upper(), match[2]
    for depth in range(len(folders) - 1, -1, -1):
        if _LDC_FOLDER.fullmatch(folders[depth]):
            return folders[depth].upper(), "/".join([*folders[depth + 1 :], stem])
    return "", stem


def _folder(root: Path, path: str, notes: list[str]) -> Source:
    """Any folder: speaker/clip.ext; NAME.txt and NAME.spans.json beside a video are read."""
    relative = Path(path)
    speaker = plain(relative.parts[0], _MOST_NAME) if len(relative.parts) > 1 else ""
    spans: tuple[Span, ...] = ()
    file = (root / path).with_suffix(".spans.json")
    if (text := _beside(root, file, notes)) is not None:
        spans = _read_spans(file, text, notes)
    sentence = " ".join(span.text for span in spans if span.kind == "word")
    file = (root / path).with_suffix(".txt")
    if (text := _beside(root, file, notes)) is not None:
        lines = text.strip().splitlines()
        told = re.sub(r"^text:", "", lines[0] if lines else "", flags=re.IGNORECASE)
        sentence = told or sentence
    sentence = plain(sentence.lower(), _MOST_SENTENCE)
    return Source(path, "-".join(relative.with_suffix("").parts), speaker, sentence, spans)


def _read_spans(file: Path, text: str, notes: list[str]) -> tuple[Span, ...]:
    try:
        spans = tuple(
            Span(plain(str(k), _MOST_WORD), plain(str(t), _MOST_WORD), float(a), float(b))
            for k, t, a, b in json.loads(text)
        )
        if not all(math.isfinite(s.start) and s.start <= s.end < math.inf for s in spans):
            raise ValueError("a span ends before it starts")
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        told = f"{file}: left out, not a list of [kind, text, start, end] ({error})"
        notes.append(plain(told))
        return ()
    return spans


READERS: dict[str, Callable[[Path, str, list[str]], Source]] = {
    "grid": _grid,
    "lrw": _lrw,
    "ldc": _ldc,
    "folder": _folder,
}
"""Name of a layout -> function of (root, path below it, notes to add to)."""

LAYOUTS = ("auto", *READERS)
"""Names that `scan` takes for a layout."""


def detect_layout(paths: Collection[str]) -> str:
    """Returns the layout that most of the paths follow: "grid", "lrw", "ldc" or "folder".

    Args:
        paths: of the videos, with as many of the folders above them as are known.
    """
    counts = {
        "grid": sum(bool(_GRID_NAME.fullmatch(Path(path).stem)) for path in paths),
        "lrw": sum(bool(_LRW_PATH.fullmatch(path)) for path in paths),
        "ldc": sum(bool(_ldc_name("/".join(path.split("/")[-2:]))[0]) for path in paths),
    }
    best = max(counts, key=lambda name: counts[name])
    return best if 2 * counts[best] > len(paths) else "folder"
