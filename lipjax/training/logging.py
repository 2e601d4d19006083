# SPDX-License-Identifier: Apache-2.0
"""Curves and pictures of a run: JSON lines and TensorBoard events, without TensorFlow."""

import errno
import io
import json
import math
import os
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from absl import logging
from jaxtyping import UInt8
from PIL import Image

from lipjax.training.disk_errors import writing
from lipjax.training.workdir import closing

METRICS = "metrics.jsonl"


def write_whole(path: Path, data: bytes | str) -> None:
    """Writes a small file whole or not at all, however the program or the machine ends.

    Args:
        path: of the file; an older one stays until the new one is complete.
        data: all of it.

    Raises:
        WorkdirError: it could not be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        with writing(path), part.open("wb") as file:
            file.write(data.encode("utf-8") if isinstance(data, str) else data)
            file.flush()
            _to_disk(file)
        with writing(path):
            os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _to_disk(file: IO) -> None:
    """Waits until a file is on its disk, where the file system knows how."""
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes a small JSON file whole or not at all."""
    write_whole(path, json.dumps(value, indent=1) + "\n")


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
    """Reads a run's JSON lines; those that were cut off or damaged are left out.

    Args:
        path: the file, or the workdir that holds it.

    Returns:
        One dict per logged step, in order, with "step" and the numbers; null is None.

    Example:
        >>> path = Path("metrics.jsonl")
        >>> size = path.write_text('{"step": 10, "train/l1": 0.25}\\n')
        >>> [row["train/l1"] for row in lipjax.read_metrics(path)]
        [0.25]
    """
    path = Path(path)
    return [row for row, _ in _rows(path / METRICS if path.is_dir() else path)]


def _rows(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Yields every whole row of a file and the number of bytes up to its end."""
    end, damaged = 0, 0
    for line in path.read_bytes().split(b"\n")[:-1] if path.exists() else ():
        end += len(line) + 1
        try:
            row = json.loads(line)
            row["step"] + 0
        except (ValueError, TypeError, KeyError, RecursionError):
            damaged += 1
            continue
        yield row, end
    if damaged:
        logging.warning("%s: %d damaged lines are left out", path, damaged)


class MetricWriter:
    """Writes numbers and pictures of a run into its workdir; one writer per run.

    `metrics.jsonl` holds one object per logged step and nothing that differs between two equal
    runs (speed goes to TensorBoard only). Pictures lie in `previews/` besides.

    Args:
        workdir: of the run.
        step: steps done; rows beyond it come from a run that was interrupted after its last
            checkpoint, and are removed from both logs.

    Raises:
        WorkdirError: by any method, where the disk takes no more.
    """

    def __init__(self, workdir: Path, *, step: int = 0):
        self._workdir = Path(workdir)
        path, events = self._workdir / METRICS, self._workdir / "tensorboard"
        keep = max((end for row, end in _rows(path) if row["step"] <= step), default=0)
        with writing(path):
            self._workdir.mkdir(parents=True, exist_ok=True)
            if path.exists():
                os.truncate(path, keep)
            self._lines = path.open("a", encoding="utf-8")
        with writing(events):
            events.mkdir(exist_ok=True)
            self._events = _EventFile(events)
        # Tells TensorBoard to forget what it holds from this step on.
        self._events.add(step=step + 1, session_log={"status": "START"})

    def row(self, step: int, values: Mapping[str, float | int | None]) -> None:
        """Writes the numbers of a step: one JSON line and TensorBoard scalars.

        Args:
            step: steps done.
            values: name -> number; None and non-finite numbers become null.
        """
        clean = {name: _number(value) for name, value in values.items()}
        with writing(self._workdir / METRICS):
            self._lines.write(json.dumps({"step": step, **clean}, allow_nan=False) + "\n")
            self._lines.flush()
            # A checkpoint on the disk means that the rows up to its step are there as well.
            _to_disk(self._lines)
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
        with writing(folder):
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
            write_whole(files[-1], data)
        return files

    def _add(self, step: int, values: list[dict[str, Any]]) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        summary = Summary(value=[Summary.Value(**value) for value in values])
        with writing(self._workdir / "tensorboard"):
            self._events.add(step=step, summary=summary)

    def close(self) -> None:
        """Completes the files."""
        with writing(self._workdir), closing(self._lines, self._events):
            pass


class _EventFile:
    """A file of TensorBoard events, without TensorFlow and without a thread.

    Every event is on its way to the disk when `add` returns: a kill costs none, and a full disk is
    an error here and now.
    """

    def __init__(self, folder: Path):
        # These modules come with the tensorboard package.
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        # TensorBoard reads files in the order of their names, which begin with the time.
        number = sum(1 for _ in folder.iterdir())
        origin = f"{socket.gethostname()}.{os.getpid()}.{number}"
        self._event = Event
        self._file = (folder / f"events.out.tfevents.{int(time.time()):010d}.{origin}").open("xb")
        self._records = RecordWriter(self._file)
        self.add(file_version="brain.Event:2")

    def add(self, **fields: Any) -> None:
        """Writes an event of these fields."""
        self._records.write(self._event(wall_time=time.time(), **fields).SerializeToString())
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


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
