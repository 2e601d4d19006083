# SPDX-License-Identifier: Apache-2.0
"""The model that comes with lipjax talks; installed ones are found; weights are read safely."""

import importlib.metadata
import json
import re
import tomllib
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest

import lipjax
from lipjax import cli
from lipjax.errors import ConfigError
from lipjax.media.audio import Sound
from lipjax.pretrained import BUILT_IN, GROUP, find_model, installed_models
from lipjax.training.stored import load_params
from lipjax.training.weights import WEIGHTS, load_weights, save_weights


def vowels(rate: int = 16_000) -> Sound:
    """Half a second of a hummed vowel, half a second of silence, three times."""
    times = np.arange(3 * rate) / rate
    voice = sum(
        np.sin(2 * np.pi * 120 * n * times) / (1 + (120 * n - 700) ** 2 / 2e5) for n in range(1, 40)
    )
    return Sound((np.where(times % 1 < 0.5, voice, 0) * 6000).astype(np.int16), rate)


def test_the_built_in_model_opens_for_vowels_and_rests_in_silence():
    talker = lipjax.load(model=BUILT_IN)
    assert re.fullmatch(  # what a REPL shows: a line, not the parameters
        r"<lipjax.Talker: AtAGlanceSpeaker, [\d,]+ parameters, 64 x 64 pixels, "
        r"25 frames per second>",
        repr(talker),
    )
    picture = np.full((64, 64, 3), (200, 150, 130), np.uint8)
    picture[30:34, 18:46] = (150, 60, 60)
    sound = vowels()
    quiet = Sound(np.zeros_like(sound.samples), sound.rate)
    video, still = (talker(picture, s.samples, rate=s.rate) for s in (sound, quiet))
    assert video.shape == (75, 64, 64, 3) and video.dtype == np.uint8
    change = np.abs(video.astype(float) - still)[:, 20:50, 16:48].mean(axis=(1, 2, 3))
    spoken = np.arange(75) / 25 % 1 < 0.5
    assert change[spoken].mean() > 2 * change[~spoken].mean()
    assert still.astype(float).std(axis=0).mean() < 0.2 * video.astype(float).std(axis=0).mean()


def test_a_picture_that_is_no_mouth_crop_is_told():
    """Its middle is taken: of a whole photo that is hardly the mouth."""
    talker, sound = lipjax.load(model=BUILT_IN), vowels()
    photo = np.zeros((90, 64, 3), np.uint8)
    with pytest.warns(UserWarning, match="64x90 pixels is taken for the mouth"):
        talker(photo, sound.samples[:1000], rate=sound.rate)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        talker(photo[:68], sound.samples[:1000], rate=sound.rate)


GRID = Path(__file__).parents[1] / "model_packages" / "lipjax_grid"


@pytest.mark.parametrize(
    "folder", [find_model(BUILT_IN), GRID / "lipjax_grid"], ids=["built-in", "grid"]
)
def test_what_we_give_away_names_no_place_and_has_a_card(folder):
    described = json.loads((folder / "model.json").read_text())
    assert all("/" not in corpus for corpus in described["corpora"])
    card = (folder / "MODEL_CARD.md").read_text()
    for part in ("Data and terms", "How it was trained", "Measured quality", "Limits"):
        assert f"## {part}" in card
    assert "Write here" not in card and "synthetic" in card
    assert sum(file.stat().st_size for file in folder.iterdir() if file.is_file()) < 20e6
    talker = lipjax.load(folder)
    count = sum(leaf.size for leaf in jax.tree.leaves(talker.params))
    assert f"{count:,} parameters" in card


def test_the_weights_of_grid_stay_outside_with_their_own_terms():
    settings = tomllib.loads((GRID / "pyproject.toml").read_text())
    assert settings["project"]["entry-points"][GROUP] == {"grid": "lipjax_grid"}
    assert settings["project"]["license-files"] == ["LICENSE.md"]
    terms = (GRID / "LICENSE.md").read_text()
    assert "research only" in terms and "Cooke" in terms
    assert "model_packages" not in (GRID.parents[1] / "setup.py").read_text()


def test_a_model_package_goes_before_the_built_in_one(tmp_path, monkeypatch):
    (tmp_path / "a_model_package").mkdir()
    (tmp_path / "a_model_package" / "__init__.py").write_text("raise SystemError('is imported')")
    monkeypatch.syspath_prepend(tmp_path)
    point = importlib.metadata.EntryPoint("mine", "a_model_package", GROUP)
    gone = importlib.metadata.EntryPoint("gone", "no_such_package_here", GROUP)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [point, gone])
    assert list(installed_models()) == ["mine", BUILT_IN]
    assert find_model() == find_model("mine") == tmp_path / "a_model_package"
    with pytest.raises(ConfigError, match=r"no model 'mne' is installed \(did you mean 'mine'\?\)"):
        find_model("mne")


def test_a_workdir_and_a_model_exclude_each_other(tmp_path):
    with pytest.raises(ConfigError, match="not both"):
        lipjax.load(tmp_path, model=BUILT_IN)


def test_weights_come_back_as_they_were(tmp_path):
    weights = {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}
    networks = {"params": {"generator": {"Dense_0": weights}}, "stats": {"generator": {}}}
    save_weights(tmp_path, networks)
    loaded = load_params(tmp_path)
    np.testing.assert_array_equal(
        loaded["params"]["generator"]["Dense_0"]["kernel"], weights["kernel"]
    )
    assert loaded["stats"] == {"generator": {}}


@pytest.mark.parametrize(
    "arrays",
    [
        {"params/generator/a": np.array([{"an": "object"}])},
        {"other/generator/a": np.zeros(3)},
        {"params/generator": np.zeros(3)},
        {"params/generator/a": np.zeros(3), "params/generator/a/b": np.zeros(3)},
    ],
)
def test_damaged_weights_are_one_clear_error(arrays, tmp_path):
    np.savez(tmp_path / WEIGHTS, **arrays)
    with pytest.raises(ConfigError, match="is damaged .*copy the model's folder again"):
        load_weights(tmp_path)


def test_a_cut_off_file_too(tmp_path):
    save_weights(tmp_path, {"params": {"g": {"a": np.zeros(99)}}, "stats": {}})
    whole = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match="is damaged"):
        load_weights(tmp_path)


def test_generate_takes_a_name(tmp_path, capsys):
    words = ["generate", "--model", "draun", "--face", __file__, "--audio", __file__]
    assert cli.main([*words, "--out", str(tmp_path / "a.mp4")]) == 2
    assert f"did you mean {BUILT_IN!r}?" in capsys.readouterr().err
