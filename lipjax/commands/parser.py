# SPDX-License-Identifier: Apache-2.0
"""The parser of the console command, and the kinds of words that several commands take."""

import argparse
import contextlib
import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from lipjax.errors import nearest
from lipjax.pretrained import BUILT_IN, find_model, installed_models


class Parser(argparse.ArgumentParser):
    """Errors in one line, with the nearest right name."""

    def error(self, message: str) -> NoReturn:
        words = message.split("'")
        if "invalid choice" in message and len(words) > 1:
            message = f"{words[1]!r} is unknown{nearest(words[1], self._choices())}"
        self.exit(2, f"{self.prog}: error: {message}; see {self.prog} --help\n")

    def _choices(self) -> list[str]:
        return [name for action in self._actions for name in (action.choices or ())]

    def check_flags(self, words: Sequence[str]) -> None:
        """Ends at a flag that does not exist; argparse alone would tell a missing one first."""
        known = [flag for action in self._actions for flag in action.option_strings]
        for word in words:
            flag = word.partition("=")[0]
            if word.startswith("--") and not any(name.startswith(flag) for name in known):
                self.error(f"{flag} is unknown{nearest(flag, known)}")


def count(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def share(text: str) -> float:
    """A number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 1")
    return value


def existing(text: str) -> Path:
    """The path of a file or folder that is there."""
    path = missing = Path(text)
    if os.path.exists(path):
        return path
    while not os.path.exists(missing.parent):
        missing = missing.parent
    hint = ""
    with contextlib.suppress(OSError):
        beside = [file.name for file in missing.parent.iterdir()]
        close = difflib.get_close_matches(missing.name, beside, n=1)
        hint = f" (did you mean {str(missing.parent / close[0])!r}?)" if close else ""
    raise argparse.ArgumentTypeError(f"no such file or folder: {text!r}{hint}")


def add_model(p: argparse._ActionsContainer) -> None:
    """Adds the flags that say which model talks."""
    which = p.add_mutually_exclusive_group()
    which.add_argument(
        "--workdir", type=existing, help="folder of a trained run, or of an exported model"
    )
    which.add_argument(
        "--model",
        metavar="NAME",
        help="an installed model (default, without --workdir: a model package that is installed, "
        f"else {BUILT_IN}, which was trained on drawn faces)",
    )


def model_of(args: argparse.Namespace) -> Path:
    """Returns the folder that the flags of `add_model` name, and says what was chosen for them.

    Raises:
        ConfigError: no model of that name is installed.
    """
    if args.workdir is not None:
        return args.workdir
    if args.model is not None:
        return find_model(args.model)
    name, folder = next(iter(installed_models().items()))
    print(f"no --workdir: the installed model {name}; see {folder / 'MODEL_CARD.md'}")
    if name == BUILT_IN:
        print("it was trained on drawn faces, follows real voices loosely; its card names another")
    return folder


def add_landmarks(p: argparse._ActionsContainer) -> None:
    """Adds the flag that says what finds faces."""
    p.add_argument(
        "--landmarks",
        default="auto",
        metavar="BACKEND",
        help="what finds faces: dlib, files (NAME.landmarks.npy beside NAME.mp4), "
        "mediapipe:FILE.task, or auto (default: files where there are any, else dlib)",
    )
