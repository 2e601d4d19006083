# SPDX-License-Identifier: Apache-2.0
"""Decoded clips on disk: the same batches, from fewer reads, whatever happens to the files."""

import dataclasses
import errno
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from window_tools import AT_A_GLANCE, FRAMES, STREAMS, MemoryCorpus

from lipjax.data.ready import Ready, key_of, ready_of
from lipjax.data.views import View, clip_log_mel, columns_of
from lipjax.data.windows import Windows
from lipjax.errors import CorpusError

DESCRIPTION = {"splits": {"train": {"clips": 4}}, "settings": {}}


@dataclasses.dataclass(frozen=True)
class Unreadable(MemoryCorpus):
    """A corpus whose records have gone; the index has not."""

    broken: tuple[int, ...] = tuple(range(len(FRAMES)))


def windows(ready, *, kind=MemoryCorpus, inputs=AT_A_GLANCE, **settings) -> Windows:
    options = {"split": "train", "streams": STREAMS, "batch_size": 8, "seed": 3, "cache_mb": 0.0}
    return Windows([kind(Path("memory"), DESCRIPTION)], inputs, ready=ready, **options, **settings)


def assert_same(one, other, steps=range(8)):
    for step in steps:
        wanted, found = one.batch(step), other.batch(step)
        for name in wanted:
            assert found[name].dtype == wanted[name].dtype
            np.testing.assert_array_equal(found[name], wanted[name])


def test_same_batches_and_records_are_read_once(tmp_path):
    assert_same(windows(""), windows(tmp_path))
    assert_same(windows(""), windows(tmp_path, kind=Unreadable))


def test_worker_processes_share_what_is_kept(tmp_path):
    stream = windows(tmp_path, workers=2).iterate()
    try:
        alone = windows("")
        for step in range(6):
            np.testing.assert_array_equal(next(stream)["video"], alone.batch(step)["video"])
    finally:
        stream.close()
    assert_same(windows(""), windows(tmp_path, kind=Unreadable), range(6))


@pytest.mark.parametrize("where", ["values", "slots"])
def test_damage_is_noticed_and_made_good(tmp_path, where):
    windows(tmp_path).batch(0)
    for path in tmp_path.rglob(f"*.{where}"):
        stored = bytearray(path.read_bytes())
        stored[::7] = bytes(255 - value for value in stored[::7])
        path.write_bytes(stored)
    with pytest.raises(CorpusError):
        windows(tmp_path, kind=Unreadable).batch(0)
    assert_same(windows(""), windows(tmp_path))
    assert_same(windows(""), windows(tmp_path, kind=Unreadable))


def test_a_full_disk_costs_speed_alone(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    assert_same(windows(""), windows(tmp_path))


def test_a_folder_that_cannot_be_made_costs_speed_alone(tmp_path):
    (tmp_path / "file").write_text("")
    assert_same(windows(""), windows(tmp_path / "file"), range(2))


def test_what_is_not_kept_is_read(tmp_path):
    inputs = {"landmarks": View("landmarks", 4), "video": View("mouth", 4)}
    made = windows(tmp_path, inputs=inputs)
    assert_same(windows("", inputs=inputs), made, range(3))


def test_a_bad_clip_is_left_out_alike(tmp_path):
    @dataclasses.dataclass(frozen=True)
    class OneBroken(MemoryCorpus):
        broken: tuple[int, ...] = (1,)

    alike = [windows(ready, kind=OneBroken) for ready in ("", tmp_path)]
    assert_same(*alike)
    assert alike[0].faults == alike[1].faults
    assert alike[1].skipped == 1


def test_automatic_only_where_memory_is_too_small(tmp_path, monkeypatch):
    corpus = MemoryCorpus(tmp_path, DESCRIPTION)
    frames = np.array(FRAMES)
    (tmp_path / "lipjax-train.array_record-00000-of-00001").write_bytes(bytes(1 << 21))
    about = {"corpus": corpus, "split": "train", "frames": frames, "streams": STREAMS}
    assert ready_of(**about, where="auto", cache_mb=10.0) is None
    small = ready_of(**about, where="auto", cache_mb=1.0)
    assert small.directory.parent == tmp_path / "ready"
    assert ready_of(**about, where="", cache_mb=1.0) is None
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    assert ready_of(**about, where="auto", cache_mb=1.0) is None


def test_other_clips_or_settings_have_other_files():
    records = {"a": (10, 20)}
    keys = {
        key_of("clips", records, STREAMS),
        key_of("others", records, STREAMS),
        key_of("clips", {"a": (10, 21)}, STREAMS),
        key_of("clips", records, dataclasses.replace(STREAMS, mouth_size=32)),
        key_of("clips", records, dataclasses.replace(STREAMS, fps=30.0)),
    }
    assert len(keys) == 5


def test_slots_hold_every_column(tmp_path):
    corpus = MemoryCorpus(Path("memory"), DESCRIPTION)
    for clip, frames in zip(corpus._all(), FRAMES, strict=True):
        assert 0 <= columns_of(frames, STREAMS) - len(clip_log_mel(clip, STREAMS.log_mel)) <= 4


def test_a_copy_in_another_process_opens_its_own_files(tmp_path):
    ready = Ready(tmp_path / "train", np.array([3]), STREAMS)
    values = np.arange(3 * 16 * 16 * 3, dtype=np.uint8).reshape(3, 16, 16, 3)
    ready.put("mouth", 0, values)
    copy = pickle.loads(pickle.dumps(ready))
    np.testing.assert_array_equal(copy.get("mouth", 0), values)
    assert copy.get("log_mel", 0) is None
