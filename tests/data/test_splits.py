# SPDX-License-Identifier: Apache-2.0
"""Splits: unseen speakers, unseen sentences, nothing shared, nothing moved by what comes later."""

import dataclasses
import itertools

import pytest

from lipjax.data.splits import Member, assign, fraction, time_cut
from lipjax.errors import ConfigError


def corpus(speakers=20, sentences=30):
    return [
        Member(f"p{a}", f"sentence {b}", f"p{a}/{b}.mp4", 0.0)
        for a, b in itertools.product(range(speakers), range(sentences))
    ]


def of(members, splits, name, attribute):
    return {getattr(m, attribute) for m, s in zip(members, splits, strict=True) if s == name}


def test_hash_is_even_and_fixed():
    assert fraction("abc") == fraction("abc")
    values = [fraction(str(n)) for n in range(4000)]
    assert abs(sum(values) / 4000 - 0.5) < 0.02


def test_test_holds_unseen_speakers_and_val_unseen_sentences():
    members = corpus()
    splits, record = assign(members)
    train, val, test = (of(members, splits, s, "speaker") for s in ("train", "val", "test"))
    assert len(test) == 2 and not test & (train | val) and val <= train
    said = of(members, splits, "val", "sentence")
    assert len(said) == 3 and not said & of(members, splits, "train", "sentence")
    assert assign(members[::-1])[0] == splits[::-1]
    assert record["rule"] == "speakers"


def test_named_speakers():
    members = corpus(4)
    splits, _ = assign(members, test_speakers=("p1", "p3"))
    assert of(members, splits, "test", "speaker") == {"p1", "p3"}
    with pytest.raises(ConfigError, match="'p9'.*did you mean"):
        assign(members, test_speakers=("p9",))
    with pytest.raises(ConfigError, match="nobody is left"):
        assign(members, test_speakers=("p0", "p1", "p2", "p3"))


def test_a_speaker_with_much_of_the_corpus_is_not_held_out():
    for seed in range(20):
        many = [Member(f"big{seed}", f"s{n}", f"b/{n}.mp4", 0.0) for n in range(80)]
        few = [Member(f"q{a}", f"s{n}", f"q{a}/{n}.mp4", 0.0) for a in range(3) for n in range(9)]
        splits, _ = assign(many + few)
        assert f"big{seed}" not in of(many + few, splits, "test", "speaker")
    pair = [Member(name, f"s{n}", f"{name}/{n}", 0.0) for name in "ab" for n in range(10)][:-1]
    assert of(pair, assign(pair)[0], "test", "speaker") == {"b"}


def test_clips_added_later_move_nothing():
    members = corpus(10, 20)
    before, record = assign(members)
    later = [Member("p3", f"sentence {n}", f"p3/{n}", 1.0) for n in range(40)]
    later += [Member(f"new{n}", "sentence 2", f"new{n}/a", 0.0) for n in range(200)]
    splits, extended = assign(later, previous=record)
    old = dict(zip(members, before, strict=True))
    for member, split in zip(later[:20], splits[:20], strict=True):
        known = [old[m] for m in members if (m.speaker, m.sentence) == ("p3", member.sentence)]
        assert known == [split]
    fresh = of(later, splits, "test", "speaker") - {"p3"}
    assert 8 <= len(fresh) <= 35  # about a tenth of 200
    assert assign(later, previous=extended)[0] == splits
    halves = assign(later[:100], previous=record)[0] + assign(later[100:], previous=record)[0]
    assert halves == splits


def test_official_split_stands_and_unknown_speakers_are_split_by_sentence():
    lrw = [Member("", "word", f"{n}.mp4", 0.0, s) for n, s in enumerate(("train", "val", "test"))]
    assert assign(lrw)[0] == ["train", "val", "test"]
    members = [Member("", "", f"{n // 3}.mp4", float(n)) for n in range(120)]
    splits, record = assign(members)
    assert record["rule"] == "sentences"
    sources = [of(members, splits, s, "source") for s in ("train", "val", "test")]
    assert [len(s) for s in sources] == [32, 4, 4]
    assert not set.intersection(*sources[:2]) and not set.intersection(*sources[1:])


def held_out_officially(sentences=40):
    """Twelve speakers and two more whose split is given, all with the same sentences."""
    members = corpus(14, sentences)
    official = {"p3": "test", "p8": "test"}
    return [dataclasses.replace(m, split=official.get(m.speaker)) for m in members]


def test_no_speaker_joins_an_official_test_and_val_is_cut_from_the_others():
    members = held_out_officially()
    splits, record = assign(members)
    assert of(members, splits, "test", "speaker") == {"p3", "p8"}
    others = {f"p{n}" for n in range(14)} - {"p3", "p8"}
    assert of(members, splits, "train", "speaker") == others
    assert of(members, splits, "val", "speaker") == others
    said = of(members, splits, "val", "sentence")
    assert len(said) == 4 and not said & of(members, splits, "train", "sentence")
    later = [Member(f"new{n}", "sentence 2", f"new{n}/a", 0.0) for n in range(200)]
    added, _ = assign(later, previous=record)  # one at least of 200 would be drawn
    assert "test" not in added


def test_named_speakers_join_an_official_test():
    members = held_out_officially()
    for names, expected in ((("p3",), {"p3", "p8"}), (("p5", "p8"), {"p3", "p5", "p8"})):
        splits, _ = assign(members, test_speakers=names)
        assert of(members, splits, "test", "speaker") == expected


def test_strays_join_training_where_val_and_test_are_official():
    given = [Member("", f"w{n}", f"{n}.mp4", 0.0, s) for n in range(9) for s in ("val", "test")]
    stray = [Member("", "", f"stray{n}.mp4", 0.0) for n in range(60)]
    assert set(assign(given + stray)[0][len(given) :]) == {"train"}
    assert set(assign(stray)[0]) == {"train", "val", "test"}


def test_one_speaker_is_split_in_time():
    members = [Member("me", "", "talk.mp4", 10.0 * n) for n in range(9)]
    members += [Member("me", "", "talk.mp4", 91.0 + 3 * n) for n in range(4)]
    splits, record = assign(members, cut=("talk.mp4", 91.0))
    assert splits == ["train"] * 9 + ["val", "val", "test", "test"]
    more = [Member("me", "", "zz.mp4", 0.0), Member("me", "x", "aa.mp4", 0.0)]
    assert assign(more, previous=record)[0] == ["train", "train"]


def test_where_the_last_tenth_begins():
    assert time_cut([("a", 100.0)], longest=10.0) == ("a", pytest.approx(90.0))
    short = [(f"{n:02}", 3.0) for n in range(20)]
    assert time_cut(short, longest=10.0) == ("18", 0.0)
    assert time_cut([("a", 3.0), ("b", 3.0)], longest=10.0) == ("b", 0.0)
    assert time_cut([("a", 30.0), ("b", 60.0)], longest=10.0) == ("b", pytest.approx(51.0))
