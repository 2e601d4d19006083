# SPDX-License-Identifier: Apache-2.0
"""The files of the page: whose they are, and when they go."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lipjax.demo_page.files import OLD, Files, remove_left


@pytest.fixture
def files():
    made = Files()
    yield made
    made.remove()


def put(files, name):
    path = files.cache / name / "file.png"
    path.parent.mkdir()
    path.write_bytes(b"x")
    return path


def test_the_folder_is_for_this_user_alone_and_goes(files):
    assert files.folder.stat().st_mode & 0o077 == 0
    put(files, "a")
    files.remove()
    assert not files.folder.exists()
    files.remove()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks")
def test_what_a_killed_page_leaves_is_removed_by_the_next_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code = (
        "import tempfile; tempfile.tempdir = __import__('sys').argv[1]\n"
        "from lipjax.demo_page.files import Files\n"
        "files = Files(); (files.cache / 'face.png').write_bytes(b'x')\n"
        "print(files.folder, flush=True); input()"
    )
    page = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        left = Path(page.stdout.readline().strip())
        assert (left / "cache" / "face.png").exists()
        elsewhere = tmp_path / "elsewhere"
        shutil.copytree(left, elsewhere)
        (tmp_path / "lipjax-demo-link").symlink_to(elsewhere)
        (tmp_path / "lipjax-demo-notes").mkdir()
        (tmp_path / "lipjax-demo-file").write_bytes(b"x")
        before = set(tmp_path.iterdir())
        assert remove_left() == [], "the page is alive"
        page.kill()
        page.wait()
        assert set(tmp_path.iterdir()) == before
        files = Files()
        assert set(tmp_path.iterdir()) == before - {left} | {files.folder}
        assert (elsewhere / "cache" / "face.png").exists()
        assert remove_left() == []
        files.remove()
        assert set(tmp_path.iterdir()) == before - {left}
    finally:
        page.kill()
        page.communicate()


def test_files_live_as_long_as_a_session_that_shows_them(files):
    mine, ours, example = put(files, "mine"), put(files, "ours"), put(files, "example")
    files.keep(example)
    for path in (mine, ours, example):
        files.give("anna", path)
    files.give("ben", ours)
    files.close("anna")
    assert not mine.exists() and not mine.parent.exists()
    assert ours.exists() and example.exists()
    files.close("ben")
    assert not ours.exists() and example.exists()
    files.close("anna")


def test_files_elsewhere_are_not_touched(files, tmp_path):
    other = tmp_path / "precious.png"
    other.write_bytes(b"x")
    files.give("anna", other)
    files.close("anna")
    assert other.exists()


def test_old_files_of_nobody_are_swept(files):
    orphan, fresh, owned, example = (put(files, name) for name in ("o", "f", "w", "e"))
    files.keep(example)
    files.give("anna", owned)
    for path in (orphan, owned, example):
        os.utime(path, (time.time() - 2 * OLD,) * 2)
    files.sweep()
    assert [path.exists() for path in (orphan, fresh, owned, example)] == [False, True, True, True]
    files.sweep(now=time.time() + 2 * OLD)
    assert not fresh.exists() and owned.exists()
