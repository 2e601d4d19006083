# SPDX-License-Identifier: Apache-2.0
"""The speaker of "Lip Movements Generation at a Glance": one picture, all frames at once.

Its baselines talk through it as well, window by window.
"""

import dataclasses
from typing import Any

from jaxtyping import Array, Float

from lipjax.errors import ConfigError
from lipjax.media.audio import LogMel
from lipjax.models.contract import SpeechGenerator
from lipjax.speakers.contract import Needs

CHUNK = 32
"""Frames per step: enough that the thrown-away margin is a small part, little enough memory."""


@dataclasses.dataclass(frozen=True)
class AtAGlanceSpeaker:
    """Talks with a generator.

    The parameters are the generator's Linen variables, {"params": ..., "batch_stats": ...}, as
    `GeneratorTask.speaker_params` returns them. Statistics are used, never updated.

    Attributes:
        generator: the network.
        needs: what it has to be given; `from_generator` works it out.

    Example:
        >>> speaker = lipjax.AtAGlanceSpeaker.from_generator(lipjax.Generator())
        >>> speaker.needs.target, speaker.needs.mouth_size, speaker.needs.fps
        ('picture', 64, 25.0)
    """

    generator: SpeechGenerator
    needs: Needs

    @classmethod
    def from_generator(
        cls,
        generator: SpeechGenerator,
        *,
        log_mel: LogMel | None = None,
        fps: float = 25.0,
        margin: float = 1.5,
        chunk: int | None = None,
    ) -> "AtAGlanceSpeaker":
        """Returns the speaker of a generator, its reach and sizes taken from its fields.

        Args:
            generator: the network.
            log_mel: settings of the sound feature that it was trained with.
            fps: frames per second that it was trained with.
            margin: side of its mouth crops in units of the clip's median mouth width.
            chunk: frames per step; None is those of a generator that makes a fixed number, and
                `CHUNK` for others.

        Raises:
            ConfigError: sound feature or chunk and generator do not fit.
        """
        log_mel = LogMel(bands=generator.bands) if log_mel is None else log_mel
        fixed = getattr(generator, "frames", None)
        chunk = chunk or fixed or CHUNK
        if fixed and chunk != fixed:
            raise ConfigError(f"chunk={chunk}, but the generator makes {fixed} frames per step")
        needs = Needs(
            log_mel=log_mel,
            fps=fps,
            mouth_size=generator.size,
            margin=margin,
            target="picture",
            reach=generator.margin,
            chunk=chunk,
            sound_context=generator.audio_context,
        )
        if needs.columns_per_frame != generator.columns_per_frame:
            raise ConfigError(
                f"the sound feature has {float(needs.columns_per_frame):g} columns per frame, "
                f"the generator takes {generator.columns_per_frame}; change hop or fps"
            )
        if log_mel.bands != generator.bands:
            raise ConfigError(
                f"the sound feature has {log_mel.bands} bands, the generator {generator.bands}"
            )
        return cls(generator, needs)

    def begin(self, params: Any, target: Float[Array, "B N H W 3"]) -> Float[Array, "B H W 3"]:
        """Keeps the first picture of the target, the identity."""
        return target[:, 0]

    def step(
        self,
        params: Any,
        carry: Float[Array, "B H W 3"],
        sound: Float[Array, "B C F"],
        target_chunk: Float[Array, "B T H W 3"] | None = None,
    ) -> tuple[Float[Array, "B T H W 3"], Float[Array, "B H W 3"]]:
        """Generates a window; the carry stays what it is."""
        video, _ = self.generator.apply(params, carry, sound, train=False)
        return video, carry
