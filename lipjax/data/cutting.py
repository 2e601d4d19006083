# SPDX-License-Identifier: Apache-2.0
"""One window: every input of a task's table cut out of its clips, changed alike for each clip."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from lipjax.data import faults
from lipjax.data.anchors import Anchors
from lipjax.data.augment import Augment
from lipjax.data.views import View
from lipjax.errors import ConfigError

Row = dict[str, np.ndarray]


class BadWindow(Exception):
    """A window that cannot be made; `fault` says because of which clip, and why."""

    def __init__(self, fault: faults.Fault):
        super().__init__(fault.cause)
        self.fault = fault


@dataclasses.dataclass(frozen=True)
class Cutter:
    """Cuts windows for a table of inputs.

    Attributes:
        splits: of each corpus.
        inputs: name -> view.
        length: frames of a window.
        mouth_size: side of mouth crops in pixels.
    """

    splits: Sequence[Anchors]
    inputs: Mapping[str, View]
    length: int
    mouth_size: int

    def cut(
        self, number: int, clip: int, start: int, rng: np.random.Generator, augment: Augment
    ) -> Row:
        """Cuts the window that starts at a frame of a clip.

        Args:
            number: of the corpus.
            clip: of it.
            start: frame.
            rng: makes the draws.
            augment: changes of pictures and sound.

        Raises:
            BadWindow: a clip that it needs cannot be used.
        """
        split = self.splits[number]
        anchors: dict[tuple[str, int], tuple[int, int]] = {("window", 0): (clip, start)}
        changes = {clip: augment.draw(rng)}
        row = {}
        for name, view in self.inputs.items():
            key = ("window", 0) if view.where == "window" else (view.where, view.draw)
            if key not in anchors:
                anchors[key] = self._anchor(split, clip, start, view, rng)
            source, anchor = anchors[key]
            if source not in changes:
                changes[source] = augment.draw(rng)
            try:
                cut = split.views(source).cut(view, anchor)
            except (ConfigError, ImportError, MemoryError):
                raise  # not this clip's fault
            except Exception as error:  # noqa: BLE001 - whatever a bad record raises costs a draw
                raise BadWindow(faults.fault_of(number, source, error)) from error
            if view.stream in ("mouth", "frames"):
                cut = changes[source].pictures(cut)
            elif view.stream == "landmarks":
                cut = changes[source].landmarks(cut, self.mouth_size)
            elif view.stream == "flow":
                cut = changes[source].flow(cut)
            elif view.stream == "log_mel":
                cut = augment.sound(cut, rng)
            row[name] = cut
        return row

    def _anchor(
        self, split: Anchors, clip: int, start: int, view: View, rng: np.random.Generator
    ) -> tuple[int, int]:
        """Draws (clip, frame) for a view that is not cut from the window itself."""
        length = max(
            other.frames
            for other in self.inputs.values()
            if (other.where, other.draw) == (view.where, view.draw)
        )
        length = min(length, self.length)
        source = clip
        if view.where == "same_speaker":
            source = split.clip_of_speaker(clip, rng)
        elif view.where == "other_clip":
            source = split.other_clip(clip, rng)
        if source == clip:
            return clip, split.other_start(clip, start, length, rng)
        return source, int(rng.integers(split.frames[source] - length + 1))
