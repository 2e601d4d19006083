# SPDX-License-Identifier: Apache-2.0
"""The command line: help that names everything, mistakes told in one line with the way out."""

import argparse
import os
import re
import signal
import subprocess
import sys
import time

import pytest

import lipjax
from lipjax import cli
from lipjax.commands import prepare, train
from lipjax.errors import ConfigError

TINY = "configs/at_a_glance.py:tiny"
ROOT, COMMANDS = cli.parsers()


def call(capsys, *words: str) -> tuple[int, str, str]:
    """Runs the command line; returns exit code, standard output and standard error."""
    try:
        code = cli.main(list(words))
    except SystemExit as end:
        code = end.code
    return (code, *capsys.readouterr())


def refused(capsys, *words: str) -> str:
    """Checks that a command ends with code 2 and one line, which is returned."""
    code, out, err = call(capsys, *words)
    assert code == 2 and not out
    assert err.count("\n") == 1 and err.endswith("\n")
    assert err.startswith(
        f"lipjax {words[0]}: error: " if words[0] in COMMANDS else "lipjax: error"
    )
    return err


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with an empty folder, a text and a file that is no video."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "clip.mp4").write_bytes(b"no video" * 100)
    (tmp_path / "speech.wav").write_text("no sound")
    return tmp_path


def test_help_lists_the_commands_with_what_they_do(capsys):
    code, out, err = call(capsys, "--help")
    assert code == 0 and not err
    known = {"prepare", "derive", "train", "eval", "generate", "score", "figure"}
    known |= {"ablation", "analyse", "babble", "demo", "export"}
    assert set(COMMANDS) == known
    for name in COMMANDS:
        assert re.search(rf"^ +{name} +\w+ \w+", out, re.MULTILINE)


def test_no_words_at_all_show_the_help(capsys):
    _, help, _ = call(capsys, "--help")
    code, out, err = call(capsys)
    assert code == 2 and not out and err == help


def test_the_version_is_told(capsys):
    assert call(capsys, "--version") == (0, f"lipjax {lipjax.__version__}\n", "")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_explains_every_argument(capsys, name):
    code, out, _ = call(capsys, name, "--help")
    assert code == 0 and f"lipjax {name}" in out.split("Example:")[1]
    for action in COMMANDS[name]._actions:
        assert action.help and action.help != argparse.SUPPRESS
        shown = action.option_strings[-1] if action.option_strings else action.metavar
        assert re.search(rf"^  (-h, )?{shown}\b", out, re.MULTILINE), shown


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("prepair videos", "'prepair' is unknown (did you mean 'prepare'?)"),
        ("--halp", "--halp is unknown (did you mean '--help'?)"),
        ("prepare videos --layuot grid", "did you mean '--layout'?"),
        ("prepare videos --ot corpus", "did you mean '--out'?"),  # not: --out is missing
        ("eval --workdri=videos", "did you mean '--workdir'?"),
        ("generate --workdir videos --fase x", "did you mean '--face'?"),
        ("train --confg.train.steps=3", "did you mean '--config'?"),
        ("eval --workdir videos --config.train.steps=3", "--config.train.steps is unknown"),
        ("prepare videos --out corpus --layout gird", "did you mean 'grid'?"),
        ("prepare videos --out corpus --offset shitf", "did you mean 'shift'?"),
        ("eval --workdir videos --split tset", "did you mean 'test'?"),
        ("generate --workdir videos --face-kind vidoe", "did you mean 'video'?"),
        ("prepare vidoes --out corpus", "'vidoes' (did you mean 'videos'?)"),
        ("score vidoes broken", "did you mean 'videos'?"),
        ("analyse corelation videos", "did you mean 'correlation'?"),
        ("score broken brocken/deep/er", "did you mean 'broken'?"),
        ("eval --workdir qqq", "no such file or folder: 'qqq';"),
        ("generate --workdir videos --audio speach.wav", "did you mean 'speech.wav'?"),
        ("prepare", "VIDEOS, --out"),
        ("prepare videos more --out corpus", "'more' is one word too many"),
        ("prepare videos --out corpus --mouth-size big", "'big' is no whole number above 0"),
        ("prepare videos --out corpus --processes 0", "'0' is no whole number above 0"),
        ("derive flwo videos", "did you mean 'flow'?"),
        ("derive flow vidoes", "did you mean 'videos'?"),
        ("ablation --config x --workdir y --seeds 0", "'0' is no whole number above 0"),
        ("ablation --config x --workdir y", "required: --rows"),
        ("babble made --speakers -1", "'-1' is no whole number above 0"),
    ],
)
def test_wrong_words_are_told_with_the_nearest_right_one(capsys, folder, words, says):
    assert says in refused(capsys, *words.split())
    assert {path.name for path in folder.iterdir()} == {"videos", "broken", "speech.wav"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("prepare videos --out corpus", "videos: no video files in it"),
        ("prepare broken --out speech.wav", "speech.wav: is a file"),
        ("prepare broken --out broken", "broken: is not empty and no corpus"),
        ("prepare broken --out speech.wav/corpus", "speech.wav"),
        ("prepare broken --out corpus --limit-minutes 0.001", "give at least 1"),
        ("prepare broken --out corpus --limit-minutes -1", "must be above 0"),
        ("prepare broken --out corpus --test-speakers tim", "test speaker 'tim' does not occur"),
        ("eval --workdir videos", "videos holds no trained model"),
        ("generate --workdir videos --face speech.wav", "--audio, --out must be given"),
        ("generate --workdir videos --list speech.wav --out a.mp4", "leave out --out"),
        ("generate --workdir videos --list speech.wav", "videos holds no trained model"),
        ("score videos broken", "videos: no videos in it"),
        ("analyse correlation videos", "videos: not a prepared corpus"),
        ("babble speech.wav", "speech.wav: File exists"),
    ],
)
def test_what_cannot_work_is_told_in_one_line(capsys, folder, words, says):
    assert says in refused(capsys, *words.split())


