# SPDX-License-Identifier: Apache-2.0
"""Speech and a picture or video in, a talking video out."""

import importlib.util
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from lipjax.errors import ConfigError, LipjaxError, MediaError
from lipjax.generation.pairs import read_pairs
from lipjax.generation.talks import Clock, Progress, Talk, Talks, show_progress
from lipjax.generation.targets import Target, open_target
from lipjax.media.audio import Sound, level_gain, read_sound, speech_level, to_float
from lipjax.media.video import probe, write_video
from lipjax.speakers.contract import Speaker
from lipjax.speakers.stream import Stream

__all__ = ["Talk", "Talks", "generate", "generate_many", "show_progress", "speak_mouths"]

COMMENT = "Synthetic speech video made with lipjax"
"""Stands in the title and comment of every video made."""
LEVEL_SECONDS = 600
"""The level of the speech is measured on at most so much of its beginning."""


def generate(
    speaker: Speaker,
    params: Any,
    *,
    face: str | os.PathLike,
    audio: str | os.PathLike,
    out: str | os.PathLike,
    face_kind: str = "auto",
    landmarks: str = "auto",
    report: str | os.PathLike | None = None,
    progress: Progress | None = None,
) -> Talk:
    """Makes a picture or video say something.

    The video is as long as the sound: a video to dub ends with it, or is played back and forth.
    Pictures are streamed, so memory grows with the sound only (less than 1 MB per second).

    Args:
        speaker: the system.
        params: its parameters and statistics.
        face: a mouth crop, a photo of a face, or a video to dub.
        audio: speech in any sound or video file; brought to the level the system is used to.
        out: the mp4 to write. It carries the sound, and says in its tags that it is synthetic.
        face_kind: "mouth", "face", "video", or "auto" to find out.
        landmarks: what finds faces: "auto", "dlib", "files" or "mediapipe:FILE.task".
        report: a JSON file to write the result's facts to.
        progress: called as the work goes on.

    Returns:
        What was made, frames without a face listed.

    Raises:
        ConfigError: a setting that cannot work or something that is not installed.
        FaceNotFoundError: there is no face; found before the network runs.
        MediaError: a file that cannot be read or written.
    """
    began = time.monotonic()
    face, audio, out = Path(face), Path(audio), Path(out)
    needs = speaker.needs
    if needs.text:
        raise ConfigError("this speaker also needs the words, which generate cannot give it")
    _check_installed()
    check_paths(face, audio, out, report)
    sound = _spoken(face, audio)
    frames = max(1, math.ceil(round(sound.duration * needs.fps, 3)))
    tick = None if progress is None else Clock("finding the face", progress)
    target = open_target(face, needs, frames=frames, kind=face_kind, landmarks=landmarks, tick=tick)
    mouths = speak_mouths(speaker, params, target, sound, frames)
    painted = target.paint(mouths)
    if progress is not None:
        painted = _counted(painted, frames, Clock("speaking", progress))
    info = write_video(out, painted, fps=needs.fps, sound=sound, comment=COMMENT)
    talk = Talk(
        path=out,
        kind=target.kind,
        frames=frames,
        fps=needs.fps,
        width=info.width,
        height=info.height,
        untracked=target.untracked,
        notes=target.notes,
        work_seconds=time.monotonic() - began,
    )
    if report is not None:
        Path(report).write_text(json.dumps(talk.as_dict(), indent=1) + "\n", encoding="utf-8")
    return talk


