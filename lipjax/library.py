# SPDX-License-Identifier: Apache-2.0
"""A trained model as a function: picture and sound in, video out."""

import dataclasses
import math
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int16, UInt8

from lipjax.errors import ConfigError
from lipjax.media.audio import Sound, read_sound, to_int16
from lipjax.pretrained import find_model
from lipjax.speakers.contract import Speaker


@dataclasses.dataclass(frozen=True)
class Talker:
    """A trained model, ready to talk; made by `load`.

    Attributes:
        speaker: the system; `speaker.needs` tells its sizes and its frames per second.
        params: its parameters and statistics, as `speaker.step` takes them.

    Example:
        >>> model = lipjax.load()
        >>> isinstance(model, lipjax.Talker)
        True
        >>> video = model("mouth.png", "speech.wav")
        >>> video.shape, video.dtype.name
        ((25, 64, 64, 3), 'uint8')
    """

    speaker: Speaker
    params: Any

    def __repr__(self) -> str:
        # Not the parameters: they would fill the terminal of whoever types `model`.
        import jax

        count = sum(leaf.size for leaf in jax.tree.leaves(self.params.get("params", self.params)))
        return (
            f"<lipjax.Talker: {type(self.speaker).__name__}, {count:,} parameters, "
            f"{self.size} x {self.size} pixels, {self.fps:g} frames per second>"
        )

    @property
    def fps(self) -> float:
        """Frames per second of the videos it makes."""
        return self.speaker.needs.fps

    @property
    def size(self) -> int:
        """Height and width of the mouths it makes, pixels."""
        return self.speaker.needs.mouth_size

    def __call__(
        self,
        identity: UInt8[np.ndarray, "h w 3"] | str | os.PathLike,
        audio: Int16[np.ndarray, "n"] | Float[np.ndarray, "n"] | str | os.PathLike,
        *,
        rate: int | None = None,
    ) -> UInt8[np.ndarray, "T S S 3"]:
        """Makes one mouth say something.

        Args:
            identity: a picture of the mouth, cut as in training, RGB; or a file of one. Of a
                picture that is not square the middle is taken, with a warning. `generate` takes a
                whole face, finds its mouth and puts the new one back.
            audio: speech: mono samples (16-bit, or float of full scale 1), or a file of any
                kind. It is brought to the loudness that the model is used to.
            rate: samples per second; needed with samples, not allowed with a file.

        Returns:
            The video, as many frames as the sound lasts, the last one begun.

        Raises:
            ConfigError: `rate` is missing or too much, there are no samples, or this system
                needs more than a picture.
            MediaError: a file that cannot be read.
        """
        from lipjax.generate import speak_mouths
        from lipjax.generation.targets import SQUARE, MouthCrop
        from lipjax.media.image import read_image

        if self.speaker.needs.target != "picture":
            raise ConfigError(f"this model needs a {self.speaker.needs.target}: use generate")
        sound = _sound(audio, rate)
        picture = identity if isinstance(identity, np.ndarray) else read_image(identity)
        height, width = picture.shape[:2]
        if max(height, width) > SQUARE * min(height, width):
            warnings.warn(
                f"the middle of a picture of {width}x{height} pixels is taken for the mouth; of a "
                "face use model.generate, which finds its mouth",
                stacklevel=2,
            )
        target = MouthCrop(picture, self.speaker.needs)
        frames = max(1, math.ceil(round(sound.duration * self.fps, 3)))
        return np.stack(list(speak_mouths(self.speaker, self.params, target, sound, frames)))

    def generate(
        self,
        *,
        face: str | os.PathLike,
        audio: str | os.PathLike,
        out: str | os.PathLike,
        **options: Any,
    ) -> Any:
        """Makes a picture or video of a face say something, as a video with sound.

        Args:
            face: a photo of a face, a video to dub, or a mouth crop.
            audio: speech in any sound or video file.
            out: the mp4 to write.
            options: see `lipjax.generate.generate`.

        Returns:
            What was made (`lipjax.generate.Talk`).
        """
        from lipjax.generate import generate

        return generate(self.speaker, self.params, face=face, audio=audio, out=out, **options)


def load(workdir: str | os.PathLike | None = None, *, model: str | None = None) -> Talker:
    """Loads a trained model.

    Args:
        workdir: folder of a training run or of an exported model. Without it and `model`, the
            pretrained model that is installed.
        model: name of an installed model, see `installed_models`.

    Returns:
        The model, with the averaged parameters of its best checkpoint.

    Raises:
        ConfigError: there is no trained model, one that does not talk, or both are given.

    Example:
        >>> model = lipjax.load()
        >>> model.fps, model.size
        (25.0, 64)
    """
    from lipjax.jobs import load_speaker

    if workdir is None:
        return Talker(*load_speaker(find_model(model)))
    if model is not None:
        raise ConfigError("give a workdir or the name of a model, not both")
    return Talker(*load_speaker(Path(workdir)))


def _sound(audio: Any, rate: int | None) -> Sound:
    if not isinstance(audio, np.ndarray):
        if rate is not None:
            raise ConfigError("a sound file knows its own rate; leave out rate=")
        return read_sound(audio)
    if rate is None:
        raise ConfigError("samples need rate=, their number per second")
    if not audio.size:
        raise ConfigError("there are no samples to speak")
    samples = audio if audio.dtype == np.int16 else to_int16(audio)
    return Sound(samples, rate)
