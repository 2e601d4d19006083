# SPDX-License-Identifier: Apache-2.0
"""Something to try on the page: faces and voices of nobody, drawn and spoken on the spot."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from lipjax.data.babble import speech
from lipjax.data.babble.corpus import make_painter
from lipjax.data.babble.people import Person, make_person, perform, placements
from lipjax.data.babble.shape import mouth_curves
from lipjax.errors import ConfigError

SIZE = (320, 320)
"""Width and height of the pictures, pixels."""
SENTENCES = {
    2: "my mother may paint five small boats",
    3: "you should find a warm map again",
    6: "Pam will bring their purple umbrella",
}
"""Number of a person -> what it says."""
SEED = 1
"""Other people than those that the built-in corpus has with its own seed, 0."""


@dataclasses.dataclass(frozen=True)
class Examples:
    """Examples for the page.

    Attributes:
        rows: a picture and a sound each; the sound's name is what is said.
        missing: why there are none; empty if there are.
    """

    rows: tuple[tuple[Path, Path], ...]
    missing: str = ""


def make_examples(folder: Path, step: Callable[[], None] = lambda: None) -> Examples:
    """Draws a few faces and lets each say a sentence; it takes some seconds.

    Args:
        folder: to write them to.
        step: called before each.

    Returns:
        The examples, or why there are none: espeakng-loader is not installed.
    """
    try:
        rows = []
        for number, sentence in SENTENCES.items():
            step()
            rows.append(_example(folder, make_person(number, SEED), sentence))
    except ConfigError as error:
        return Examples((), str(error))
    return Examples(tuple(rows))


def _example(folder: Path, person: Person, sentence: str) -> tuple[Path, Path]:
    from PIL import Image

    from lipjax.media.audio import Sound, write_wav

    performance = perform(person, sentence)
    if performance is None:
        raise ConfigError(f"the example {sentence!r} does not fit into a clip")
    # Lips at rest, before the first word.
    frame = make_painter(person, SIZE).frame(
        mouth_curves(person.face, performance.motion[0]),
        blink=0.0,
        placement=placements(performance, SIZE)[0],
    )
    picture, sound = folder / f"drawn {person.name}.png", folder / f"{sentence}.wav"
    Image.fromarray(frame).save(picture)
    write_wav(sound, Sound(performance.samples, speech.RATE))
    return picture, sound
