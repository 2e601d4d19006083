# SPDX-License-Identifier: Apache-2.0
"""Workdirs in use, read-only, full or half-written: told in one line, and nothing lost."""

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from lipjax.builders.descriptions import save_description
from lipjax.errors import ConfigError, WorkdirError
from lipjax.training import workdir as workdirs
from lipjax.training.loop import train
from lipjax.training.workdir import LOCK, check_room, claimed, closing


def quietly(task, windows, workdir, **options):
    settings = {"steps": 10, "log_every": 5, "checkpoint_every": 5, "show": lambda _: None}
    return train(task, windows, workdir=workdir, **(settings | options))


def holding(workdir: Path) -> subprocess.Popen:
    """Another process that holds a workdir until it is killed."""
    code = (
        "import sys, time; from pathlib import Path; from lipjax.training.workdir import claimed\n"
        "with claimed(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(600)"
    )
    words = [sys.executable, "-c", code, str(workdir)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_run_is_refused_and_a_killed_one_leaves_no_lock(tmp_path):
    other = holding(tmp_path / "run")
    try:
        with pytest.raises(ConfigError, match=rf"in use by process {other.pid} on .* since 20"):
            with claimed(tmp_path / "run"):
                pass
        with claimed(tmp_path / "another"):
            pass
        assert other.poll() is None
    finally:
        other.kill()
        other.communicate()
    with claimed(tmp_path / "run"):
        assert json.loads((tmp_path / "run" / LOCK).read_text())["pid"] == os.getpid()
    assert (tmp_path / "run" / LOCK).read_text() == ""


def test_the_first_run_goes_on_while_the_second_is_refused(tmp_path, toy_task, toy_windows):
    held, ready, refused = toy_windows(), threading.Event(), []

    class Waiting:
        def batch(self, step):
            if step == 3:
                ready.set()
                assert second.join(60) is None and refused
            return held.batch(step)

    def again():
        ready.wait(60)
        try:
            quietly(toy_task(), held, tmp_path)
        except ConfigError as error:
            refused.append(str(error))

    second = threading.Thread(target=again)
    second.start()
    result = quietly(toy_task(), Waiting(), tmp_path)
    assert int(result.state.step) == 10 and f"{tmp_path} is in use" in refused[0]
    assert int(quietly(toy_task(), held, tmp_path, steps=12).state.step) == 12


def test_a_lock_that_nobody_described_is_still_a_lock(tmp_path):
    for text in ("", "{", "[]", '{"pid": 1}'):
        (tmp_path / LOCK).write_text(text)
        with (tmp_path / LOCK).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            with pytest.raises(ConfigError, match="in use by another process"):
                with claimed(tmp_path):
                    pass


def test_file_systems_without_locks_are_told_and_used(tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    lines = []
    with claimed(tmp_path, show=lines.append):
        pass
    assert len(lines) == 1 and "without locks" in lines[0]


def test_a_workdir_that_cannot_be_one_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file cannot be written .*choose another --workdir"):
        with claimed(tmp_path / "file"):
            pass
    with pytest.raises(ConfigError, match=r"file/run cannot be written \(Not a directory\)"):
        with claimed(tmp_path / "file" / "run"):
            pass


def test_room_for_the_checkpoints_is_looked_for(tmp_path, monkeypatch):
    state = {"w": jax.ShapeDtypeStruct((1000, 1000), jnp.float32), "key": jax.random.key(0)}
    usage = lambda free: lambda _: type("Usage", (), {"free": free})()  # noqa: E731
    monkeypatch.setattr(workdirs.shutil, "disk_usage", usage(12_100_000))
    check_room(tmp_path, state, copies=3)
    with pytest.raises(
        ConfigError, match="12 MB free on its disk, and 4 checkpoints of up to 4 MB"
    ):
        check_room(tmp_path, state, copies=4)


def test_all_parts_are_closed_and_the_first_fault_is_told():
    class Part:
        def __init__(self, error=None):
            self.error, self.closed = error, False

        def close(self):
            self.closed = True
            if self.error:
                raise self.error

    parts = [Part(), Part(OSError("first")), Part(OSError("second"))]
    with pytest.raises(OSError, match="first"), closing(*parts):
        pass
    assert all(part.closed for part in parts)
    with pytest.raises(KeyError), closing(Part(OSError("late"))):
        raise KeyError("cause")


def test_a_damaged_description_is_named(tmp_path):
    (tmp_path / "model.json").write_text('{"format": 2, "fam')
    with pytest.raises(ConfigError, match="model.json is damaged .* delete it"):
        save_description(tmp_path, {"format": 2})
    (tmp_path / "model.json").unlink()
    save_description(tmp_path, {"format": 2})
    assert [path.name for path in tmp_path.iterdir()] == ["model.json"]


# ---- Real disks: small, full and read-only ones, where the system lets a test mount them.


def mount(kind: str, place: Path, flags: int = 0, options: str = "") -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    source = str(place) if kind == "bind" else kind
    if kind == "bind":
        done = libc.mount(source.encode(), str(place).encode(), None, 4096, None)  # MS_BIND
        done = done or libc.mount(None, str(place).encode(), None, 4096 | 32 | flags, None)
    else:
        done = libc.mount(
            kind.encode(), str(place).encode(), kind.encode(), flags, options.encode()
        )
    if done:
        pytest.skip(f"mounting needs rights: {os.strerror(ctypes.get_errno())}")


@contextlib.contextmanager
def mounted(kind: str, place: Path, flags: int = 0, options: str = ""):
    place.mkdir(exist_ok=True)
    mount(kind, place, flags, options)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)


def test_read_only_is_found_before_work_starts(tmp_path, toy_task, toy_windows):
    quietly(toy_task(), toy_windows(), tmp_path / "run")
    before = sorted(path for path in (tmp_path / "run").rglob("*"))
    with mounted("bind", tmp_path / "run", flags=1):  # MS_RDONLY
        with pytest.raises(ConfigError, match=r"run cannot be written \(Read-only file system\)"):
            quietly(toy_task(), toy_windows(), tmp_path / "run", steps=20)
    assert sorted(path for path in (tmp_path / "run").rglob("*")) == before
    assert int(quietly(toy_task(), toy_windows(), tmp_path / "run", steps=12).state.step) == 12


@pytest.mark.parametrize("left", [4, 60, 150])
def test_a_disk_that_fills_up_ends_training_and_loses_nothing(
    tmp_path, toy_task, toy_windows, left, capfd, monkeypatch
):
    """The disk fills after a few steps; room is made, and the same call ends as if it never had.

    The amount left, in kB, decides what fails first: a row of the log, the checkpoint in the
    background, its small files.
    """
    monkeypatch.setattr("lipjax.training.loop.check_room", lambda *_, **__: None)
    windows, disk = toy_windows(), tmp_path / "disk"

    class Filling:
        def batch(self, step):
            if step == 12 and not (disk / "filler").exists():
                while not (disk / "run" / "checkpoints" / "10").is_dir():
                    time.sleep(0.01)
                with contextlib.suppress(OSError), (disk / "filler").open("wb") as file:
                    while True:
                        file.write(bytes(4096))
                        file.flush()
                os.truncate(disk / "filler", (disk / "filler").stat().st_size - 1024 * left)
            return windows.batch(step)

    options = {"steps": 40, "checkpoint_every": 5, "log_every": 2, "keep_latest": 3}
    with mounted("tmpfs", disk, options="size=1m"):
        with pytest.raises(WorkdirError, match="No space left on device.*make room") as caught:
            quietly(toy_task(), Filling(), disk / "run", **options)
        told = str(caught.value)
        assert told.startswith(str(disk / "run")) and "\n" not in told
        assert "Traceback" not in capfd.readouterr().err
        (disk / "filler").unlink()
        lines = []
        (disk / "filler").write_bytes(b"")  # the second run does not fill the disk again
        result = quietly(toy_task(), windows, disk / "run", show=lines.append, **options)
        resumed = [int(line.split()[3]) for line in lines if line.startswith("resumed")]
        assert resumed and resumed[0] >= 10
        log = (disk / "run" / "metrics.jsonl").read_bytes()
    whole = quietly(toy_task(), windows, tmp_path / "whole", **options)
    assert (tmp_path / "whole" / "metrics.jsonl").read_bytes() == log
    for a, b in zip(jax.tree.leaves(whole.state), jax.tree.leaves(result.state), strict=True):
        assert jnp.array_equal(a, b)
