# SPDX-License-Identifier: Apache-2.0
"""`lipjax train` in several processes: a whole GAN step gives what one process gives."""

import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from lipjax.training.logging import read_metrics

SETTINGS = {
    "weights.perceptual": 0,  # row h without the network of an earlier stage
    "train.steps": 12,
    "train.log_every": 2,
    "train.eval_every": 4,
    "train.checkpoint_every": 4,
    "train.preview_every": 6,
    "train.eval_windows": 7,
}


def train(corpus, workdir, count: int, *more: str) -> list[dict]:
    """Runs the command in `count` processes of one device each; returns its rows."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    words = ["train", "--config", "configs/at_a_glance.py:tiny,row=h", "--workdir", str(workdir)]
    words += [f"--config.{name}={value}" for name, value in SETTINGS.items()]
    words += [f"--config.data.dirs={corpus.directory}", *more]
    flags = os.environ["XLA_FLAGS"].replace("device_count=8", "device_count=1")
    members = []
    for index in range(count):
        joined = ["--coordinator", f"localhost:{port}", "--processes", str(count)]
        joined = [*joined, "--process", str(index)] if count > 1 else []
        members.append(
            subprocess.Popen(
                [sys.executable, "-m", "lipjax.cli", *words, *joined],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env={**os.environ, "XLA_FLAGS": flags},
            )
        )
    try:
        for member in members:
            out, _ = member.communicate(timeout=900)
            assert member.returncode == 0, out
    finally:
        for member in members:
            member.kill()
    return read_metrics(workdir)


@pytest.mark.slow
@pytest.mark.parametrize(("count", "more"), [(2, ()), (4, ("--config.train.shards=2",))])
def test_both_players_move_as_in_one_process(tmp_path, tiny_corpus, count, more):
    one = train(tiny_corpus, tmp_path / "one", 1)
    many = train(tiny_corpus, tmp_path / "many", count, *more)
    assert len(one) == len(many) == 6 and "eval/l1" in one[-1] and "train/d_fake" in one[-1]
    for a, b in zip(one, many, strict=True):
        assert a.keys() == b.keys()
        np.testing.assert_allclose([*b.values()], [*a.values()], rtol=1e-3, err_msg=str(a["step"]))
    assert len(list((tmp_path / "many" / "previews").iterdir())) == 4
