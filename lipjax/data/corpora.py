# SPDX-License-Identifier: Apache-2.0
"""Which videos a folder holds, who speaks in them and what is said."""

import csv
import dataclasses
import hashlib
import re
from collections import Counter
from pathlib import Path

from lipjax.data.layouts import LAYOUTS, READERS, Source, detect_layout
from lipjax.errors import ConfigError, nearest
from lipjax.media.video import is_video_name

__all__ = ["LAYOUTS", "Scan", "Source", "distinct_id", "scan"]


@dataclasses.dataclass(frozen=True)
class Scan:
    """What a folder holds: its layout, its videos in order of path, remarks for the report."""

    root: Path
    layout: str
    sources: tuple[Source, ...]
    notes: tuple[str, ...] = ()


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
    if layout == "auto":  # by full paths: `videos` may be a folder within a corpus
        above = root.resolve().as_posix()
        layout = detect_layout([f"{above}/{path}" for path in paths])
    notes: list[str] = []
    sources = [READERS[layout](root, path, notes) for path in paths]
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
