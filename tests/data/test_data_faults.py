# SPDX-License-Identifier: Apache-2.0
"""Faults put into data: named, counted, skipped, limited."""

import dataclasses
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fault_tools import CLIPS, INPUTS, MADE, STREAMS, changed, windows
from synthetic import make_clip

from lipjax.data import faults, schema
from lipjax.data.prepare.pack import CorpusWriter
from lipjax.data.reading import open_corpus
from lipjax.data.views import ClipViews, View
from lipjax.errors import ConfigError, CorpusError

IN_A_SHARD = 2


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(other[name], value)


# Damage on disk.


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A corpus of 12 clips in 6 shards."""
    directory = tmp_path_factory.mktemp("whole") / "corpus"
    directory.mkdir()
    writer = CorpusWriter(directory, shard_bytes=300_000)
    for n in range(CLIPS):
        writer.add("train", make_clip(f"c{n:02d}", speaker=f"s{n % 3}", frames=24, seed=n))
    writer.close({"settings": {"fps": 25.0, "mouth_size": 32, "margin": 1.5}})
    assert len(shards(directory)) == CLIPS // IN_A_SHARD
    return directory


def shards(directory):
    return sorted(directory.glob("*.array_record-*"))


def cut(size):
    return lambda shard: shard.write_bytes(shard.read_bytes()[:size])


def flip(shard):
    content = bytearray(shard.read_bytes())
    content[30_000] ^= 0x10
    shard.write_bytes(content)


DAMAGE = {
    "a bit flipped": (flip, {"unreadable": 1}),
    "half": (cut(100_000), {"unreadable": 2}),
    "cut at a block": (cut(65_536), {"unreadable": 2}),
    "empty": (cut(0), {"unreadable": 2}),
    "noise": (lambda s: s.write_bytes(np.random.default_rng(0).bytes(200_000)), {"unreadable": 2}),
    "deleted": (Path.unlink, {"unreadable": 2}),
    "another shard": (
        lambda s: shutil.copy(s.with_name(s.name.replace("-00001-", "-00004-")), s),
        {"inconsistent": 2},
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_shard_costs_its_clips(name, whole, tmp_path, caplog):
    damage, expected = DAMAGE[name]
    shutil.copytree(whole, tmp_path / "corpus")
    damage(shards(tmp_path / "corpus")[1])  # clips 2 and 3
    corpus = open_corpus(tmp_path / "corpus")
    made = windows(corpus)
    for step in range(5):
        made.batch(step)
    assert made.faults == expected and made.skipped == sum(expected.values())
    assert "clip c02 left out" in caplog.text and len(caplog.records) == made.skipped
    again = windows(corpus)
    assert_equal(made.batch(3), again.batch(3))
    # Every window of the other clips is there for evaluation, and nothing else.
    examples = again.examples(100)
    assert sum(len(batch["video"]) for batch in examples) == CLIPS - made.skipped
    assert again.faults == expected


def test_two_damaged_shards_are_too_many(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "corpus")
    for shard in shards(tmp_path / "corpus")[:2]:
        flip(shard)
        cut(110_000)(shard)
    corpus = open_corpus(tmp_path / "corpus")
    says = r"4 of 12 clips cannot be used \(4 unreadable\), 3 are allowed.*max_bad_fraction 0.05"
    with pytest.raises(CorpusError, match=says) as error:
        for step in range(5):
            windows(corpus).batch(step)
    assert "array_record-0000" in str(error.value) and "raise data.max_bad_fraction" in str(
        error.value
    )
    with pytest.raises(CorpusError, match=says):
        windows(corpus).examples(100)
    generous = windows(corpus, max_bad_fraction=0.34)
    for step in range(5):
        generous.batch(step)
    assert generous.faults == {"unreadable": 4}


def test_a_limit_of_zero_allows_nothing(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "corpus")
    flip(shards(tmp_path / "corpus")[3])
    made = windows(open_corpus(tmp_path / "corpus"), max_bad_fraction=0.0)
    with pytest.raises(CorpusError, match="1 of 12 clips cannot be used.*0 are allowed"):
        for step in range(5):
            made.batch(step)


def test_a_shard_that_shrinks_while_it_is_read(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "corpus")
    made = windows(open_corpus(tmp_path / "corpus"), cache_mb=0.0)
    made.batch(0)
    assert made.faults == {}
    cut(40_000)(shards(tmp_path / "corpus")[1])
    for step in range(5):
        made.batch(step)
    assert set(made.faults) == {"unreadable"} and 1 <= made.skipped <= 2


def test_records_are_the_same_bytes_in_every_process(whole, tmp_path):
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from synthetic import make_clip;"
        "from lipjax.data import schema; from lipjax.data.records import serialize;"
        "clip = make_clip('c05', speaker='s2', frames=24, seed=5);"
        "open(sys.argv[2], 'wb').write(serialize(schema.features(), schema.encode(clip)))"
    )
    record = open_corpus(whole).clips("train").record(5)
    words = [program, str(Path(__file__).parents[1]), str(tmp_path / "record")]
    subprocess.run([sys.executable, "-c", *words], check=True)
    assert (tmp_path / "record").read_bytes() == record


# Faults in what records hold.


def no_face(frames):
    status = np.full(24, schema.MEASURED, np.uint8)
    status[frames] = schema.MISSING
    return {"landmark_status": status, "landmarks": hidden(frames)}


def hidden(frames):
    points = MADE[3].landmarks.copy()
    points[frames] = np.nan
    return points


NAN, INF = float("nan"), float("inf")
NUMBERS = np.full((23, 32, 32, 2), NAN, np.float16)
LANDMARKS = {"landmarks": View("landmarks", 16)}
FLOW = {"video": View("mouth", 16), "flow": View("flow", 15)}
BROKEN = {
    "sound level NaN": (INPUTS, {"sound_level": NAN}, "not_finite", "sound_level is nan"),
    "sound level inf": (INPUTS, {"sound_level": INF}, "not_finite", "sound_level is inf"),
    "sound start NaN": (INPUTS, {"sound_start": NAN}, "not_finite", "sound_start is nan"),
    "rate 0": (INPUTS, {"sound_rate": 0}, "not_finite", "sound_rate is 0"),
    "no clock": (INPUTS, {"fps": NAN}, "not_finite", "fps is nan"),
    "another id": (INPUTS, {"id": "c99"}, "inconsistent", "the record is c99"),
    "fewer crops": (INPUTS, {"mouth": MADE[3].mouth[:9]}, "inconsistent", "9 mouth crops but 24"),
    "oblong crops": (INPUTS, {"mouth": MADE[3].mouth[:, :9]}, "inconsistent", "of shape"),
    "wild offsets": (
        INPUTS,
        {"frame_offsets": MADE[3].frame_offsets + 10},
        "inconsistent",
        "frame_offsets",
    ),
    "damaged picture": (
        {"frames": View("frames", 16)},
        {"frames": np.zeros_like(MADE[3].frames)},
        "unreadable",
        "frame",
    ),
    "no face": (LANDMARKS, no_face(slice(None)), "no_landmarks", "16 of 16 frames"),
    "NaN points": (LANDMARKS, {"landmarks": hidden(slice(11, 12))}, "not_finite", "landmarks"),
    "no transform": (
        LANDMARKS,
        {"mouth_from_source": MADE[3].mouth_from_source * NAN},
        "not_finite",
        "landmarks",
    ),
    "flow too long": (FLOW, np.zeros((24, 32, 32, 2)), "other_length", "24 flow maps"),
    "flow of a line": (FLOW, np.zeros((23, 32, 1, 2)), "other_length", "flow of shape"),
    "flow NaN": (FLOW, NUMBERS, "not_finite", "flow is not finite"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_clip_that_cannot_be_used_is_named_and_replaced(name, caplog):
    inputs, change, kind, says = BROKEN[name]
    broken = changed(flow={3: change}) if inputs is FLOW else changed({3: change})
    made = windows(broken, inputs)
    for step in range(6):
        for value in made.batch(step).values():
            assert np.isfinite(value).all()
    assert made.faults == {kind: 1}
    (line,) = caplog.messages
    assert f"memory:train: clip c03 left out, {kind}" in line and says in line
    # All windows of the others, in evaluation.
    assert sum(len(next(iter(b.values()))) for b in made.examples(100)) == CLIPS - 1


def test_only_windows_without_a_face_are_left_out(caplog):
    """Frames 0 to 3 have none: windows from frame 4 on are as good as any."""
    made = windows(changed({3: no_face(slice(0, 4))}), LANDMARKS, batch_size=CLIPS * 9)
    landmarks = made.batch(0)["landmarks"]  # every window of every clip
    own = ClipViews(MADE[3], STREAMS).stream("landmarks")
    seen = [int(n) for n in range(9) if (landmarks == own[n : n + 16]).all((1, 2, 3)).any()]
    assert seen == [4, 5, 6, 7, 8] and np.isfinite(landmarks).all()
    assert made.faults == {"no_landmarks": 1} and len(caplog.records) == 1
    assert windows(changed({3: no_face(slice(0, 4))})).batch(0) is not None  # nobody asks
    assert made.faults == {"no_landmarks": 1}


def test_a_fault_is_that_of_the_clip_that_has_it():
    """The window is fine; what is drawn beside it is not."""
    inputs = {"video": View("mouth", 16), "log_mel": View("log_mel", 16, where="other_clip")}
    made = windows(changed({7: {"sound_level": NAN}}), inputs)
    rows = made.examples(100)
    # Clip 7 itself has pictures; its sound is drawn for others, who draw again.
    assert sum(len(batch["video"]) for batch in rows) == CLIPS
    for step in range(4):
        made.batch(step)
    assert made.faults == {"not_finite": 1}
    assert next(iter(made._tally._found))[1] == 7


def test_clips_too_short_are_told_once_and_limited(caplog):
    short = tuple(dataclasses.replace(make_clip(f"k{n}", frames=10)) for n in range(5))
    made = windows(changed(made=(*MADE[:6], *short)))
    assert made.faults == {"too_short": 5} and made.skipped == 0
    (line,) = caplog.messages
    assert "5 of 11 clips are shorter than a window of 16 frames" in line and "k0 10, k1 10" in line
    made.batch(0)
    assert made.faults == {"too_short": 5} and len(caplog.records) == 1
    says = "5 of 9 clips are shorter.*max_short_fraction 0.5 allows.*shorter window"
    with pytest.raises(CorpusError, match=says):
        windows(changed(made=(*MADE[:4], *short)))
    assert windows(changed(made=(*MADE[:4], *short)), max_short_fraction=0.6).num_windows == 36
    with pytest.raises(CorpusError, match="none of its 5 clips"):
        windows(changed(made=short), max_short_fraction=1.0)


@pytest.mark.parametrize(
    ("option", "value"),
    [("max_bad_fraction", 1.5), ("max_short_fraction", NAN), ("patience", 0.0)],
)
def test_settings_that_cannot_work(option, value):
    with pytest.raises(ConfigError, match=option):
        windows(changed(), **{option: value})


def test_what_is_not_the_clip_s_fault_is_raised(monkeypatch):
    def no_memory(self, view, anchor):
        raise MemoryError

    monkeypatch.setattr(ClipViews, "cut", no_memory)
    with pytest.raises(MemoryError):
        windows(changed()).batch(0)


def test_counts_and_the_end_do_not_depend_on_who_makes_the_batches(caplog):
    """Two corpora, one with more bad clips than it may have: the end comes at the same step."""
    bad = {n: {"sound_level": NAN} for n in (0, 4, 5, 6)}
    corpora = [changed({2: {"id": "c99"}}), changed(bad)]
    alone = windows(corpora, weights=[0.9, 0.1], max_bad_fraction=0.05)
    expected = []
    with pytest.raises(CorpusError, match="4 of 12 clips cannot be used") as error:
        for step in range(200):
            batch = alone.batch(step)
            expected.append((batch, alone.faults))
    assert len(expected) > 4, "the limit is passed too early to show anything"
    for options in ({}, {"workers": 2}):
        made = windows(corpora, weights=[0.9, 0.1], max_bad_fraction=0.05, **options)
        stream = made.iterate()
        with pytest.raises(CorpusError) as again:
            for step, batch in enumerate(stream):
                assert_equal(batch, expected[step][0])
                assert made.faults == expected[step][1]
        assert step == len(expected) - 1 and str(again.value) == str(error.value)


def test_a_fault_survives_its_way_between_processes():
    import pickle

    error = pickle.loads(pickle.dumps(faults.ClipFault(faults.NOT_FINITE, "clip a: sound")))
    assert (error.kind, str(error)) == ("not_finite", "clip a: sound")


@pytest.fixture(autouse=True)
def listen(caplog):
    """absl's logger passes what it tells on to the fixture of pytest."""
    caplog.set_level(logging.WARNING, logger="absl")
