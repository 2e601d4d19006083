# SPDX-License-Identifier: Apache-2.0
"""The public names: there, documented, light to import; a trained model as a function."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from generate_tools import SOUND, LoudSpeaker, needs
from PIL import Image

import lipjax
from lipjax.errors import ConfigError
from lipjax.media.audio import Sound, write_wav


def test_importing_is_light():
    code = (
        "import sys; import lipjax; "
        "print(len(lipjax.__all__), [m for m in ('jax', 'flax', 'numpy') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == f"{len(lipjax.__all__)} []\n"


def test_type_checkers_see_the_table():
    stub = Path(lipjax.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    seen = {
        (node.module, alias.name)
        for node in ast.parse(stub).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    }
    table = {(module, name) for module, names in lipjax._PUBLIC.items() for name in names}
    assert seen == table and len(table) == len(lipjax.__all__)


@pytest.mark.parametrize("name", lipjax.__all__)
def test_a_public_name_is_there_and_documented(name):
    value = getattr(lipjax, name)
    assert value.__module__.startswith("lipjax.") and value.__name__ == name
    assert name in dir(lipjax)
    assert value.__doc__ and not value.__doc__.startswith(f"{name}("), "a docstring of its own"
    calls = [value] if inspect.isfunction(value) else []
    if inspect.isclass(value) and "__call__" in vars(value):
        calls.append(value.__call__)
    # Where a sound lies in time is no option of it.
    if inspect.isclass(value) and not issubclass(value, Exception) and name != "Sound":
        for parameter in inspect.signature(value).parameters.values():
            needed = parameter.default is inspect.Parameter.empty
            assert needed or parameter.kind is inspect.Parameter.KEYWORD_ONLY, parameter
    for call in calls:
        signature = inspect.signature(call)
        told = any(word in call.__doc__ for word in ("Returns", "->", "Yields"))
        assert told or signature.return_annotation is None
        for parameter in signature.parameters.values():
            optional = parameter.default is not inspect.Parameter.empty
            if (name, parameter.name) == ("load", "workdir"):
                continue  # what is loaded: it stands first, and need not be said
            assert not optional or parameter.kind is inspect.Parameter.KEYWORD_ONLY, parameter


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'lipjax' has no attribute 'nothing'"):
        lipjax.nothing  # noqa: B018


@pytest.fixture
def talker():
    return lipjax.Talker(LoudSpeaker(needs()), {})


def test_a_model_is_a_function_of_picture_and_sound(talker, tmp_path):
    """Each frame of this speaker is as bright as its sound is loud."""
    loud = np.random.default_rng(0).normal(size=16_000) * np.repeat([0.0, 0.2], 8_000)
    picture = np.full((40, 44, 3), 128, np.uint8)
    video = talker(picture, loud, rate=16_000)
    assert video.dtype == np.uint8 and video.shape == (25, talker.size, talker.size, 3)
    assert (talker.fps, talker.size) == (25.0, 32) and SOUND.bands == 8
    assert video[:11].max() < 40 and video[14:].min() > 128
    samples = np.round(loud * 32767).astype(np.int16)
    write_wav(tmp_path / "speech.wav", Sound(samples, 16_000))
    Image.fromarray(picture).save(tmp_path / "mouth.png")
    again = talker(tmp_path / "mouth.png", tmp_path / "speech.wav")
    assert np.abs(again.astype(int) - video).max() <= 1


def test_sound_without_a_clock_is_refused(talker, tmp_path):
    picture = np.zeros((32, 32, 3), np.uint8)
    for audio, rate, says in (
        (np.zeros(8), None, "samples need rate="),
        (np.zeros(0), 16_000, "no samples"),
        (tmp_path / "speech.wav", 16_000, "leave out rate="),
    ):
        with pytest.raises(ConfigError, match=says):
            talker(picture, audio, rate=rate)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no trained model"):
        lipjax.load(tmp_path)
