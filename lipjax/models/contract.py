# SPDX-License-Identifier: Apache-2.0
"""What a network that turns speech and one picture into a video promises to whoever calls it."""

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class SpeechGenerator(Protocol):
    """A Flax module `(identity [B H W 3], log_mel [B C F], *, train) -> (video [B T H W 3], dict)`.

    C = (T + 2 * audio_context) * columns_per_frame. A module that makes clips of one length only
    has that length as `frames`; one that takes any length has no such attribute.

    Attributes:
        size: height and width of the pictures in pixels.
        bands: mel bands of the sound feature.
        columns_per_frame: log-mel columns per video frame.
        audio_context: frames of sound that it is given beyond the window on both sides.
        margin: frames at each inner border of a chunk that a neighbouring chunk would change.
    """

    size: int
    bands: int
    audio_context: int

    @property
    def columns_per_frame(self) -> int:
        """Log-mel columns per video frame."""
        ...

    @property
    def margin(self) -> int:
        """Frames at each inner border of a chunk that a neighbouring chunk would change."""
        ...

    def init(self, *args: Any, **kwargs: Any) -> Any:
        """Makes the variables."""
        ...

    def apply(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the network."""
        ...
