# SPDX-License-Identifier: Apache-2.0
"""Curves and pictures of a run: JSON lines and TensorBoard events, without TensorFlow."""

import io
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

METRICS = "metrics.jsonl"


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes a small JSON file whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(value, indent=1) + "\n")
    os.replace(part, path)


def encode_png(image: UInt8[np.ndarray, "H W 3"]) -> bytes:
    """Returns the picture as a PNG file."""
    out = io.BytesIO()
    Image.fromarray(image).save(out, format="PNG")
    return out.getvalue()


def encode_gif(video: UInt8[np.ndarray, "T H W 3"], *, fps: float = 25.0) -> bytes:
    """Returns the video as an animated GIF file, which plays in TensorBoard and in browsers.

    Args:
        video: frames.
        fps: frames per second; GIF times are whole hundredths of a second.
    """
    frames = [Image.fromarray(frame) for frame in video]
    out = io.BytesIO()
    duration = max(20, round(100.0 / fps) * 10)
    options = dict(save_all=True, append_images=frames[1:], duration=duration, loop=0)
    frames[0].save(out, format="GIF", **options)
    return out.getvalue()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Reads a run's JSON lines; a last line that was cut off is left out.

    Args:
        path: the file, or the workdir that holds it.

    Returns:
        One dict per logged step, in order, with "step" and the numbers; null is None.
    """
    path = Path(path)
    return [row for row, _ in _rows(path / METRICS if path.is_dir() else path)]


def _rows(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Yields every whole row of a file and the number of bytes up to its end."""
    end = 0
    for line in path.read_bytes().splitlines(keepends=True) if path.exists() else ():
        if not line.endswith(b"\n"):
            return
        end += len(line)
        yield json.loads(line), end


class MetricWriter:
    """Writes numbers and pictures of a run into its workdir; one writer per run.

    `metrics.jsonl` holds one object per logged step and nothing that differs between two equal
    runs (speed goes to TensorBoard only). Pictures lie in `previews/` besides.

    Args:
        workdir: of the run.
        step: steps done; rows beyond it come from a run that was interrupted after its last
            checkpoint, and are removed from both logs.
    """

    def __init__(self, workdir: Path, *, step: int = 0):
        # These modules come with the tensorboard package and need no TensorFlow.
        from tensorboard.compat.proto import event_pb2
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._workdir = Path(workdir)
        self._workdir.mkdir(parents=True, exist_ok=True)
        path = self._workdir / METRICS
        keep = 0
        for row, end in _rows(path):
            keep = end if row["step"] <= step else keep
        if path.exists():
            os.truncate(path, keep)
        self._lines = path.open("a", encoding="utf-8")
        self._events = EventFileWriter(str(self._workdir / "tensorboard"))
        if step:
            # Tells TensorBoard to forget what it holds from this step on.
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._events.add_event(event_pb2.Event(step=step + 1, session_log=start))

    def row(self, step: int, values: Mapping[str, float | int | None]) -> None:
        """Writes the numbers of a step: one JSON line and TensorBoard scalars.

        Args:
            step: steps done.
            values: name -> number; None and non-finite numbers become null.
        """
        clean = {name: _number(value) for name, value in values.items()}
        self._lines.write(json.dumps({"step": step, **clean}, allow_nan=False) + "\n")
        self._lines.flush()
        self.scalars(step, {name: value for name, value in clean.items() if value is not None})

    def scalars(self, step: int, values: Mapping[str, float | int]) -> None:
        """Writes numbers to TensorBoard only."""
        self._add(step, [dict(tag=name, simple_value=value) for name, value in values.items()])

    def previews(
        self, step: int, pictures: Mapping[str, UInt8[np.ndarray, "..."]], *, fps: float = 25.0
    ) -> list[Path]:
        """Writes pictures and videos to TensorBoard and to `previews/NAME-STEP.png` or `.gif`.

        Args:
            step: steps done.
            pictures: name -> picture (H W 3) or video (T H W 3).
            fps: of videos.

        Returns:
            The files written.
        """
        from tensorboard.compat.proto.summary_pb2 import Summary

        folder = self._workdir / "previews"
        folder.mkdir(exist_ok=True)
        files = []
        for name, picture in pictures.items():
            moving = picture.ndim == 4
            data = encode_gif(picture, fps=fps) if moving else encode_png(picture)
            height, width = picture.shape[-3:-1]
            image = Summary.Image(
                height=height, width=width, colorspace=3, encoded_image_string=data
            )
            self._add(step, [dict(tag=name, image=image)])
            files.append(folder / f"{name}-{step:08d}.{'gif' if moving else 'png'}")
            files[-1].write_bytes(data)
        return files

    def _add(self, step: int, values: list[dict[str, Any]]) -> None:
        import time

        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        summary = Summary(value=[Summary.Value(**value) for value in values])
        self._events.add_event(Event(wall_time=time.time(), step=step, summary=summary))

    def close(self) -> None:
        """Completes the files."""
        self._lines.close()
        self._events.close()


class NoWriter:
    """The writer of processes that write nothing."""

    def row(self, step: int, values: Mapping[str, float | int | None]) -> None:
        """Drops the numbers."""

    def scalars(self, step: int, values: Mapping[str, float | int]) -> None:
        """Drops the numbers."""

    def previews(self, step: int, pictures: Mapping[str, Any], *, fps: float = 25.0) -> list[Path]:
        """Drops the pictures."""
        return []

    def close(self) -> None:
        """Does nothing."""


def _number(value: float | int | None) -> float | int | None:
    if value is None or not math.isfinite(value):
        return None
    return value
