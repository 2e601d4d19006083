# SPDX-License-Identifier: Apache-2.0
"""Synthetic speech with phone times, from the espeak-ng library that espeakng-loader ships.

espeak-ng is under the GPL. It is a tool reached through an optional wheel, never a part of lipjax.
"""

import ctypes
import dataclasses
import sys
import threading
from typing import Any

import numpy as np
from jaxtyping import Int16

from lipjax.data.schema import Span
from lipjax.errors import ConfigError, nearest

RATE = 22_050
"""Samples per second of espeak-ng's sound."""

VARIANTS = (
    *("f1", "f2", "f3", "f4", "f5", "Annie", "linda", "steph"),
    *("m1", "m2", "m3", "m4", "m6", "m7", "Andy", "Michael"),
)
"""Voice variants that speak clearly, the female ones first."""
FEMALE = 8
"""How many of `VARIANTS` are female."""

_SYNCHRONOUS, _PHONEME_EVENTS_IPA, _DONT_EXIT = 2, 1 | 2, 0x8000
_END_OF_LIST, _WORD, _PHONEME = 0, 1, 7
_PARAMETER_RATE, _PARAMETER_PITCH, _PARAMETER_RANGE = 1, 3, 4
_CHARS_UTF8 = 1
_LOCK = threading.Lock()


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    ]


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


@dataclasses.dataclass(frozen=True)
class Voice:
    """How a speaker sounds.

    Attributes:
        variant: one of `VARIANTS`.
        language: accent, as espeak-ng names it ("en-us", "en-gb", ...).
        words_per_minute: speaking rate.
        pitch: 0 to 100, 50 is the variant's own.
        range: liveliness of the intonation, 0 to 100.
    """

    variant: str
    language: str = "en-us"
    words_per_minute: int = 160
    pitch: int = 50
    range: int = 50


@dataclasses.dataclass(frozen=True)
class Utterance:
    """A spoken sentence.

    Attributes:
        samples: mono, at `RATE`.
        phones: spans of kind "phone" in seconds from the first sample; text is espeak-ng's
            IPA with stress marks. They join, except for pauses.
        words: spans of kind "word" from the first to the last phone of each word.
    """

    samples: Int16[np.ndarray, "n"]
    phones: tuple[Span, ...]
    words: tuple[Span, ...]


def say(text: str, voice: Voice) -> Utterance:
    """Speaks a sentence; the same arguments give the same samples in every process.

    Args:
        text: English words.
        voice: how they sound.

    Returns:
        Sound with the times of its phones and words.

    Raises:
        ConfigError: espeakng-loader is not installed, or it does not know the voice.
    """
    try:
        import espeakng_loader
    except ImportError as error:
        raise ConfigError(
            "synthetic speech needs espeakng-loader: pip install 'lipjax[babble]'"
        ) from error
    with _LOCK:
        library = ctypes.CDLL(espeakng_loader.get_library_path())
        try:
            # The wheel has its build machine's path compiled in, so the path is always given.
            data = espeakng_loader.get_data_path()
            options = _PHONEME_EVENTS_IPA | _DONT_EXIT
            rate = library.espeak_Initialize(_SYNCHRONOUS, 0, data.encode(), options)
            if rate != RATE:
                raise ConfigError(
                    f"espeak-ng did not start with the data in {data!r} (it answered {rate}): "
                    "reinstall espeakng-loader"
                )
            library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # else it takes the time of day
            return _say(library, text, voice)
        finally:
            # Static variables outlive espeak_Terminate and would let a sentence depend on the
            # one before; unloading the library (6 ms for both ways) resets them.
            library.espeak_Terminate()
            _unload(library)


def _unload(library: ctypes.CDLL) -> None:
    """Lets the operating system drop a library, where Python knows how."""
    import _ctypes

    if sys.platform == "win32":
        _ctypes.FreeLibrary(library._handle)
    else:
        _ctypes.dlclose(library._handle)


def _say(library: ctypes.CDLL, text: str, voice: Voice) -> Utterance:
    if voice.variant not in VARIANTS:  # the library would silently take its usual voice
        raise ConfigError(f"unknown voice {voice.variant!r}{nearest(voice.variant, VARIANTS)}")
    name = f"{voice.language}+{voice.variant}"
    if library.espeak_SetVoiceByName(name.encode()) != 0:
        raise ConfigError(f"espeak-ng has no language {voice.language!r}: try 'en-us'")
    for parameter, value in (
        (_PARAMETER_RATE, voice.words_per_minute),
        (_PARAMETER_PITCH, voice.pitch),
        (_PARAMETER_RANGE, voice.range),
    ):
        library.espeak_SetParameter(parameter, value, 0)
    blocks: list[np.ndarray] = []
    events: list[tuple[int, int, Any]] = []

    def receive(wave: Any, count: int, event: Any) -> int:
        if count > 0 and wave:
            blocks.append(np.ctypeslib.as_array(wave, shape=(count,)).copy())
        i = 0
        while event and event[i].type != _END_OF_LIST:
            if event[i].type == _PHONEME:
                # Eight bytes, not always closed by a zero: read them raw.
                raw = ctypes.string_at(ctypes.addressof(event[i].id), 8).split(b"\0")[0]
                events.append((_PHONEME, event[i].sample, raw.decode("utf-8", "ignore")))
            elif event[i].type == _WORD:
                # The position (from 1, in characters) may lie inside the word.
                start = text.rfind(" ", 0, event[i].text_position) + 1
                events.append((_WORD, event[i].sample, start))
            i += 1
        return 0

    callback = _Callback(receive)
    library.espeak_SetSynthCallback(callback)
    encoded = text.encode("utf-8") + b"\0"
    library.espeak_Synth(encoded, len(encoded), 0, 1, 0, _CHARS_UTF8, None, None)
    library.espeak_Synchronize()
    samples = np.concatenate(blocks).astype(np.int16) if blocks else np.zeros(0, np.int16)
    return Utterance(samples, *_spans(text, events, len(samples)))


def _spans(
    text: str, events: list[tuple[int, int, Any]], samples: int
) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """Turns the library's events into spans of phones and of words."""
    phones: list[Span] = []
    words: list[Span] = []
    for i, (kind, sample, content) in enumerate(events):
        later = [other for other in events[i + 1 :] if other[0] == _PHONEME]
        if kind == _PHONEME:
            end = later[0][1] if later else samples
            if content and end > sample:
                phones.append(Span("phone", content, sample / RATE, end / RATE))
                if words and words[-1].end < 0:
                    # A word begins with its first phone, not with the event before it.
                    words[-1] = dataclasses.replace(words[-1], start=sample / RATE)
                if words:
                    words[-1] = dataclasses.replace(words[-1], end=end / RATE)
        else:
            # espeak-ng runs some words together: no event of its own for the second, or no phone
            # for the first. They become one span, so that no word is lost.
            following = [other[2] for other in events[i + 1 :] if other[0] == _WORD]
            spelled = text[content : following[0] if following else None].strip()
            if not spelled:
                continue
            if words and words[-1].end < 0:
                spelled = f"{words.pop().text} {spelled}"
            words.append(Span("word", spelled, sample / RATE, -1.0))
    return tuple(phones), tuple(word for word in words if word.end >= 0)
