# SPDX-License-Identifier: Apache-2.0
"""Words for the command line that train stages of two steps on the tiny corpus."""

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from lipjax.data.reading import Corpus, open_corpus
from lipjax.training import sharding

TRAIN = {
    "train.steps": 2,
    "train.log_every": 1,
    "train.eval_every": 2,
    "train.checkpoint_every": 2,
    "train.preview_every": 2,
    "train.eval_windows": 2,
}
QUICK = {
    **TRAIN,
    "data.batch_size": 2,
    "generator.residual_blocks": 0,
    "generator.speech_features": 0,
    "stages.perceptual.network.residual_blocks": 1,
    **{
        f"stages.{stage}.{name}": value
        for stage in ("flow", "perceptual")
        for name, value in TRAIN.items()
    },
    "stages.flow.batch_size": 2,
    "stages.flow.frames": 4,
    "stages.perceptual.batch_size": 2,
    "stages.perceptual.frames": 2,
}


def copied(corpus: Corpus, directory: Path) -> Corpus:
    """Copies a corpus, so that something may be derived below it."""
    shutil.copytree(corpus.directory, directory)
    return open_corpus(directory)


def settings(corpus: Corpus, **more: object) -> list[str]:
    """Words that set a config."""
    values = {**QUICK, "data.dirs": corpus.directory, **more}
    return [f"--config.{name}={value}" for name, value in values.items()]


def strict(path: Path) -> Any:
    """Reads JSON in which NaN is an error."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in {path}")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


@contextlib.contextmanager
def quick_programs(directory: Path) -> Iterator[None]:
    """Trains on one device, and compiles no program twice.

    What several devices change is tested elsewhere; here it would take most of the time.
    """
    make_mesh = sharding.make_mesh
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = [getattr(jax.config, name) for name in names]

    def one(devices=None, *, shards=1):
        return make_mesh(devices or jax.devices()[:1], shards=shards)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding, "make_mesh", one)
        for name, value in zip(names, (str(directory), 0.1), strict=True):
            jax.config.update(name, value)
        compilation_cache.reset_cache()
        yield
        for name, value in zip(names, before, strict=True):
            jax.config.update(name, value)
        compilation_cache.reset_cache()
