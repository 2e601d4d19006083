# SPDX-License-Identifier: Apache-2.0
"""Runs of several real processes: the same numbers as one, stopped together, never hanging."""

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from toy_training import ToyWindows

from lipjax.errors import ConfigError
from lipjax.training import processes
from lipjax.training.checkpoints import find_checkpoint, named, read
from lipjax.training.logging import read_metrics

SCRIPT = Path(__file__).with_name("one_of_many.py")


@dataclasses.dataclass
class Run:
    """Processes of one run."""

    members: list[subprocess.Popen]

    def ends(self, seconds: float = 100.0) -> list[tuple[int, str]]:
        """Exit code and output of each, all of them ended by then."""
        until = time.monotonic() + seconds
        try:
            told = [m.communicate(timeout=max(until - time.monotonic(), 0.1)) for m in self.members]
        finally:
            for member in self.members:
                member.kill()
        return [(m.returncode, out) for m, (out, _) in zip(self.members, told, strict=True)]


def start(count: int, workdir: Path, *, devices: int = 1, only: dict | None = None, **options):
    """Starts `count` processes; `only` holds options of the last of them."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        coordinator = f"localhost:{probe.getsockname()[1]}"
    flags = os.environ["XLA_FLAGS"].replace(
        "device_count=8", f"device_count={devices}"
    )  # set in tests/conftest.py
    members = []
    for index in range(count):
        own = {"steps": 20, "checkpoint_every": 10, **options}
        own |= (only or {}) if index == count - 1 else {}
        words = [coordinator, str(count), str(index), str(workdir), json.dumps(own)]
        members.append(
            subprocess.Popen(
                [sys.executable, str(SCRIPT), *words],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                env={**os.environ, "XLA_FLAGS": flags},
            )
        )  # fmt: skip
    return Run(members)


def finish(count: int, workdir: Path, **options) -> None:
    """Runs to the end."""
    for code, out in start(count, workdir, **options).ends():
        assert code == 0 and "ended at" in out, out


def leaves(workdir: Path) -> dict[str, np.ndarray]:
    """Every array of the newest checkpoint but the key, by name."""
    tree = read(find_checkpoint(workdir, "latest"), ("params", "stats", "opt", "ema", "step"))
    return {name: np.asarray(leaf) for name, leaf in named(tree).items()}


def assert_alike(one: Path, many: Path) -> None:
    rows, others = read_metrics(one), read_metrics(many)
    assert [row["step"] for row in rows] == [row["step"] for row in others]
    for row, other in zip(rows, others, strict=True):
        assert row.keys() == other.keys()
        np.testing.assert_allclose([*row.values()], [*other.values()], rtol=2e-5)
    a, b = leaves(one), leaves(many)
    assert a.keys() == b.keys() and len(a) > 8
    for name, leaf in a.items():
        np.testing.assert_allclose(b[name], leaf, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> Path:
    """The workdir of a run of one process."""
    workdir = tmp_path_factory.mktemp("processes") / "one"
    finish(1, workdir)
    return workdir


@pytest.mark.parametrize(("count", "devices", "shards"), [(2, 1, 1), (2, 2, 4), (4, 1, 2)])
def test_several_processes_train_what_one_trains(tmp_path, one, count, devices, shards):
    # 21 examples are evaluated: no number of devices divides them.
    finish(count, tmp_path / "many", devices=devices, shards=shards)
    assert_alike(one, tmp_path / "many")
    names = sorted(path.name for path in (tmp_path / "many" / "tensorboard").iterdir())
    assert len(names) == 1, "one process writes"


def test_a_run_moves_between_one_process_and_several(tmp_path, one):
    workdir = tmp_path / "moving"
    finish(2, workdir, steps=10, shards=2)
    finish(1, workdir, steps=15)
    finish(2, workdir, steps=20)
    a, b = leaves(one), leaves(workdir)
    for name, leaf in a.items():
        np.testing.assert_allclose(b[name], leaf, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("who", [0, 1])
def test_a_signal_to_one_stops_all_at_the_same_step(tmp_path, one, who):
    run = start(2, tmp_path / "run", steps=10_000, checkpoint_every=10_000, slow=0.05)
    for line in run.members[0].stdout:
        if "under way" in line:
            break
    run.members[who].send_signal(signal.SIGTERM)
    ends = run.ends()
    assert [code for code, _ in ends] == [143, 143], ends
    step = int(find_checkpoint(tmp_path / "run", "latest").name)
    assert 2 < step < 10_000 and f"stopped at step {step}" in ends[0][1]
    assert int(leaves(tmp_path / "run")["step"]) == step


def test_the_death_of_one_ends_the_others_soon(tmp_path, one):
    run = start(2, tmp_path / "run", slow=0.5, only={"kill": 18})
    began = time.monotonic()
    (code, out), (killed, _) = run.ends(90.0)
    assert killed == -signal.SIGKILL and code not in (0, None), out
    assert time.monotonic() - began < 80 and "goes on from the last checkpoint" in out
    # Nothing is lost but the steps since the last checkpoint.
    assert find_checkpoint(tmp_path / "run", "latest").name == "10"
    finish(2, tmp_path / "run")
    assert_alike(one, tmp_path / "run")


def test_rows_of_a_batch_are_shared_out():
    parts = [ToyWindows(process=(index, 2)).batch(3)["x"] for index in (0, 1)]
    whole = ToyWindows().batch(3)["x"]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"coordinator": "localhost:1"}, "--processes, --process missing"),
        ({}, "no Slurm, Open MPI or Cloud TPU"),
        ({"coordinator": "localhost:1", "processes": 2, "process": 2}, "numbers are 0 to 1"),
    ],
)
def test_wrong_ways_to_join_are_named(arguments, says):
    with pytest.raises(ConfigError, match=says):
        processes.join(**arguments)


@pytest.mark.parametrize(
    "name", ["SLURM_JOB_ID", "OMPI_MCA_orte_hnp_uri", "TPU_WORKER_HOSTNAMES", "TPU_ML_PLATFORM"]
)
def test_a_cluster_is_left_to_jax(name, monkeypatch):
    """On a Cloud TPU VM the metadata server knows the others; all that JAX sets is its platform."""
    asked = []
    monkeypatch.setenv(name, "x")
    monkeypatch.setattr("jax.distributed.initialize", lambda *who, **_: asked.append(who))
    monkeypatch.setattr("jax.config.update", lambda *_: None)
    processes.join()
    assert asked == [(None, None, None)]
