# SPDX-License-Identifier: Apache-2.0
"""Which videos a folder holds, who speaks in them and what is said."""

import csv
import dataclasses
import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from lipjax.data.layouts import LAYOUTS, READERS, Source, detect_layout
from lipjax.errors import ConfigError, nearest
from lipjax.media.text import is_text, plain
from lipjax.media.video import is_video_name

__all__ = ["LAYOUTS", "Scan", "Source", "distinct_id", "scan"]

_MOST_ID = 120
"""Bytes of an id: with what is put before and after it, it still is a file's name."""
_MOST_TABLE = 1 << 26
"""Bytes of speakers.csv."""


@dataclasses.dataclass(frozen=True)
class Scan:
    """What a folder holds: its layout, its videos in order of path, remarks for the report."""

    root: Path
    layout: str
    sources: tuple[Source, ...]
    notes: tuple[str, ...] = ()


def scan(videos: Path | str, layout: str = "auto") -> Scan:
    """Finds the videos below a folder and what their place and neighbours say about them.

    A link to a video counts as one, wherever it leads; links to folders are not followed, so
    there are no circles, and are noted. A text beside a video that is a link is read where it
    leads to a file of the same ending or into the folder. Names that are no Unicode are left out
    with a note.

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
    notes: list[str] = []
    if videos.is_file():
        paths = [videos.name]
    elif videos.is_dir():
        paths = sorted(_videos_below(root, notes))
    else:
        raise ConfigError(f"{videos}: no such folder or video")
    notes += [
        plain(f"{ascii(path)}: left out, its name is no Unicode; rename it")
        for path in paths
        if not is_text(path)
    ]
    paths = [path for path in paths if is_text(path)]
    if not paths:
        raise ConfigError("; ".join([f"{videos}: no video files in it or in its folders", *notes]))
    if layout == "auto":  # by full paths: `videos` may be a folder within a corpus
        above = root.resolve().as_posix()
        layout = detect_layout([f"{above}/{path}" for path in paths])
    sources = [READERS[layout](root, path, notes) for path in paths]
    if (root / "speakers.csv").is_file():
        sources = _named_speakers(root / "speakers.csv", sources, notes)
    return Scan(root, layout, tuple(_unique(sources)), tuple(notes))


def _videos_below(root: Path, notes: list[str]) -> Iterator[str]:
    """Paths, below a folder, of files that are named like videos and not hidden."""
    for file in root.rglob("*"):
        relative = file.relative_to(root)
        if any(part[0] == "." for part in relative.parts):
            continue
        try:
            if file.is_symlink() and file.is_dir():
                notes.append(
                    f"{ascii(relative.as_posix())}: left out, a link to a folder; link its files"
                )
            elif is_video_name(file.name) and file.is_file():
                yield relative.as_posix()
        except OSError:  # in a folder that may be listed but not entered
            continue


def _named_speakers(file: Path, sources: list[Source], notes: list[str]) -> list[Source]:
    """Takes speakers from a table `path,speaker`; a path may be given without its ending."""
    try:
        if file.stat().st_size > _MOST_TABLE:
            raise ValueError(f"more than {_MOST_TABLE:,} bytes")
        with open(file, encoding="utf-8-sig", newline="") as table:
            rows = [row for row in csv.reader(table) if row]
        named = {path.strip().replace("\\", "/"): plain(name, 200) for path, name in rows}
    except (ValueError, OSError, csv.Error) as error:
        raise ConfigError(f"{file}: every line must read path,speaker ({error})") from error
    used, result = {"path"}, []
    for source in sources:
        keys = (source.path, source.path.rsplit(".", 1)[0])
        key = next((key for key in keys if key in named), None)
        if key is not None:
            used.add(key)
            source = dataclasses.replace(source, speaker=named[key])
        result.append(source)
    notes += [plain(f"{file}: no video {path!r}") for path in named if path not in used]
    return result


def distinct_id(source: Source) -> str:
    """Returns an id that no other path shares: with a hash of the path."""
    return f"{source.id}-{hashlib.sha256(source.path.encode()).hexdigest()[:8]}"


def _unique(sources: list[Source]) -> list[Source]:
    """Makes ids safe as file names and unique, however a disk compares names."""
    safe = [dataclasses.replace(source, id=_safe(source)) for source in sources]
    counts = Counter(_compared(source.id) for source in safe)
    return [
        source
        if counts[_compared(source.id)] == 1
        else dataclasses.replace(source, id=distinct_id(source))
        for source in safe
    ]


def _safe(source: Source) -> str:
    """The id without what a file name must not have, and not too long for one."""
    name = re.sub(r"[^\w.+-]", "_", source.id).strip(".-") or "clip"
    if len(name.encode()) <= _MOST_ID:
        return name
    begin = name.encode()[: _MOST_ID - 9].decode(errors="ignore")
    return distinct_id(dataclasses.replace(source, id=begin))


def _compared(name: str) -> str:
    """Names that some disk takes for the same become equal."""
    return unicodedata.normalize("NFC", name.casefold())
