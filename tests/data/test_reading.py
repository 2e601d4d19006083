# SPDX-License-Identifier: Apache-2.0
"""A packed corpus: what goes in comes out, at random, from threads and copies, and via TFDS."""

import concurrent.futures
import dataclasses
import json
import math
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
from synthetic import make_clip, make_corpus

from lipjax.data.prepare.pack import CorpusWriter
from lipjax.data.reading import open_corpus
from lipjax.errors import CorpusError


def assert_same_clip(one, other):
    for field in dataclasses.fields(one):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if isinstance(left, np.ndarray):
            assert left.dtype == right.dtype, field.name
            np.testing.assert_array_equal(left, right, err_msg=field.name)
        elif isinstance(left, float) and math.isnan(left):
            assert math.isnan(right), field.name
        else:
            assert left == right, field.name


def test_clip_survives_packing_exactly(tmp_path):
    clip = make_clip("äö-1", speaker="ß", sentence="naïve 你好", frames=17, seed=3)
    landmarks = clip.landmarks.copy()
    landmarks[4] = np.nan
    status = clip.landmark_status.copy()
    status[4] = 0
    clip = dataclasses.replace(
        clip,
        landmarks=landmarks,
        landmark_status=status,
        sound_level=-math.inf,
        lag=math.nan,
        lag_correlation=math.nan,
    )
    writer = CorpusWriter(tmp_path)
    writer.add("train", clip)
    writer.close({"settings": {}})
    corpus = open_corpus(tmp_path)
    assert_same_clip(corpus.clips("train")[0], clip)
    assert corpus.index("train").id.tolist() == ["äö-1"]


def test_index_agrees_with_records(tiny_corpus):
    assert tiny_corpus.splits == ("train", "val", "test")
    for split in tiny_corpus.splits:
        index, clips = tiny_corpus.index(split), tiny_corpus.clips(split)
        assert len(index) == len(clips) == tiny_corpus.description["splits"][split]["clips"]
        for position, clip in enumerate(clips):
            assert clip.id == index.id[position]
            assert clip.speaker == index.speaker[position]
            assert clip.sentence == index.sentence[position]
            assert clip.num_frames == index.frames[position]
            assert clip.lag == index.lag[position]


def test_reading_at_random_from_threads_and_copies(tiny_corpus):
    clips = tiny_corpus.clips("train")
    copy = pickle.loads(pickle.dumps(clips))
    assert len(pickle.dumps(clips)) < 2000
    assert_same_clip(copy[3], clips[3])
    assert clips[-1].id == clips[len(clips) - 1].id
    assert [clip.id for clip in clips[1:3]] == [clips[1].id, clips[2].id]
    with pytest.raises(IndexError):
        clips[len(clips)]
    order = np.random.default_rng(0).integers(0, len(clips), 64)
    fresh = tiny_corpus.clips("train")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda i: (fresh[i].id, int(fresh[i].sound.sum())), order))
    expected = [(clips[i].id, int(clips[i].sound.sum())) for i in order]
    assert read == expected


def test_opens_as_a_tfds_data_source_without_tensorflow(tiny_corpus):
    program = (
        "import sys, tensorflow_datasets as tfds\n"
        "from lipjax.data import schema\n"
        "source = tfds.builder_from_directory(sys.argv[1]).as_data_source('train')\n"
        "clip = schema.decode(source[2])\n"
        "assert 'tensorflow' not in sys.modules and 'jax' not in sys.modules\n"
        "print(len(source), clip.id, int(clip.mouth.sum()))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(tiny_corpus.directory)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    clips = tiny_corpus.clips("train")
    assert result.returncode == 0, result.stderr
    expected = f"{len(clips)} {clips[2].id} {int(clips[2].mouth.sum())}"
    assert result.stdout.split("\n")[0] == expected


def test_same_clips_give_the_same_bytes(tmp_path):
    for name in "ab":
        make_corpus(tmp_path / name, frames=20)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "b").iterdir())
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_shards_keep_the_order(tmp_path):
    writer = CorpusWriter(tmp_path, shard_bytes=1)
    for number in range(3):
        writer.add("train", make_clip(f"c{number}", frames=16, seed=number))
    writer.close({"settings": {}})
    assert len(list(tmp_path.glob("*.array_record-*-of-00003"))) == 3
    assert [clip.id for clip in open_corpus(tmp_path).clips("train")] == ["c0", "c1", "c2"]


def test_errors_name_the_folder_and_the_way_out(tiny_corpus, tmp_path):
    with pytest.raises(CorpusError, match="no such folder.*lipjax prepare"):
        open_corpus(tmp_path / "nothing")
    with pytest.raises(CorpusError, match="not a prepared corpus"):
        open_corpus(tmp_path)
    (tmp_path / "work").mkdir()
    with pytest.raises(CorpusError, match="not finished"):
        open_corpus(tmp_path)
    with pytest.raises(CorpusError, match="no split 'dev'.*train"):
        tiny_corpus.clips("dev")
    copy = tmp_path / "copy"
    shutil.copytree(tiny_corpus.directory, copy)
    shard = next(copy.glob("*train*array_record*"))
    shard.write_bytes(shard.read_bytes()[:70_000])
    with pytest.raises(CorpusError, match="copy"):
        list(open_corpus(copy).clips("train"))
    description = json.loads((copy / "corpus.json").read_text())
    (copy / "corpus.json").write_text(json.dumps({**description, "schema_version": 99}))
    with pytest.raises(CorpusError, match="schema version 99"):
        open_corpus(copy)
    (copy / "corpus.json").write_text("{")
    with pytest.raises(CorpusError, match="damaged"):
        open_corpus(copy)
