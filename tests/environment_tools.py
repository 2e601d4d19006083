# SPDX-License-Identifier: Apache-2.0
"""Fresh environments away from the repository, for the tests that install lipjax."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
UV = (sys.executable, "-m", "uv")
# What the tests set for themselves, and a newcomer has not.
_OURS = ("PYTHON", "XLA_", "JAX_", "NPROC", "VIRTUAL_ENV", "TF_CPP", "PYTEST_")


def run(*words: object, cwd: Path, code: int = 0) -> str:
    """Runs a program as a newcomer would; returns what it printed.

    Args:
        words: program and arguments.
        cwd: folder to run it in.
        code: the exit code that it must have.
    """
    told = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if not name.startswith(_OURS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert told.returncode == code, f"{words}: exit code {told.returncode}\n{told.stdout[-6000:]}"
    return told.stdout


def copy_sources(folder: Path) -> Path:
    """Copies what belongs to the repository: every file that git does not ignore."""
    listed = run(
        "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT
    ).split("\0")
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
    return folder


def make_environment(folder: Path, *requirements: object) -> Path:
    """Makes a virtual environment of this Python and installs into it; returns its `bin`."""
    folder.mkdir(parents=True)
    run(*UV, "venv", "--quiet", "--python", sys.executable, folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    run(*UV, "pip", "install", "--quiet", "--python", python, *requirements, cwd=folder)
    return python.parent
