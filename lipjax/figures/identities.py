# SPDX-License-Identifier: Apache-2.0
"""Pictures of anybody, saying what they never said, one row per model: the poster's Fig. 5."""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from lipjax.errors import ConfigError, LipjaxError, MediaError
from lipjax.figures.parts import (
    Model,
    Show,
    check_out,
    load_models,
    loudness_under,
    save,
    spoken_frames,
    spread_frames,
)
from lipjax.generate import COMMENT, speak_mouths
from lipjax.generation.targets import FacePhoto, Target, open_target
from lipjax.media import draw
from lipjax.media.audio import Sound, read_sound
from lipjax.media.plates import Block, plate
from lipjax.media.video import is_video_name, write_video

_PANEL = 192  # height of a picture in the video, pixels
_PORTRAIT = 512
_LONGEST_NAME = 240  # bytes of a file's name


def identities_figure(
    workdirs: Sequence[Path],
    faces: Sequence[Path],
    audio: Sequence[Path],
    out: Path,
    *,
    frames: int = 16,
    face_kind: str = "auto",
    landmarks: str = "auto",
    video: bool = True,
    show: Show = print,
) -> list[Path]:
    """Draws what each model makes of each picture and each sound, and shows it as video.

    Args:
        workdirs: of one or more trained runs.
        faces: mouth crops or photos of faces, of anybody. One that cannot be used is reported
            and left out.
        audio: speech; likewise.
        out: the PNG to write. Beside it a video with sound is written, for each sound if there
            are several.
        frames: of each row, at most, evenly from the first to the last that is loud.
        face_kind: "mouth" or "face" for all pictures, or "auto" to find out.
        landmarks: what finds faces: "auto", "dlib", "files" or "mediapipe:FILE.task".
        video: whether to write videos.
        show: gets a line for each file that was written or left out.

    Returns:
        The PNG and the videos.

    Raises:
        ConfigError: something that cannot work, or no picture or no sound that can be used.
    """
    out = Path(out)
    faces, audio = [Path(path) for path in faces], [Path(path) for path in audio]
    sounds = _usable(audio, _read, show, "sound")
    films = _film_paths(out, [path for path, _ in sounds]) if video else []
    check_out(out, films=films, read=[*faces, *audio])
    if frames < 1:
        raise ConfigError(f"a figure needs at least one frame, not {frames}")
    models = load_models(workdirs)
    how = {"kind": face_kind, "landmarks": landmarks}
    pictures = _usable(faces, lambda path: _open(path, models, **how), show, "face")
    blocks, fps = [], models[0].speaker.needs.fps
    wanted: Sequence[Path | None] = films or [None] * len(sounds)
    for film, (heard, sound) in zip(wanted, sounds, strict=True):
        length = max(1, math.ceil(round(sound.duration * fps, 3)))
        times = (np.arange(length) + 0.5) / fps
        chosen = spread_frames(*spoken_frames(sound, length, fps=fps), frames)
        talks = []
        for path, targets in pictures:
            pairs = zip(models, targets, strict=True)
            talk = {model.name: _made(model, target, sound, times) for model, target in pairs}
            blocks.append(
                Block(
                    title=f"{path.name} says {heard.name}",
                    picture=_shown(targets[0]),
                    caption="given",
                    rows={name: mouths[chosen] for name, mouths in talk.items()},
                    times=times[chosen].tolist(),
                    loudness=loudness_under(sound, times[chosen], step=1 / fps),
                )
            )
            talks.append((path.stem, _shown(targets[0]), talk))
        if film is not None:
            write_video(film, _panels(talks, length), fps=fps, sound=sound, comment=COMMENT)
            show(f"{film}: {length / fps:.1f} s")
    save(out, plate(blocks, note=_note(workdirs)))
    show(f"{out}: {len(pictures)} pictures, {len(sounds)} sounds, {len(models)} models")
    return [out, *films]


def _usable(
    paths: Sequence[Path], opened: Callable[[Path], Any], show: Show, what: str
) -> list[tuple[Path, Any]]:
    """Opens files; what cannot be used is told and left out, unless nothing remains."""
    kept, reasons = [], []
    for path in paths:
        try:
            kept.append((path, opened(path)))
        except LipjaxError as error:
            reasons.append(str(error))
    if not kept:
        raise ConfigError(f"no {what} can be used: {'; '.join(reasons) or 'none is given'}")
    for reason in reasons:
        show(f"left out: {reason}")
    return kept


def _read(path: Path) -> Sound:
    if not path.is_file():
        raise MediaError(f"{path}: no such file for the sound")
    sound = read_sound(path)
    if not len(sound.samples):
        raise MediaError(f"{path}: there is no sound in it")
    return Sound(sound.between(sound.start, sound.end), sound.rate)


def _open(path: Path, models: Sequence[Model], *, kind: str, landmarks: str) -> list[Target]:
    """The picture as each model wants it cropped."""
    if is_video_name(path):
        raise MediaError(f"{path}: is a video; figures are made from pictures (generate dubs)")
    needs = [model.speaker.needs for model in models]
    return [open_target(path, need, frames=1, kind=kind, landmarks=landmarks) for need in needs]


def _shown(target: Target) -> UInt8[np.ndarray, "S S 3"]:
    return target.portrait(_PORTRAIT) if isinstance(target, FacePhoto) else target.identity


def _made(
    model: Model, target: Target, sound: Sound, times: np.ndarray
) -> UInt8[np.ndarray, "T S S 3"]:
    """A model's mouths at given times; models may run at different rates."""
    fps = model.speaker.needs.fps
    wanted = np.floor(times * fps + 1e-6).astype(int)
    made = speak_mouths(model.speaker, model.params, target, sound, int(wanted[-1]) + 1)
    return np.stack(list(made))[wanted]


def _film_paths(out: Path, sounds: Sequence[Path]) -> list[Path]:
    """FIGURE.mp4, or FIGURE-SOUND.mp4 where there are several sounds."""
    if len(sounds) == 1:
        return [out.with_suffix(".mp4")]
    names = [path.stem for path in sounds]
    longest = max(len(os.fsencode(f"{out.stem}-{name}.mp4")) for name in names)
    if len(set(names)) < len(names) or longest > _LONGEST_NAME:
        names = [str(number) for number in range(1, len(names) + 1)]
    return [out.with_name(f"{out.stem}-{name}.mp4") for name in names]


def _panels(talks: Sequence[tuple], length: int) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """Yields frames of the video: a line per picture, the models side by side."""
    for t in range(length):
        lines = []
        for name, picture, talk in talks:
            made = {label: mouths[t] for label, mouths in talk.items()}
            shown = {f"given: {name}": picture, **made}
            lines.append(draw.side_by_side(shown, height=_PANEL))
        yield np.concatenate(lines)


def _note(workdirs: Sequence[Path]) -> str:
    runs = ", ".join(Path(workdir).resolve().name for workdir in workdirs)
    return (
        f"Runs: {runs}. Every frame is generated from the one picture at the left and the sound, "
        "which need not belong together. Frames are taken evenly from the first to the last in "
        "which something is said."
    )