def test_a_folder_of_broken_videos_is_told_by_name(capsys, folder):
    words = ("broken", "--out", "corpus", "--processes", "1")
    code, _, err = call(capsys, "prepare", *words)
    assert code == 2 and err.count("\n") == 1
    assert "none of 1 videos gave a clip (1 x unreadable)" in err and "clip.mp4" in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([TINY, "--config.train.step=3"], "train has no 'step' (did you mean 'steps'?)"),
        ([TINY, "--config.trian.steps=3"], "did you mean 'train'?"),
        ([TINY, "--config.train.steps=many"], "cannot read 'many'"),
        ([TINY, "--config.train.steps", "3"], "write --config.train.steps=VALUE"),
        ([TINY, "--config.data.dirs=nowhere"], "nowhere: no such folder"),
        (["configs/at_a_glanse.py:tiny"], "did you mean 'at_a_glance.py'?"),
        (["configs/at_a_glance.py:tinny"], "'tiny'"),
    ],
)
def test_wrong_configs_are_told_with_the_nearest_right_name(capsys, tmp_path, words, says):
    workdir = tmp_path / "run"
    assert says in refused(capsys, "train", "--workdir", str(workdir), "--config", *words)
    assert not workdir.exists()


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (ConfigError("first\nsecond"), 2, "error: first second"),
        (PermissionError(13, "Permission denied", "corpus"), 2, "error: corpus: Permission denied"),
        (OSError("the disk is full"), 2, "error: the disk is full"),
        (KeyboardInterrupt(), 130, "stopped; the same command goes on from here"),
    ],
)
def test_errors_of_jobs_become_one_line(capsys, folder, monkeypatch, error, code, says):
    def fails(args):
        raise error

    monkeypatch.setattr(prepare, "_run", fails)
    found, out, err = call(capsys, "prepare", "videos", "--out", "corpus")
    assert (found, out, err) == (code, "", f"lipjax prepare: {says}\n")


def test_faults_of_lipjax_keep_their_traceback(monkeypatch, folder):
    def fails(args):
        raise ZeroDivisionError

    monkeypatch.setattr(prepare, "_run", fails)
    with pytest.raises(ZeroDivisionError):
        cli.main(["prepare", "videos", "--out", "corpus"])


def test_words_reach_the_jobs(monkeypatch, folder):
    seen = []
    monkeypatch.setattr(train, "_run", lambda args: seen.append(args) or 0)
    words = ["--config", TINY, "--config.train.steps=5", "--workdir", "run", "--from", "videos"]
    assert cli.main(["train", *words, "--config.data.dirs=a,b"]) == 0
    (args,) = seen
    assert args.config == TINY and args.start.name == "videos" and args.workdir.name == "run"
    assert args.overrides == ["--config.train.steps=5", "--config.data.dirs=a,b"]


def test_ctrl_c_stops_a_job_and_its_processes_with_one_line(tmp_path):
    words = [sys.executable, "-m", "lipjax.cli", "babble", str(tmp_path / "made")]
    # What a shell starts in the background ignores Ctrl-C, and so would its children.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    job = subprocess.Popen(
        [*words, "--speakers", "4", "--sentences", "40"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    signal.signal(signal.SIGINT, before)
    limit = time.monotonic() + 120
    workers = min(4, os.cpu_count() or 1)
    while time.monotonic() < limit:
        if len({video.parent for video in tmp_path.glob("made/*/*.mp4")}) == workers:
            break  # all are at work
        time.sleep(0.05)
    os.killpg(job.pid, signal.SIGINT)  # as a terminal does: to every process of the job
    out, err = job.communicate(timeout=120)
    assert job.returncode == 130
    assert err == "lipjax babble: stopped\n"
