# SPDX-License-Identifier: Apache-2.0
"""The few exceptions that callers of lipjax catch."""

import difflib
from collections.abc import Iterable


class LipjaxError(Exception):
    """Base of every error that lipjax raises on purpose; its message names the way out.

    Example:
        >>> try:
        ...     lipjax.open_corpus("nowhere")
        ... except lipjax.LipjaxError as error:
        ...     print(type(error).__name__)
        CorpusError
    """


class ConfigError(LipjaxError):
    """A setting, flag, path or config key that cannot work, found before work starts.

    Example:
        >>> try:
        ...     lipjax.strides_for(100, 128)
        ... except lipjax.ConfigError as error:
        ...     print(error)
        pictures of 100 px: the nearest size that works is 96 px
    """


class MediaError(LipjaxError):
    """A sound, picture or video file that cannot be read or written.

    Example:
        >>> try:
        ...     lipjax.read_image("nowhere.png")
        ... except lipjax.MediaError as error:
        ...     print(error)
        nowhere.png: no such file
    """


class FaceNotFoundError(MediaError):
    """A picture or video in which no face was found."""


class CorpusError(LipjaxError):
    """A folder that is no prepared corpus, is damaged, or was made with other settings.

    Example:
        >>> try:
        ...     lipjax.open_corpus("nowhere")
        ... except lipjax.CorpusError as error:
        ...     print("nowhere" in str(error))
        True
    """


class WorkerError(LipjaxError):
    """A process that makes batches died or hangs; the message says which and how."""


class WorkdirError(LipjaxError):
    """A workdir that can no longer be written; what was saved in it before is whole."""


class TrainingError(LipjaxError):
    """A run that is ended because going on is hopeless; its last checkpoint is whole."""


def nearest(value: str, choices: Iterable[str]) -> str:
    """Returns the hint that ends an error about a wrong name.

    Args:
        value: the name that was given.
        choices: the names that exist.

    Returns:
        " (did you mean 'x'?)" with the nearest name, or " (there is: a, b)" if none is near.
    """
    names = sorted(set(choices))
    close = difflib.get_close_matches(value, names, n=1, cutoff=0.5)
    if close:
        return f" (did you mean {close[0]!r}?)"
    return f" (there is: {', '.join(names)})" if names else ""
