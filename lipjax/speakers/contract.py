# SPDX-License-Identifier: Apache-2.0
"""What a trained system promises to everything that lets it talk.

Generate, evaluate and previews know a system only through `Speaker`. Nothing here says how a
mouth is made: a picture is a one-frame video, a system of two networks composes two inside its
`step`, and a recurrent system keeps what it remembers in its carry.
"""

import dataclasses
from fractions import Fraction
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array, Float

from lipjax.errors import ConfigError
from lipjax.media.audio import LogMel


@dataclasses.dataclass(frozen=True, kw_only=True)
class Needs:
    """What a speaker has to be given, as plain numbers.

    Attributes:
        log_mel: settings of the sound feature.
        fps: frames per second that the system was trained on and makes.
        mouth_size: side of the square mouth crop it reads and paints, pixels.
        margin: side of the crop in units of the clip's median mouth width.
        target: "picture": it looks at the target once, in `begin`; "video": `step` also gets the
            target's crop for every frame; "person": like "video", and the parameters belong to
            the one person that they were trained on.
        text: whether it also needs the words.
        reach: frames on each side beyond which an output frame cannot see. A system with a
            memory has reach 0: its past lives in the carry, its future in `sound_context`.
        chunk: frames made per step, not counting `reach` on each side.
        sound_context: frames of sound on each side of the window that `step` is given as well.
    """

    log_mel: LogMel
    fps: float = 25.0
    mouth_size: int
    margin: float = 1.5
    target: str = "picture"
    text: bool = False
    reach: int = 0
    chunk: int = 32
    sound_context: int = 0

    def __post_init__(self) -> None:
        if self.target not in ("picture", "video", "person"):
            raise ConfigError(f"target={self.target!r} is none of 'picture', 'video', 'person'")
        if self.chunk < 1 or self.reach < 0 or self.sound_context < 0:
            raise ConfigError(
                f"chunk={self.chunk} must be at least 1, reach={self.reach} and "
                f"sound_context={self.sound_context} at least 0"
            )

    @property
    def columns_per_frame(self) -> Fraction:
        """Columns of the sound feature per frame, exact; 4 for 100 columns/s and 25 fps."""
        fps = Fraction(self.fps).limit_denominator(10_000)
        return Fraction(self.log_mel.rate, self.log_mel.hop) / fps

    def columns_in(self, frames: int) -> int:
        """Columns that cover `frames` frames, rounded to the nearest whole one."""
        return (frames * self.columns_per_frame + Fraction(1, 2)).__floor__()

    def frames_in(self, columns: int) -> int:
        """Frames that `columns` columns cover, rounded to the nearest whole one."""
        return (columns / self.columns_per_frame + Fraction(1, 2)).__floor__()


@runtime_checkable
class Speaker(Protocol):
    """A trained system ready to talk: hashable, pure, and without parameters of its own.

    `begin` and `step` are traced by `jax.jit` with the speaker itself as a static argument, so
    an implementation is a frozen dataclass of plain fields and modules; whatever was learned
    comes in through `params`.
    """

    @property
    def needs(self) -> Needs:
        """What it has to be given."""
        ...

    def begin(self, params: Any, target: Float[Array, "B N H W 3"]) -> Any:
        """Looks at the target before the first word.

        Args:
            params: the system's parameters and statistics, any pytree.
            target: N aligned mouth crops of whom to animate, in [-1, 1]; N = 1 for a picture.

        Returns:
            The carry of the first step, any pytree of arrays.
        """
        ...

    def step(
        self,
        params: Any,
        carry: Any,
        sound: Float[Array, "B C F"],
        target_chunk: Float[Array, "B T H W 3"] | None,
    ) -> tuple[Float[Array, "B T H W 3"], Any]:
        """Makes the frames of one window.

        Args:
            params: the system's parameters and statistics.
            carry: from `begin` or the previous step. With `reach` > 0 windows overlap, and every
                step gets the carry of `begin`.
            sound: columns of the window and of `sound_context` frames on each side of it; -1
                (silence) where the sound has not begun or is over.
            target_chunk: the target's crops at the window's frames, in [-1, 1]; None if the
                speaker needs only a picture.

        Returns:
            The T frames of the window in [-1, 1], and the carry of the next step.
        """
        ...
