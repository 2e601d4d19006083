# SPDX-License-Identifier: Apache-2.0
"""What the page does when somebody asks for a video; knows neither gradio nor a browser."""

import dataclasses
import os
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lipjax.errors import ConfigError, FaceNotFoundError, LipjaxError, MediaError
from lipjax.generate import generate
from lipjax.generation.talks import Progress, Talk
from lipjax.jobs import load_speaker
from lipjax.media.containers import opened, sound_stream
from lipjax.media.probing import declared_seconds
from lipjax.speakers.contract import Needs, Speaker

KINDS = {"a face": "face", "only a mouth": "mouth"}
"""What the page calls what a picture shows -> the kind of face that generate knows."""

SILENCE = 1e-3
"""A sound that is never louder holds no speech: -60 decibels, of full scale 1."""


class Stopped(Exception):
    """The page is being closed, so that a video in the making is given up."""


def make_talk(
    speaker: Speaker,
    params: Any,
    *,
    picture: str | os.PathLike | None,
    sound: str | os.PathLike | None,
    out: str | os.PathLike,
    kind: str = "face",
    landmarks: str = "auto",
    max_seconds: float | int = 60.0,
    progress: Progress | None = None,
) -> Talk:
    """Makes the video of one request.

    Args:
        speaker: the system.
        params: its parameters and statistics.
        picture: the file that was given, None if there was none.
        sound: likewise.
        out: the mp4 to write.
        kind: "face" or "mouth": what the picture shows.
        landmarks: what finds faces, as for `generate`.
        max_seconds: a longer sound is refused.
        progress: called as the work goes on.

    Returns:
        What was made.

    Raises:
        ConfigError: something was not given, or the model needs what a page cannot give.
        FaceNotFoundError: there is no face in the picture.
        MediaError: a file that cannot be read, or a sound that is too long or silent.
    """
    check_needs(speaker.needs)
    if picture is None:
        raise ConfigError("there is no picture yet: drop one on the page, or take an example")
    if sound is None:
        raise ConfigError("there is no sound yet: drop a file on the page, or record some speech")
    _check_sound(Path(sound), max_seconds)
    try:
        return generate(
            speaker,
            params,
            face=picture,
            audio=sound,
            out=out,
            face_kind=kind,
            landmarks=landmarks,
            progress=progress,
        )
    except FaceNotFoundError as error:
        hint = f"if it is a mouth alone, choose {list(KINDS)[1]!r} on the page"
        raise FaceNotFoundError(f"{error}; {hint}") from None


def check_needs(needs: Needs) -> None:
    """Finds out whether a picture and a sound are all that a model wants.

    Raises:
        ConfigError: they are not; the message names the way that works.
    """
    if needs.text:
        raise ConfigError("this model also needs the words, which the page cannot give it")
    if needs.target != "picture":
        raise ConfigError(
            f"this model needs a {needs.target}, the page gives it a picture: "
            "use 'lipjax generate' with a video to dub"
        )


def _check_sound(sound: Path, max_seconds: float | int) -> None:
    """Refuses a sound that says itself that it is too long, or turns out to be, and silence."""
    from lipjax.media.audio import read_sound, to_float

    with opened(sound) as container:
        stream = sound_stream(container)
        seconds = 0.0 if stream is None else declared_seconds(container, stream)
    if seconds > max_seconds:
        raise MediaError(
            f"{sound}: lasts {seconds:,.1f} seconds, this page takes up to {max_seconds:g}; "
            "cut it, or use 'lipjax generate'"
        )
    # Not every format tells how long it is.
    read = read_sound(sound, max_seconds=max_seconds)
    if abs(to_float(read.samples)).max(initial=0) < SILENCE:
        raise MediaError(f"{sound}: is silent; was the microphone muted when it was recorded?")


class Models:
    """Models by name, each loaded when it is first asked for."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        """Takes the names, in the order that the page shows, and their folders."""
        self._folders = dict(folders)
        self._loaded: dict[str, tuple[Speaker, Any]] = {}

    @property
    def names(self) -> list[str]:
        """Of all models; the first is chosen at first."""
        return list(self._folders)

    def load(self, name: str) -> tuple[Speaker, Any]:
        """Returns a model's speaker and parameters.

        Raises:
            ConfigError: there is no such model, it cannot be loaded, or it needs more than the
                page can give.
        """
        if name not in self._folders:
            raise ConfigError(f"the page has no model {name!r}; choose one of the list")
        if name not in self._loaded:
            speaker, params = load_speaker(self._folders[name])
            check_needs(speaker.needs)
            self._loaded[name] = speaker, params
        return self._loaded[name]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What the page shows of a request.

    Attributes:
        video: the file that was made, None if none was.
        told: a sentence for the user, no markup.
    """

    video: Path | None
    told: str


class Work:
    """Answers requests; an error of lipjax becomes a sentence, and so does a mistake of ours."""

    def __init__(self, models: Models, *, landmarks: str, max_seconds: float | int) -> None:
        """Takes what holds for every request."""
        self.models = models
        self._landmarks, self._max_seconds = landmarks, max_seconds
        self._stopping, self._idle = threading.Event(), threading.Event()
        self._idle.set()

    def answer(
        self,
        *,
        model: str,
        picture: str | os.PathLike | None,
        sound: str | os.PathLike | None,
        kind: str,
        out: Path,
        show: Callable[[str, int, int], None] = lambda what, done, total: None,
    ) -> Outcome:
        """Makes a video, or says why there is none; never raises but when the page is closed.

        Args:
            model: its name.
            picture: file that the user gave.
            sound: likewise.
            kind: one of the names in `KINDS`.
            out: the mp4 to write.
            show: called with what is being done, frames done and frames in all (0: unknown).
        """

        def progress(what: str, done: int, total: int, left: float) -> None:
            if self._stopping.is_set():
                raise Stopped
            show(what, done, total)

        self._idle.clear()
        try:
            show("loading the model", 0, 0)
            speaker, params = self.models.load(model)
            show("finding the mouth, starting the network", 0, 0)
            talk = make_talk(
                speaker,
                params,
                picture=picture,
                sound=sound,
                out=out,
                kind=KINDS.get(kind, kind),
                landmarks=self._landmarks,
                max_seconds=self._max_seconds,
                progress=progress,
            )
        except Stopped:
            return Outcome(None, "the page was closed")
        except LipjaxError as error:
            return Outcome(None, without_folders(str(error), picture, sound, out))
        except Exception as error:  # noqa: BLE001  the page goes on, whatever a file does to us
            traceback.print_exc()
            return Outcome(
                None,
                f"something went wrong that should not ({type(error).__name__}); the console has "
                "the details. Please report it",
            )
        finally:
            self._idle.set()
        return Outcome(out, _summary(talk))

    def stop(self, patience: float | int = 5.0) -> bool:
        """Gives up the video in the making; tells whether that has ended in so many seconds."""
        self._stopping.set()
        return self._idle.wait(patience)


def _summary(talk: Talk) -> str:
    facts = (
        f"{talk.seconds:.1f} s, {talk.frames} frames of {talk.width}x{talk.height}, made in "
        f"{talk.work_seconds:.1f} s"
    )
    return "; ".join([facts, *talk.notes])


def without_folders(message: str, *paths: str | os.PathLike | None) -> str:
    """Returns a message in which files go by their names, wherever they were put.

    Args:
        message: of an error.
        paths: of the files that it may name.
    """
    for path in paths:
        if path is not None:
            message = message.replace(os.fspath(path), Path(path).name)
    return message
