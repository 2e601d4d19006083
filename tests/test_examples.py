# SPDX-License-Identifier: Apache-2.0
"""The examples in the docstrings of the public names, run as they stand in docs/library.md."""

import doctest
import functools
import inspect
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from talking import write_talk

import lipjax
from lipjax.media.audio import Sound, write_wav

NAMES = {"functools": functools, "Path": Path, "jax": jax, "jnp": jnp, "np": np, "lipjax": lipjax}
NOT_RUN = {"train_recipe", "evaluate_workdir"}
"""They take minutes; `make demo` and the tests of those jobs run them."""


@pytest.fixture(scope="module")
def place(tiny_corpus, tmp_path_factory):
    """A folder with what the examples read."""
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(tiny_corpus.directory, folder / "corpus")
    (folder / "videos" / "s1").mkdir(parents=True)
    write_talk(folder / "videos" / "s1" / "a.mp4")
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (64, 64, 3)).astype(np.uint8)).save(folder / "mouth.png")
    samples = rng.integers(-9000, 9000, 16_000).astype(np.int16)
    write_wav(folder / "speech.wav", Sound(samples, 16_000))
    return folder


@pytest.mark.parametrize("name", lipjax.__all__)
def test_the_example_runs(name, place, monkeypatch):
    text = inspect.getdoc(getattr(lipjax, name)).partition("\nExample:\n")[2]
    test = doctest.DocTestParser().get_doctest(text, dict(NAMES), name, None, None)
    assert f"lipjax.{name}" in text and 1 <= len(test.examples) <= 6
    skipped = [example for example in test.examples if doctest.SKIP in example.options]
    assert bool(skipped) == (name in NOT_RUN)
    if skipped:
        call = compile(skipped[0].source, name, "exec")
        assert name in call.co_names
    else:
        # Of an example that shows nothing nobody learns what comes out.
        assert any(example.want for example in test.examples)
    monkeypatch.chdir(place)
    told: list[str] = []
    doctest.DocTestRunner(verbose=False).run(test, out=told.append)
    assert not told, "".join(told)