def generate_many(
    speaker: Speaker,
    params: Any,
    pairs: str | os.PathLike,
    *,
    landmarks: str = "auto",
    report: str | os.PathLike | None = None,
    progress: Progress | None = None,
) -> Talks:
    """Makes the videos of a list; a row that cannot be made is reported and passed over.

    Args:
        speaker: the system.
        params: its parameters and statistics.
        pairs: CSV file with the columns face, audio, out and, if wanted, face_kind. Relative
            paths start from the folder of this file.
        landmarks: as for `generate`.
        report: a JSON file to write the outcome to.
        progress: called as the work goes on, with the row before what is done.

    Returns:
        What was made and what was not.

    Raises:
        ConfigError: the list cannot be read or lacks a column.
    """
    pairs = Path(pairs)
    rows = read_pairs(pairs)
    made, failed, written = [], [], set()
    for number, (line, row) in enumerate(rows, start=1):
        shown = None
        if progress is not None:

            def shown(what: str, *counts: Any, number: int = number) -> None:
                progress(f"{number}/{len(rows)} {what}", *counts)

        try:
            missing = [name for name in ("face", "audio", "out") if not row[name]]
            if missing:
                raise ConfigError(f"nothing is given for {', '.join(missing)}")
            face, audio, out = (pairs.parent / row[name] for name in ("face", "audio", "out"))
            if out.resolve() in written:
                raise ConfigError(f"{out}: an earlier row has made it; choose another name")
            talk = generate(
                speaker,
                params,
                face=face,
                audio=audio,
                out=out,
                face_kind=row.get("face_kind") or "auto",
                landmarks=landmarks,
                progress=shown,
            )
        except LipjaxError as error:
            failed.append((line, str(error)))
        except Exception as error:  # noqa: BLE001  one odd file must not cost the others
            failed.append((line, f"{row['face']}: {type(error).__name__}: {error}"))
        else:
            made.append(talk)
            written.add(out.resolve())
    talks = Talks(tuple(made), tuple(failed))
    if report is not None:
        Path(report).write_text(json.dumps(talks.as_dict(), indent=1) + "\n", encoding="utf-8")
    return talks


def check_paths(face: Path, audio: Path, out: Path, report: str | os.PathLike | None) -> None:
    """Finds out before any work whether files are there and results can be written.

    Raises:
        ConfigError: names the path and what to do.
    """
    for path, what in ((face, "face"), (audio, "audio")):
        if path.is_dir():
            raise ConfigError(f"{path}: is a folder; name a file for the {what}")
        if not path.is_file():
            raise ConfigError(f"{path}: no such file for the {what}")
        if out.exists() and os.path.samefile(out, path):
            raise ConfigError(f"{out}: would overwrite the {what}; choose another name for out")
    if out.suffix.lower() != ".mp4":
        raise ConfigError(f"{out}: the video to write must end in .mp4")
    for path in (out, *([] if report is None else [Path(report)])):
        folder = path.resolve().parent
        if not folder.is_dir():
            raise ConfigError(f"{path}: there is no folder {folder}; make it first")
        if path.is_dir() or not os.access(folder, os.W_OK):
            raise ConfigError(f"{path}: cannot be written; choose another place")


def _check_installed() -> None:
    for module, package in (("av", "PyAV"), ("cv2", "OpenCV")):
        if importlib.util.find_spec(module) is None:
            raise ConfigError(f"making videos needs {package}: pip install 'lipjax[media]'")


def _spoken(face: Path, audio: Path) -> Sound:
    """The sound to speak, its beginning at time 0."""
    sound = read_sound(audio)
    if not len(sound.samples):
        raise MediaError(f"{audio}: there is no sound in it")
    start = sound.start
    if os.path.samefile(face, audio):
        # A video that keeps its own sound keeps the two in step.
        start = probe(face).start
    return Sound(sound.between(start, sound.end), sound.rate)


def speak_mouths(
    speaker: Speaker, params: Any, target: Target, sound: Sound, frames: int
) -> Iterator[UInt8[np.ndarray, "S S 3"]]:
    """Makes the mouth crops of a talk, one by one, as fast as they are taken.

    Args:
        speaker: the system.
        params: its parameters and statistics.
        target: whom to animate.
        sound: the speech, its beginning at time 0; brought to the level the system is used to.
        frames: to make.
    """
    measured = to_float(sound.samples[: LEVEL_SECONDS * sound.rate])
    gain = level_gain(speech_level(measured, sound.rate), speaker.needs.log_mel)
    painted_into = None
    if speaker.needs.target != "picture":
        painted_into = (_unit(crop) for crop in target.crops())
    talk = Stream(
        speaker,
        params,
        _unit(target.identity)[None],
        rate=sound.rate,
        gain=gain,
        target_frames=painted_into,
    )
    for first in range(0, len(sound.samples), sound.rate):
        yield from map(_uint8, talk.push(sound.samples[first : first + sound.rate]))
    yield from map(_uint8, talk.finish(frames))


def _unit(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float32) / 127.5 - 1.0


def _uint8(image: np.ndarray) -> np.ndarray:
    return np.clip(np.rint((image + 1.0) * 127.5), 0, 255).astype(np.uint8)


def _counted(painted: Iterator[Any], total: int, tick: Callable[[int, int], None]) -> Iterator[Any]:
    for done, frame in enumerate(painted, start=1):
        yield frame
        tick(done, total)
