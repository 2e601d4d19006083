# SPDX-License-Identifier: Apache-2.0
"""Real runs of `lipjax train` in processes of their own: watched, killed, and compared."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lipjax.training.checkpoints import named, read
from lipjax.training.damage import TEMPORARY, incomplete, steps_in

SCRIPT = Path(__file__).parent / "training" / "marked_run.py"
REPOSITORY = Path(__file__).parents[1]
FIELDS = ("step", "key", "params", "stats", "opt", "ema", "given", "carry", "skipped", "streak")


def environment(cache: Path, *, devices: int = 2) -> dict[str, str]:
    """The surroundings that all runs share: the same compiler, and one cache of its programs."""
    flags = os.environ["XLA_FLAGS"].replace("device_count=8", f"device_count={devices}")
    return {
        **os.environ,
        "XLA_FLAGS": flags,  # set in tests/conftest.py
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
    }


@dataclasses.dataclass
class Mark:
    """What a run told: when, what, and a number."""

    time: float
    name: str
    number: int | None


class Run:
    """One process, or a group of them, that trains.

    Args:
        words: of marked_run.py.
        env: see `environment`.
    """

    def __init__(self, words: list[str], env: dict[str, str]):
        reading, writing = os.pipe()
        self.marks: list[Mark] = []
        self._news = threading.Condition()
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(writing), *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, cwd=REPOSITORY,
            pass_fds=[writing], start_new_session=True,
        )  # fmt: skip
        os.close(writing)
        self._ended = False
        self._pipe = threading.Thread(target=self._read, args=(reading,), daemon=True)
        self._pipe.start()

    def _read(self, reading: int) -> None:
        with os.fdopen(reading) as lines:
            for line in lines:
                when, name, *number = line.split()
                with self._news:
                    number = int(number[0]) if number else None
                    self.marks.append(Mark(float(when), name, number))
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def until(self, name: str, number: int | None = None, *, count: int = 1) -> bool:
        """Waits for the count-th mark of that name; returns False if the run ended before."""

        def there() -> bool:
            numbers = [mark.number for mark in self.marks if mark.name == name]
            return sum(number in (None, n) for n in numbers) >= count

        with self._news:
            assert self._news.wait_for(lambda: there() or self._ended, 300), self.marks[-5:]
            return there()

    def kill(self) -> bool:
        """Kills the whole process group; False if it had ended by itself."""
        alive = self.process.poll() is None
        if alive:  # afterwards its number may be somebody else's
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.told = self.process.communicate()
        self._pipe.join()
        return alive and self.process.returncode == -signal.SIGKILL

    def end(self, seconds: float = 300) -> int:
        """Waits for the end; returns the exit code."""
        try:
            self.told = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self._pipe.join()
        return self.process.returncode

    @property
    def resumed(self) -> int:
        """The step that it went on from."""
        words = [line.split() for line in self.told[0].splitlines() if line.startswith("resumed")]
        return int(words[0][3]) if words else 0

    def batches(self) -> dict[int, int]:
        """Step -> checksum of the batch that it trained on."""
        sums = [mark.number for mark in self.marks if mark.name == "batch"]
        return dict(enumerate(sums, self.resumed))


def where(run: Run, workdir: Path) -> dict[str, int | None]:
    """Says what a killed run was doing, from its last marks and from what lies on the disk.

    Returns:
        Place -> step; two places where a save went on in the background.
    """
    root = workdir / "checkpoints"
    temporary = (
        [path.name for path in root.iterdir() if TEMPORARY in path.name] if (root.is_dir()) else []
    )
    doing: dict[str, int | None] = {}
    saves = [mark.number for mark in run.marks if mark.name == "save"]
    if saves and not (root / str(saves[-1])).is_dir():
        begun = any(name.startswith(f"{saves[-1]}.") for name in temporary)
        doing["save" if begun else "save without a file yet"] = saves[-1]
    if any(name.startswith("deleted") for name in temporary):
        doing["deletion"] = saves[-1]
    names = {
        "started": "import", "imported": "start", "restore": "restore", "restored": "start",
        "compile": "compile", "compiled": "start", "evaluation": "evaluation", "ended": "exit",
    }  # fmt: skip
    last = run.marks[-1].name if run.marks else "launch"
    steps = [mark.number for mark in run.marks if mark.name == "step"]
    if last not in ("save", "saving") or not doing:
        doing[names.get(last, "launch" if last == "launch" else "step")] = max(steps, default=None)
    return doing


def contents(workdir: Path) -> dict[str, bytes]:
    """All that an unbroken and a broken run must have in common, by name.

    Every leaf of every checkpoint kept, what the loop remembers but the time, the log, the curves
    and pictures, and the files that describe the run.
    """
    found = {}
    for step, folder in steps_in(workdir / "checkpoints").items():
        assert incomplete(folder) is None
        tree = read(folder, FIELDS)
        assert {"step", "key", "params", "opt"} <= tree.keys()
        for name, leaf in named(tree).items():
            leaf = np.asarray(leaf)
            found[f"{step}/{name} {leaf.dtype}{leaf.shape}"] = leaf.tobytes()
        loop = json.loads((folder / "loop" / "metadata").read_text())
        assert loop.pop("seconds") > 0
        found[f"{step}/loop"] = json.dumps(loop, sort_keys=True).encode()
    for name in ("metrics.jsonl", "start.json", "model.json", "config.json"):
        if (workdir / name).exists() or name == "metrics.jsonl":
            found[name] = (workdir / name).read_bytes()
    for file in (workdir / "previews").iterdir():
        found[f"previews/{file.name}"] = file.read_bytes()
    found["tensorboard"] = json.dumps(curves(workdir)).encode()
    done = json.loads((workdir / "progress.json").read_text())
    found["progress.json"] = json.dumps([done[n] for n in ("step", "best", "best_step")]).encode()
    left = [p for p in workdir.rglob("*") if TEMPORARY in p.name or p.name.endswith(".part")]
    assert not left, left
    return found


def curves(workdir: Path) -> dict[str, list]:
    """What TensorBoard shows, without the speed."""
    events = EventAccumulator(str(workdir / "tensorboard")).Reload()
    names = sorted(n for n in events.Tags()["scalars"] if not n.startswith("speed/"))
    assert names
    return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in names}


def differences(workdir: Path, reference: dict[str, bytes]) -> list[str]:
    """Names of what a run has otherwise than the unbroken one."""
    here = contents(workdir)
    return [n for n in sorted(here.keys() | reference.keys()) if here.get(n) != reference.get(n)]
