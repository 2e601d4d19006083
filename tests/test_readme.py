# SPDX-License-Identifier: Apache-2.0
"""The README's Python, run as it stands."""

import re
from pathlib import Path

import numpy as np
import pytest
from generate_tools import LoudSpeaker, needs, picture
from PIL import Image

import lipjax
from lipjax.media.audio import Sound, write_wav

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)


@pytest.fixture
def model():
    return lipjax.Talker(LoudSpeaker(needs()), {})


def block(word: str) -> str:
    (found,) = [text for text in BLOCKS if word in text]
    return found


def test_a_trained_run_is_a_function(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lipjax, "load", {"runs/demo": model}.__getitem__, raising=False)
    Image.fromarray(np.full((32, 32, 3), 90, np.uint8)).save("mouth.png")
    Image.fromarray(np.full((32, 32, 3), 90, np.uint8)).save("face.jpg")
    samples = np.random.default_rng(0).integers(-9000, 9000, 16_000).astype(np.int16)
    write_wav("speech.wav", Sound(samples, 16_000))
    names: dict = {}
    exec(block("lipjax.load"), names)
    assert names["video"].shape == (25, 32, 32, 3) and names["video"].dtype == np.uint8
    assert Path("talk.mp4").stat().st_size > 1000


def test_a_network_alone():
    names: dict = {}
    exec(block("lipjax.Generator()"), names)
    assert names["video"].shape == (1, 16, 64, 64, 3)
    assert np.abs(names["video"]).max() <= 1


def test_a_stream(model):
    shown: list = []
    rng = np.random.default_rng(0)
    names = {
        "model": model,
        "identity": picture()[:32, :32].astype(np.float32) / 127.5 - 1,
        "chunks_of_sound": [rng.normal(size=4000).astype(np.float32) * 0.1 for _ in range(8)],
        "show": shown.append,
    }
    exec(block("Stream("), names)
    assert len(shown) > 30 and shown[0].shape == (32, 32, 3) and names["talk"].latency > 0
