# SPDX-License-Identifier: Apache-2.0
"""What other programs read from a run: JSON lines, TensorBoard events, pictures."""

import errno
import io
import json
import os

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lipjax.errors import WorkdirError
from lipjax.training.logging import (
    MetricWriter,
    encode_gif,
    encode_png,
    read_metrics,
    write_json,
    write_whole,
)


def events(workdir):
    accumulator = EventAccumulator(str(workdir / "tensorboard"))
    accumulator.Reload()
    return accumulator


def test_rows_are_json_and_events(tmp_path):
    writer = MetricWriter(tmp_path)
    writer.row(10, {"train/loss": 0.5, "skipped": 0})
    writer.row(20, {"train/loss": float("nan"), "eval/l1": None})
    writer.close()
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[0]) == {"step": 10, "train/loss": 0.5, "skipped": 0}
    assert json.loads(lines[1]) == {"step": 20, "train/loss": None, "eval/l1": None}
    (event,) = events(tmp_path).Scalars("train/loss")
    assert (event.step, event.value) == (10, 0.5)


def test_a_resumed_log_has_no_step_twice(tmp_path):
    writer = MetricWriter(tmp_path)
    for step in (10, 20, 30):
        writer.row(step, {"loss": step / 10})
    writer.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 40, "lo')  # killed while writing
    assert [row["step"] for row in read_metrics(tmp_path)] == [10, 20, 30]
    writer = MetricWriter(tmp_path, step=15)
    writer.row(20, {"loss": 7.0})
    writer.close()
    assert read_metrics(tmp_path) == [{"step": 10, "loss": 1.0}, {"step": 20, "loss": 7.0}]
    assert [(e.step, e.value) for e in events(tmp_path).Scalars("loss")] == [(10, 1.0), (20, 7.0)]


def test_pictures_and_videos(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    video = np.zeros((5, 6, 8, 3), np.uint8)
    for t in range(5):
        video[t, :, : t + 1] = 255
    writer = MetricWriter(tmp_path)
    files = writer.previews(30, {"sheet": picture, "clip": video})
    writer.close()
    assert [file.name for file in files] == ["sheet-00000030.png", "clip-00000030.gif"]
    np.testing.assert_array_equal(np.asarray(Image.open(files[0])), picture)
    (event,) = events(tmp_path).Images("clip")
    assert (event.width, event.height, event.step) == (8, 6, 30)
    gif = Image.open(io.BytesIO(event.encoded_image_string))
    assert (gif.n_frames, gif.info["duration"]) == (5, 40)
    for t in range(5):
        gif.seek(t)
        np.testing.assert_array_equal(np.asarray(gif.convert("RGB")), video[t])


def test_encoders_round_trip():
    picture = np.random.default_rng(1).integers(0, 256, (5, 7, 3), np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encode_png(picture)))), picture)
    still = Image.open(io.BytesIO(encode_gif(np.stack([picture]), fps=10.0)))
    assert still.size == (7, 5)


def test_damaged_lines_cost_themselves_alone(tmp_path):
    """A power cut can leave zeros or half a line in a file."""
    good = [b'{"step": 5, "loss": 1.0}\n', b'{"step": 15, "loss": 3.0}\n']
    bad = [b"\0\0\0\0\n", b'{"step": 10, "lo\n', b"[]\n", b'{"step": null}\n', b"\xff\n", b"{}\n"]
    log = tmp_path / "metrics.jsonl"
    log.write_bytes(good[0] + b"".join(bad) + good[1] + b"".join(bad) + b'{"step": 20')
    assert [row["step"] for row in read_metrics(tmp_path)] == [5, 15]
    writer = MetricWriter(tmp_path, step=15)
    writer.row(20, {"loss": 4.0})
    writer.close()
    assert [row["step"] for row in read_metrics(tmp_path)] == [5, 15, 20]
    assert log.read_bytes().endswith(good[1] + b'{"step": 20, "loss": 4.0}\n')


def test_a_run_that_begins_again_replaces_its_curves(tmp_path):
    """Killed before its first checkpoint, it starts at step 0 once more."""
    for value in (1.0, 2.0):
        writer = MetricWriter(tmp_path)
        writer.row(1, {"loss": value})
        writer.close()
        assert read_metrics(tmp_path) == [{"step": 1, "loss": value}]
    assert [(e.step, e.value) for e in events(tmp_path).Scalars("loss")] == [(1, 2.0)]


def test_files_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    file = tmp_path / "file.json"
    write_json(file, {"a": 1})
    with pytest.raises(TypeError):
        write_json(file, {"a": object()})

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WorkdirError, match=r"file.json could not be written: No space left .*room"):
        write_json(file, {"a": 2})
    assert json.loads(file.read_text()) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["file.json"]
    with pytest.raises(WorkdirError, match="file.json could not be written"):
        write_whole(tmp_path / "missing" / "file.json", b"")
    writer = MetricWriter(tmp_path)
    with pytest.raises(WorkdirError, match="metrics.jsonl could not be written: No space left"):
        writer.row(1, {"loss": 1.0})
    monkeypatch.undo()
    writer.close()
