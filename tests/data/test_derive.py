# SPDX-License-Identifier: Apache-2.0
"""Side corpora: what is in them, that they belong to their corpus, and what goes wrong."""

import concurrent.futures
import hashlib
import json
import pickle
import shutil

import cv2
import numpy as np
import pytest
from synthetic import make_clip, make_corpus

from lipjax import cli
from lipjax.commands import derive as command
from lipjax.data import pool, side
from lipjax.data.derive import NAMES, Kind, derive, job
from lipjax.data.reading import open_corpus
from lipjax.data.views import Streams, View
from lipjax.data.windows import Windows
from lipjax.errors import ConfigError, CorpusError
from lipjax.media.audio import LogMel


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A read-only corpus with flow."""
    made = make_corpus(tmp_path_factory.mktemp("derive") / "corpus", frames=20)
    derive("flow", made.directory, size=24, processes=0, show=None)
    return made


@pytest.fixture
def bare(tmp_path):
    """A corpus without flow."""
    return make_corpus(tmp_path / "corpus", frames=12)


def contents(folder):
    return {
        path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_flow_is_that_of_the_resized_crops_in_the_corpus_s_order(corpus):
    for split in corpus.splits:
        clips, flows = corpus.clips(split), corpus.derived("flow", split)
        assert len(flows) == len(clips)
        for position, clip in enumerate(clips):
            small = [cv2.resize(m, (24, 24), interpolation=cv2.INTER_AREA) for m in clip.mouth]
            grey = [cv2.cvtColor(m, cv2.COLOR_RGB2GRAY) for m in small]
            expected = [
                cv2.calcOpticalFlowFarneback(a, b, None, 0.5, 3, 15, 3, 5, 1.2, 0)
                for a, b in zip(grey[:-1], grey[1:], strict=True)
            ]
            flow = flows[position]
            assert flow.dtype == np.float16 and flow.shape == (clip.num_frames - 1, 24, 24, 2)
            assert np.abs(flow).max() > 0.5
            np.testing.assert_array_equal(flow, np.float16(expected))


def test_records_carry_the_ids_of_the_corpus(corpus):
    import tensorflow_datasets as tfds

    folder = corpus.directory / "derived" / "flow"
    for split in corpus.splits:
        source = tfds.builder_from_directory(str(folder)).as_data_source(split)
        ids = [source[n]["id"].decode() for n in range(len(source))]
        assert ids == corpus.index(split).id.tolist()


def test_reading_at_random_from_threads_and_copies(corpus):
    flows = corpus.derived("flow", "train")
    sums = [float(np.abs(flow, dtype=np.float64).sum()) for flow in flows]
    assert len(set(sums)) == len(sums)
    copy = pickle.loads(pickle.dumps(flows))
    assert len(pickle.dumps(flows)) < 2000
    np.testing.assert_array_equal(copy[-1], flows[len(flows) - 1])
    order = np.random.default_rng(0).integers(0, len(flows), 48)
    fresh = corpus.derived("flow", "train")
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        read = list(threads.map(lambda n: float(np.abs(fresh[n], dtype=np.float64).sum()), order))
    assert read == [sums[n] for n in order]


def test_worker_processes_make_the_same_files_and_leave_the_corpus_alone(bare, tmp_path):
    before = contents(bare.directory)
    other = tmp_path / "other"
    shutil.copytree(bare.directory, other)
    lines = []
    report = derive("flow", bare.directory, size=16, processes=2, show=lines.append)
    derive("flow", other, size=16, processes=0, show=None)
    after = contents(bare.directory)
    assert {path: after[path] for path in before} == before
    assert after == contents(other)
    assert not list(bare.directory.rglob("*.work")) and not list(bare.directory.rglob("*.part"))
    assert report.clips == 10 and not report.failed
    assert report.size_bytes == sum(f.stat().st_size for f in report.directory.iterdir())
    assert lines[-1].startswith("10/10 clips, ") and "left" not in lines[-1]


def test_without_flow_the_way_to_it_is_told(bare):
    with pytest.raises(CorpusError, match=f"no derived flow.*lipjax derive flow {bare.directory}"):
        bare.derived("flow", "train")
    with pytest.raises(CorpusError, match="no split 'dev'"):
        bare.derived("flow", "dev")


@pytest.mark.parametrize("change", ["frames", "order", "settings"])
def test_flow_of_other_clips_is_refused_and_made_anew(bare, change):
    derive("flow", bare.directory, size=16, processes=0, show=None)
    if change == "frames":
        make_corpus(bare.directory, frames=13)
    elif change == "order":
        path = bare.directory / "index-train.npz"
        with np.load(path) as stored:
            np.savez(path, **{name: stored[name][::-1] for name in stored})
    else:
        path = bare.directory / "corpus.json"
        settings = {"settings": {"mouth_size": 48}}
        path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    changed = open_corpus(bare.directory)
    with pytest.raises(CorpusError, match="other clips.*lipjax derive flow"):
        changed.derived("flow", "train")
    assert derive("flow", bare.directory, size=16, processes=0, show=None).seconds > 0
    for flow, clip in zip(changed.derived("flow", "train"), changed.clips("train"), strict=True):
        np.testing.assert_array_equal(flow, NAMES["flow"].compute(clip, 16))


def test_damaged_flow_is_told(bare):
    folder = derive("flow", bare.directory, size=16, processes=0, show=None).directory
    shard = next(folder.glob("*train*array_record*"))
    shard.write_bytes(b"")
    with pytest.raises(CorpusError, match="lipjax derive flow|unreadable"):
        bare.derived("flow", "train")[0]
    (folder / "derived.json").write_text("{")
    with pytest.raises(CorpusError, match="damaged.*lipjax derive flow"):
        bare.derived("flow", "train")
    derive("flow", bare.directory, size=16, processes=0, show=None)
    assert len(bare.derived("flow", "train")[0]) == 11


def test_what_is_there_is_left_and_another_size_replaces_it(bare):
    derive("flow", bare.directory, size=16, processes=0, show=None)
    before = contents(bare.directory)
    lines = []
    report = derive("flow", bare.directory, size=16, processes=0, show=lines.append)
    assert "was there already" in report.summary() and not lines
    assert contents(bare.directory) == before
    derive("flow", bare.directory, size=8, processes=0, show=None)
    assert bare.derived("flow", "val")[0].shape == (11, 8, 8, 2)


def test_a_killed_job_shows_nothing_and_goes_on(bare, monkeypatch):
    real, computed = NAMES["flow"], []

    def compute(clip, size):
        if len(computed) == 4:
            raise KeyboardInterrupt
        computed.append(clip.id)
        return real.compute(clip, size)

    kind = Kind(real.shape, real.dtype, compute, real.settings)
    monkeypatch.setitem(NAMES, "flow", kind)
    with pytest.raises(KeyboardInterrupt):
        derive("flow", bare.directory, size=16, processes=0, show=None)
    with pytest.raises(CorpusError, match="no derived flow"):
        bare.derived("flow", "train")
    monkeypatch.setattr(job.RecordWriter, "close", lambda *_: 1 / 0)
    computed.append("so that it ends no more")
    with pytest.raises(ZeroDivisionError):  # ends while packing
        derive("flow", bare.directory, size=16, processes=0, show=None)
    with pytest.raises(CorpusError, match="no derived flow"):
        bare.derived("flow", "train")
    monkeypatch.undo()
    lines = []
    derive("flow", bare.directory, size=16, processes=0, show=lines.append)
    assert not lines, "all clips were computed before"
    names = {name for split in bare.splits for name in bare.index(split).id.tolist()}
    assert len(computed) == len(names) + 1 and names < set(computed)
    for split in bare.splits:
        for clip, flow in zip(bare.clips(split), bare.derived("flow", split), strict=True):
            np.testing.assert_array_equal(flow, real.compute(clip, 16))


def failing(*names):
    """Flow that fails for clips of these names."""

    def compute(clip, size):
        if clip.id in names or not names:
            raise ArithmeticError("too still")
        return NAMES["flow"].compute(clip, size)

    return Kind((None, None, None, 2), np.float16, compute)


def test_a_failing_clip_is_told_counted_and_drawn_around(bare, monkeypatch):
    monkeypatch.setitem(NAMES, "odd", failing("s1-b"))
    lines = []
    report = derive("odd", bare.directory, size=16, processes=0, show=lines.append)
    assert list(report.failed) == ["s1-b"] and "too still" in report.failed["s1-b"]
    assert "1 of them without a value" in report.summary()
    assert lines[0].startswith("clip s1-b: no odd (error: ArithmeticError: too still")
    report.directory.rename(report.directory.with_name("flow"))
    flows, position = bare.derived("flow", "train"), 1
    assert bare.index("train").id[position] == "s1-b"
    with pytest.raises(CorpusError, match="s1-b.*too still"):
        flows[position]
    assert flows[position + 1].shape == (11, 16, 16, 2)
    made = Windows(
        [bare],
        {"video": View("mouth", 6), "flow": View("flow", 5)},
        split="train",
        streams=Streams(mouth_size=16, log_mel=LogMel(bands=40)),
        batch_size=8,
    )
    for step in range(6):
        assert made.batch(step)["flow"].shape == (8, 5, 16, 16, 2)
    assert made.skipped == 1


def test_nothing_is_made_where_every_clip_fails(bare, monkeypatch):
    monkeypatch.setitem(NAMES, "odd", failing())
    with pytest.raises(CorpusError, match="no odd could be derived from any of 10.*too still"):
        derive("odd", bare.directory, processes=0, show=None)
    assert not side.side_path(bare.directory, "odd").exists()


def test_a_crash_of_a_worker_costs_its_clip(bare, monkeypatch):
    real = pool.run

    def run(tasks, work, *, processes):
        for task, result in real(tasks, work, processes=processes):
            if task == ("val", 1) and not isinstance(result, pool.Progressed):
                work.folder.joinpath("val-0000001.npy").unlink()
                result = pool.Failure("crashed", "exit code -9")
            yield task, result

    monkeypatch.setattr(pool, "run", run)
    report = derive("flow", bare.directory, size=16, processes=0, show=None)
    assert report.failed == {"s2-d": "crashed: exit code -9"}
    assert derive("flow", bare.directory, size=16, show=None).failed == report.failed


def test_missing_packages_and_wrong_numbers_end_the_job(bare, monkeypatch, tmp_path):
    def compute(clip, size):
        raise ImportError("no cv2")

    monkeypatch.setitem(NAMES, "odd", Kind((None,), np.float16, compute))
    with pytest.raises(ConfigError, match=r"no cv2; pip install 'lipjax\[media\]'"):
        derive("odd", bare.directory, processes=0, show=None)
    with pytest.raises(ConfigError, match="did you mean 'flow'"):
        derive("flwo", bare.directory)
    with pytest.raises(ConfigError, match="size"):
        derive("flow", bare.directory, size=0)
    with pytest.raises(ConfigError, match="processes"):
        derive("flow", bare.directory, processes=-1)
    with pytest.raises(CorpusError, match="no such folder"):
        derive("flow", tmp_path / "nothing")


def test_the_command(bare, capsys):
    assert set(command.NAMES) == set(NAMES)
    assert (
        cli.main(["derive", "flow", str(bare.directory), "--size", "16", "--processes", "1"]) == 0
    )
    out = capsys.readouterr().out
    assert "10/10 clips" in out and "10 clips, " in out.splitlines()[-1]
    assert bare.derived("flow", "test")[0].shape == (11, 16, 16, 2)
    assert cli.main(["derive", "flow", str(bare.directory / "derived")]) == 2
    assert "not a prepared corpus" in capsys.readouterr().err


def test_a_single_frame_has_no_flow():
    with pytest.raises(ValueError, match="single frame"):
        NAMES["flow"].compute(make_clip(frames=1), 16)
