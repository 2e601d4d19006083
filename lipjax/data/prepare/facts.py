# SPDX-License-Identifier: Apache-2.0
"""What is noted of every video, used or not: for the report and for resuming."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from lipjax.data.corpora import Source
from lipjax.data.schema import INTERPOLATED, MISSING
from lipjax.media import faces


def blank(source: Source) -> dict[str, Any]:
    """Returns the facts of a source of which nothing is known but what the scan says."""
    return {
        "path": source.path,
        "speaker": source.speaker,
        "reason": "",
        "detail": "",
        "wanted": [list(stretch) for stretch in source.keep],
        "seconds": 0.0,
        "kept_seconds": 0.0,
        "kept_clips": 0,
        "silent_clips": 0,
        "notes": [],
    }


def fingerprint(path: Path) -> dict[str, int]:
    """Returns what tells that a file has changed: its size and time of change."""
    state = os.stat(path)
    return {"bytes": state.st_size, "modified_ns": state.st_mtime_ns}


def digest(path: Path, beat: Callable[[int], None]) -> str:
    """Returns the SHA-256 of a file; `beat` is called now and then."""
    state = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            state.update(block)
            beat(0)
    return state.hexdigest()


def count(
    facts: dict[str, Any], track: faces.Track, usable: np.ndarray, audible: np.ndarray, fps: float
) -> None:
    """Notes how much of a video can be used and why the rest cannot, in seconds."""
    status = track.status[usable]

    def seconds(frames: Bool[np.ndarray, "T"]) -> float:
        return float(np.sum(frames)) / fps

    facts |= {
        "seconds": len(status) / fps,
        "seconds_not_asked_for": seconds(~usable),
        "seconds_without_face": seconds(status == MISSING),
        "seconds_interpolated": seconds(status == INTERPOLATED),
        "seconds_without_sound": seconds(~audible[usable]),
        "seconds_with_two_faces": seconds(track.faces[usable] > 1),
        "shot_cuts": len(track.cuts),
    }
    if facts["seconds_with_two_faces"]:
        facts["notes"].append("more than one face: the larger, steadier one was taken")
