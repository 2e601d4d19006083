# SPDX-License-Identifier: Apache-2.0
"""The worked example of docs/adding_a_system.md: it is short, it learns, and it talks."""

import importlib.util
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from synthetic import make_corpus

from lipjax.models.contract import SpeechGenerator
from lipjax.speakers.contract import Speaker

FILE = Path(__file__).parents[1] / "examples" / "new_system.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("new_system", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_under_a_hundred_lines():
    assert len(FILE.read_text("utf-8").splitlines()) < 100


def test_no_frame_hears_beyond_its_context(example):
    """What `margin` and `audio_context` promise, from which chunked equals whole follows."""
    generator = example.Bend(size=16, bands=8, width=8, grid=4)
    assert isinstance(generator, SpeechGenerator)
    rng = np.random.default_rng(0)
    picture = rng.uniform(-1, 1, (1, 16, 16, 3)).astype(np.float32)
    sound = rng.normal(size=(1, (6 + 4) * 4, 8)).astype(np.float32)
    variables = generator.init(jax.random.key(0), picture, sound)
    variables = jax.tree.map(lambda x: x + 0.05, variables)
    whole, _ = generator.apply(variables, picture, sound)
    assert whole.shape == (1, 6, 16, 16, 3)
    part, _ = generator.apply(variables, picture, sound[:, 4 * 2 : 4 * 8])  # frames 2 and 3
    np.testing.assert_allclose(part, whole[:, 2:4], atol=1e-5)
    assert np.abs(np.diff(whole, axis=1)).max() > 1e-3


def test_it_learns_and_talks(example, tmp_path):
    make_corpus(tmp_path / "corpus")
    model = example.train(str(tmp_path / "corpus"), str(tmp_path / "run"), size=32, steps=80)
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
    told = {key: row[key] for row in rows for key in row if key.startswith("eval/")}
    assert told["eval/l1"] < 0.8 * told["eval/l1_still_picture"]
    assert told["eval/l1"] < 0.8 * told["eval/l1_wrong_sound"]
    assert isinstance(model.speaker, Speaker)
    loud = np.random.default_rng(0).normal(size=16_000) * np.repeat([0.0, 0.1], 8_000)
    video = model(np.full((32, 32, 3), 150, np.uint8), loud, rate=16_000)
    assert video.shape == (25, 32, 32, 3) and video.dtype == np.uint8
