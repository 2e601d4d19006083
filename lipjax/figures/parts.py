# SPDX-License-Identifier: Apache-2.0
"""What all figures share: models under names, which columns to show, the file."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from lipjax.errors import ConfigError
from lipjax.generate import COMMENT
from lipjax.jobs import load_speaker
from lipjax.media import draw
from lipjax.media.audio import Sound, speech_level, to_float
from lipjax.speakers.contract import Speaker

Show = Callable[[str], None]
"""Gets a line for the console."""
_PER_COLUMN = 10  # points of the drawn loudness


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained model under the name that a figure gives it."""

    name: str
    speaker: Speaker
    params: Any


def load_models(workdirs: Sequence[Path]) -> list[Model]:
    """Loads trained runs, named after their folders; one alone is named "generated".

    Raises:
        ConfigError: no run, no trained model in a folder, or one that needs more than a picture.
    """
    if not workdirs:
        raise ConfigError("a figure needs at least one trained run")
    paths = [Path(workdir) for workdir in workdirs]
    names = [path.resolve().name for path in paths]
    if len(paths) == 1:
        names = ["generated"]
    elif len(set(names)) < len(names):
        names = [str(path) for path in paths]
    models = []
    for name, path in zip(names, paths, strict=True):
        speaker, params = load_speaker(path)
        if speaker.needs.target != "picture":
            raise ConfigError(
                f"{path}: this model needs a {speaker.needs.target}, figures give a picture"
            )
        models.append(Model(name, speaker, params))
    return models


def check_out(out: Path, *, films: Sequence[Path] = (), read: Sequence[Path] = ()) -> None:
    """Finds out before any work whether the figure can be written.

    Args:
        out: the PNG to write.
        films: videos that will be written beside it.
        read: files that must not be overwritten.

    Raises:
        ConfigError: names the path and what to do.
    """
    if out.suffix.lower() != ".png":
        raise ConfigError(f"{out}: the figure to write must end in .png")
    folder = out.resolve().parent
    if not folder.is_dir():
        raise ConfigError(f"{out}: there is no folder {folder}; make it first")
    taken = {path.resolve() for path in read}
    for path in (out, *films):
        if path.is_dir() or not os.access(folder, os.W_OK):
            raise ConfigError(f"{path}: cannot be written; choose another place")
        if path.resolve() in taken:
            raise ConfigError(f"{path}: would be overwritten; choose another name for {out.name}")


def save(out: Path, image: UInt8[np.ndarray, "H W 3"]) -> None:
    """Writes a figure; the file says in its comment that its frames are synthetic."""
    temporary = out.with_name(out.name + ".tmp")
    temporary.write_bytes(draw.png(image, comment=COMMENT))
    temporary.replace(out)


def spread_frames(first: int, last: int, count: int) -> Int[np.ndarray, "N"]:
    """Chooses frames evenly between two, both included; fewer where there are not so many."""
    if count < 1:
        raise ConfigError(f"a figure needs at least one frame, not {count}")
    return np.unique(np.round(np.linspace(first, last, min(count, last - first + 1))).astype(int))


def spoken_frames(sound: Sound, frames: int, *, fps: float) -> tuple[int, int]:
    """First and last of a talk's frames in which the sound is at most 25 dB below its level."""
    times = np.arange(frames + 1) / fps
    blocks = [
        to_float(sound.between(float(a), float(b)))
        for a, b in zip(times[:-1], times[1:], strict=True)
    ]
    power = np.array([np.mean(np.square(x)) for x in blocks], np.float64)
    least = 10 ** ((speech_level(to_float(sound.samples), sound.rate) - 25.0) / 10)
    loud = np.flatnonzero(power > least)
    return (int(loud[0]), int(loud[-1])) if len(loud) else (0, frames - 1)


def loudness_under(
    sound: Sound, times: Float[np.ndarray, "N"], *, step: float
) -> Float[np.ndarray, "points"]:
    """The sound's loudness along the columns of a figure.

    Args:
        sound: on the clock of `times`.
        times: of the columns' middles in seconds, evenly spaced.
        step: seconds that a column stands for where there is only one.

    Returns:
        Square root of the RMS, relative to the loudest, from half a column before the first time
        to half a column after the last.
    """
    apart = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else step
    start, stop = times[0] - apart / 2, times[-1] + apart / 2
    edges = np.linspace(start, stop, _PER_COLUMN * len(times) + 1)
    blocks = [
        to_float(sound.between(float(a), float(b)))
        for a, b in zip(edges[:-1], edges[1:], strict=True)
    ]
    power = np.array([np.mean(np.square(x)) if len(x) else 0.0 for x in blocks], np.float64)
    # The root of the amplitude, so that quiet consonants can be seen beside vowels.
    level = power**0.25
    return level / max(level.max(), 1e-9)
