# SPDX-License-Identifier: Apache-2.0
"""Checkpoint folders that are not whole: telling them, and putting them where nothing reads them.

A kill leaves none of them, because a checkpoint gets its name after its last file and loses it
before its first. A power cut, a full quota or an interrupted copy can.
"""

import json
import shutil
from pathlib import Path

TEMPORARY = ".orbax-checkpoint-tmp"  # in the name of every folder that is being written
_ALWAYS = ("_CHECKPOINT_METADATA", "state/_METADATA", "loop/metadata")
_JSON = (*_ALWAYS, "metrics/metrics", "state/_sharding", "state/array_metadatas/process_*")


def steps_in(root: Path) -> dict[int, Path]:
    """Returns step -> folder of everything that is named like a checkpoint, whole or not."""
    entries = root.iterdir() if root.is_dir() else ()
    return {
        int(e.name): e
        for e in sorted(entries)
        if e.name.isascii() and e.name.isdigit() and e.is_dir()
    }


def incomplete(checkpoint: Path) -> str | None:
    """Says what a checkpoint lacks, from its small files alone; None if nothing.

    Args:
        checkpoint: folder of one.
    """
    for name in _ALWAYS:
        if not (checkpoint / name).is_file():
            return f"no {name}"
    for pattern in _JSON:
        for file in checkpoint.glob(pattern):
            try:
                json.loads(file.read_bytes())
            except (ValueError, RecursionError):
                return f"{file.relative_to(checkpoint)} is empty or cut off"
            except OSError as error:
                return f"{file.relative_to(checkpoint)}: {error.strerror}"
    return None


def set_aside(checkpoint: Path) -> Path:
    """Moves a checkpoint into the folder `damaged` beside it, and returns where it lies now."""
    folder = checkpoint.parent / "damaged"
    folder.mkdir(exist_ok=True)
    place, number = folder / checkpoint.name, 1
    while place.exists():
        place, number = folder / f"{checkpoint.name}-{number}", number + 1
    return checkpoint.rename(place)


def clear_temporary(root: Path) -> None:
    """Deletes what was being written, or deleted, when a run was killed."""
    for entry in root.iterdir() if root.is_dir() else ():
        if TEMPORARY in entry.name:
            shutil.rmtree(entry, ignore_errors=True)
