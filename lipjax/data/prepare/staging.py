# SPDX-License-Identifier: Apache-2.0
"""One file per source between decoding and packing: npz without pickle, complete or absent."""

import contextlib
import dataclasses
import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lipjax.data.schema import Clip, Span

_FACTS = "facts.json"


def staged_path(folder: Path, source: str) -> Path:
    """Returns the staged file of a source, named by a hash of its path."""
    return Path(folder) / (hashlib.sha256(source.encode()).hexdigest()[:32] + ".npz")


class StagedWriter:
    """Takes the clips of one source as they are made; memory holds one clip at a time."""

    def __init__(self, archive: zipfile.ZipFile):
        self._archive = archive
        self.rows: list[dict[str, Any]] = []

    def add(self, clip: Clip, aside: dict[str, float]) -> None:
        """Appends a clip and numbers that packing asks for beside it."""
        row: dict[str, Any] = {"aside": aside}
        for field in dataclasses.fields(clip):
            value = getattr(clip, field.name)
            if isinstance(value, np.ndarray):
                entry = f"{len(self.rows)}/{field.name}.npy"
                with self._archive.open(entry, "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, np.ascontiguousarray(value))
            else:
                row[field.name] = value
        row["spans"] = [dataclasses.astuple(span) for span in clip.spans]
        self.rows.append(row)


@contextlib.contextmanager
def staging(path: Path) -> Iterator[tuple[StagedWriter, Callable[[dict[str, Any]], None]]]:
    """Writes a staged file; it gets its name only when all is written.

    Args:
        path: where.

    Yields:
        The writer of clips, and a function that takes the facts about the source, to be called
        once at the end; without it nothing is kept.
    """
    part = path.with_suffix(f".{os.getpid()}.part")
    facts: list[dict[str, Any]] = []
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
            writer = StagedWriter(archive)
            yield writer, facts.append
            if facts:
                text = json.dumps({**facts[-1], "clips": writer.rows})
                archive.writestr(zipfile.ZipInfo(_FACTS), text)
        if facts:
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def staged_facts(path: Path) -> dict[str, Any] | None:
    """Returns the facts of a staged file with the clips' texts and numbers; None if unreadable."""
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read(_FACTS))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def staged_clip(path: Path, position: int, row: dict[str, Any], **changes: Any) -> Clip:
    """Returns one clip of a staged file.

    Args:
        path: the file.
        position: number of the clip in it.
        row: its entry in `staged_facts(path)["clips"]`.
        changes: fields that get another value.
    """
    values = {name: value for name, value in row.items() if name != "aside"}
    values = {**values, "spans": tuple(Span(*span) for span in row["spans"])}
    with zipfile.ZipFile(path) as archive:
        for field in dataclasses.fields(Clip):
            if field.name not in values:
                with archive.open(f"{position}/{field.name}.npy") as file:
                    values[field.name] = np.lib.format.read_array(file, allow_pickle=False)
    return Clip(**{**values, **changes})
