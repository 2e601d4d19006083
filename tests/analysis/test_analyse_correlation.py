# SPDX-License-Identifier: Apache-2.0
"""The command on a made-up corpus: strict JSON, a picture, clips that cannot take part."""

import argparse
import json

import numpy as np
import pytest
from PIL import Image
from synthetic import make_corpus

from lipjax.analysis import correlation as corr
from lipjax.analysis.job import analyse_correlation
from lipjax.commands import analyse
from lipjax.data.reading import Corpus
from lipjax.errors import ConfigError, CorpusError


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("analysis") / "made")


def test_the_command_writes_numbers_and_a_picture(corpus, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    parser = argparse.ArgumentParser()
    analyse.add(parser.add_subparsers())
    words = ["analyse", "correlation", str(corpus.directory), "--shufflings", "40", "--seed", "3"]
    args = parser.parse_args(words)
    assert args.run(args) == 0
    out = tmp_path / "runs" / "correlation-made"

    def refuse(word: str):
        raise AssertionError(f"{word} is no strict JSON")

    text = (out / "correlation.json").read_text()
    facts = json.loads(text, parse_constant=refuse)
    assert facts["clips"] == 9 and facts["skipped"] == {"shorter than 25 frames": 1}
    assert facts["clips_by_speaker"] == {"s1": 4, "s2": 3, "s3": 2}
    assert set(facts["examples"]) == {"s1-a", "s2-a", "s3-a"}  # the first of each speaker
    assert set(facts["recipes"]) == {recipe.name for recipe in corr.RECIPES}
    assert facts["seed"] == 3 and "motion comes after the sound" in facts["sign"]
    for recipe in corr.RECIPES:
        found = facts["recipes"][recipe.name]
        best = found["best_offsets"]
        assert sum(best["counts"]) + best["dropped"] == 9
        assert len(found["mean_r"]["of_clips"]) == len(recipe.offsets)
    with Image.open(out / "correlation.png") as picture:
        assert picture.size[0] > 1000 and np.unique(np.asarray(picture.convert("L"))).size > 50
    told = capsys.readouterr().out
    assert "1 x shorter than 25 frames" in told and "positive offset" in told
    again = analyse_correlation(
        corpus.directory, out=tmp_path / "b", shufflings=40, seed=3, show=lambda line: None
    )
    assert json.loads((tmp_path / "b" / "correlation.json").read_text()) == facts
    assert again["clips"] == 9


def test_what_cannot_work_is_told(corpus, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="at least 20"):
        analyse_correlation(corpus.directory, out=tmp_path, shufflings=5)
    with pytest.raises(ConfigError, match="never written to"):
        analyse_correlation(corpus.directory, out=corpus.directory / "found")
    with pytest.raises(CorpusError, match="did you mean 'train'"):
        analyse_correlation(corpus.directory, split="trian", out=tmp_path)
    with pytest.raises(CorpusError, match="2 clips can take part, at least 4"):
        analyse_correlation(corpus.directory, split="test", out=tmp_path, show=lambda line: None)
    with pytest.raises(CorpusError, match="not a prepared corpus"):
        analyse_correlation(tmp_path, out=tmp_path / "deeper" / ".." / ".." / "x")

    class Torn:
        def __init__(self, clips):
            self.clips = clips

        def __len__(self):
            return len(self.clips)

        def __getitem__(self, at):
            if at == 1:
                raise CorpusError("record 1 is unreadable")
            return self.clips[at]

    whole = Corpus.clips
    monkeypatch.setattr(Corpus, "clips", lambda self, split: Torn(whole(self, split)))
    facts = analyse_correlation(
        corpus.directory, out=tmp_path / "torn", shufflings=20, show=lambda line: None
    )
    assert facts["skipped"]["unreadable"] == 3 and facts["clips"] == 6
