# SPDX-License-Identifier: Apache-2.0
"""Which videos a folder holds, who speaks in them and what is said: GRID, LRW, any folder."""

import csv
import dataclasses
import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path

from lipjax.data.schema import Span
from lipjax.errors import ConfigError, nearest
from lipjax.media.video import is_video_name


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


@dataclasses.dataclass(frozen=True)
class Scan:
    """What a folder holds: its layout, its videos in order of path, remarks for the report."""

    root: Path
    layout: str
    sources: tuple[Source, ...]
    notes: tuple[str, ...] = ()


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
_LRW_PATH = re.compile(r"(?:^|.*/)([^/]+)/(train|val|test)/\1_\d+\.[^/.]+")
_LRW_SECONDS = 1.16


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
    speaker = next((match[1].lower() for match in named if match), "")
    sides = (relative.parent, relative.parent / "align", relative.parent.parent / "align")
    spans: tuple[Span, ...] = ()
    for side in sides:
        file = root / side / (relative.stem + ".align")
        if file.is_file():
            spans = _read_align(file, notes)
            break
    sentence = grid_sentence(relative.stem) or " ".join(span.text for span in spans)
    return Source(path, f"{speaker}-{relative.stem}", speaker, sentence, spans)


def _read_align(file: Path, notes: list[str]) -> tuple[Span, ...]:
    spans = []
    try:
        for line in file.read_text(encoding="utf-8").splitlines():
            start, stop, word = line.split()
            if word not in ("sil", "sp"):
                spans.append(Span("word", word, int(start) / _GRID_TICKS, int(stop) / _GRID_TICKS))
    except (OSError, ValueError) as error:
        notes.append(f"{file}: alignment left out ({error})")
        return ()
    return tuple(spans)


def _lrw(root: Path, path: str, notes: list[str]) -> Source:
    """LRW (Chung and Zisserman 2016): word folders with an official split, speakers unknown."""
    relative = Path(path)
    match = _LRW_PATH.fullmatch(path)
    if not match:
        return Source(path, "-".join(relative.with_suffix("").parts))
    word, split = match[1], match[2]
    spans: tuple[Span, ...] = ()
    file = (root / path).with_suffix(".txt")
    if file.is_file():  # the word lies in the middle of the clip, for "Duration" seconds
        found = re.search(r"Duration:\s*([\d.]+)", file.read_text(encoding="utf-8"))
        if found:
            half, middle = float(found[1]) / 2, _LRW_SECONDS / 2
            spans = (Span("word", word.lower(), middle - half, middle + half),)
        else:
            notes.append(f"{file}: no line 'Duration: SECONDS'; word times left out")
    return Source(path, relative.stem, "", word.lower(), spans, split)


def _folder(root: Path, path: str, notes: list[str]) -> Source:
    """Any folder: speaker/clip.ext; NAME.txt and NAME.spans.json beside a video are read."""
    relative = Path(path)
    speaker = relative.parts[0] if len(relative.parts) > 1 else ""
    spans: tuple[Span, ...] = ()
    file = (root / path).with_suffix(".spans.json")
    if file.is_file():
        try:
            rows = json.loads(file.read_text(encoding="utf-8"))
            spans = tuple(Span(str(k), str(t), float(a), float(b)) for k, t, a, b in rows)
            if not all(math.isfinite(s.start) and s.start <= s.end < math.inf for s in spans):
                raise ValueError("a span ends before it starts")
        except (OSError, ValueError, TypeError) as error:
            notes.append(f"{file}: left out, not a list of [kind, text, start, end] ({error})")
            spans = ()
    sentence = " ".join(span.text for span in spans if span.kind == "word")
    file = (root / path).with_suffix(".txt")
    if file.is_file():
        lines = file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        text = re.sub(r"^text:", "", lines[0] if lines else "", flags=re.IGNORECASE)
        sentence = text or sentence
    sentence = " ".join(sentence.lower().split())
    return Source(path, "-".join(relative.with_suffix("").parts), speaker, sentence, spans)


_LAYOUTS: dict[str, Callable[[Path, str, list[str]], Source]] = {
    "grid": _grid,
    "lrw": _lrw,
    "folder": _folder,
}
LAYOUTS = ("auto", *_LAYOUTS)
"""Names that `scan` takes for a layout."""


def detect_layout(paths: Collection[str]) -> str:
    """Returns the layout that most of the paths follow: "grid", "lrw" or "folder"."""
    grid = sum(bool(_GRID_NAME.fullmatch(Path(path).stem)) for path in paths)
    lrw = sum(bool(_LRW_PATH.fullmatch(path)) for path in paths)
    best, count = max((("grid", grid), ("lrw", lrw)), key=lambda pair: pair[1])
    return best if 2 * count > len(paths) else "folder"


def scan(videos: Path | str, layout: str = "auto") -> Scan:
    """Finds the videos below a folder and what their place and neighbours say about them.

    Args:
        videos: a folder, or one video.
        layout: one of `LAYOUTS`.

    Returns:
        The scan, sources sorted by path.

    Raises:
        ConfigError: no such folder, no video in it, an unknown layout, a broken speakers.csv.
    """
    if layout not in LAYOUTS:
        raise ConfigError(f"layout {layout!r} is unknown{nearest(layout, LAYOUTS)}")
    videos = Path(videos)
    root = videos.parent if videos.is_file() else videos
    if videos.is_file():
        paths = [videos.name]
    elif videos.is_dir():
        found = (file for file in root.rglob("*") if is_video_name(file.name) and file.is_file())
        relative = (file.relative_to(root) for file in found)
        visible = (file for file in relative if not any(part[0] == "." for part in file.parts))
        paths = sorted(file.as_posix() for file in visible)
    else:
        raise ConfigError(f"{videos}: no such folder or video")
    if not paths:
        raise ConfigError(f"{videos}: no video files in it or in its folders")
    layout = detect_layout(paths) if layout == "auto" else layout
    notes: list[str] = []
    sources = [_LAYOUTS[layout](root, path, notes) for path in paths]
    if (root / "speakers.csv").is_file():
        sources = _named_speakers(root / "speakers.csv", sources, notes)
    return Scan(root, layout, tuple(_unique(sources)), tuple(notes))


def _named_speakers(file: Path, sources: list[Source], notes: list[str]) -> list[Source]:
    """Takes speakers from a table `path,speaker`; a path may be given without its ending."""
    try:
        with open(file, encoding="utf-8-sig", newline="") as table:
            rows = [row for row in csv.reader(table) if row]
        named = {path.strip().replace("\\", "/"): speaker.strip() for path, speaker in rows}
    except ValueError as error:
        raise ConfigError(f"{file}: every line must read path,speaker ({error})") from error
    used, result = {"path"}, []
    for source in sources:
        keys = (source.path, source.path.rsplit(".", 1)[0])
        key = next((key for key in keys if key in named), None)
        if key is not None:
            used.add(key)
            source = dataclasses.replace(source, speaker=named[key])
        result.append(source)
    notes += [f"{file}: no video {path!r}" for path in named if path not in used]
    return result


def distinct_id(source: Source) -> str:
    """Returns an id that no other path shares: with a hash of the path."""
    return f"{source.id}-{hashlib.sha256(source.path.encode()).hexdigest()[:8]}"


def _unique(sources: list[Source]) -> list[Source]:
    """Makes ids safe as file names and unique, whether or not case counts."""
    ids = [re.sub(r"[^\w.+-]", "_", source.id).strip(".-") or "clip" for source in sources]
    safe = [dataclasses.replace(s, id=name) for s, name in zip(sources, ids, strict=True)]
    counts = Counter(source.id.casefold() for source in safe)
    return [
        source
        if counts[source.id.casefold()] == 1
        else dataclasses.replace(source, id=distinct_id(source))
        for source in safe
    ]
