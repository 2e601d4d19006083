# SPDX-License-Identifier: Apache-2.0
"""Arrays, corpora and checkpoints from strangers: refused in words of ours, before memory is taken.

What damage at random finds is in `fuzz/`; here is what somebody would do on purpose.
"""

import io
import json
import pickle
import resource
import shutil
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorstore as ts
from talking import write_talk

from lipjax import build
from lipjax.data import pool
from lipjax.data.prepare import PrepareSettings, prepare
from lipjax.data.reading import open_corpus
from lipjax.errors import ConfigError, CorpusError, MediaError
from lipjax.media.arrays import load_array, load_arrays
from lipjax.media.faces import load_backend
from lipjax.media.log_mel import LogMel
from lipjax.state import State
from lipjax.training.checkpoints import Checkpoints, find_checkpoint, load_params, read


class Runs:
    def __reduce__(self):
        return exec, ("raise SystemExit('unpickled')",)


def header(text: bytes) -> bytes:
    text = text.ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


BAD_ARRAYS = {
    "pickle": pickle.dumps(Runs()),
    "promise": header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000, 68, 2)}"),
    "negative": header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 68, 2)}"),
    "nothing wide": header(b"{'descr': '|V0', 'fortran_order': False, 'shape': (10000000000,)}"),
    "objects": header(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}") + b"x" * 99,
    "unhashable": header(b"{[]: 1}"),
    "nested": header(b"(" * 110),
    "empty": b"",
    "words": b"no array at all",
}


@pytest.mark.parametrize("kind", BAD_ARRAYS)
def test_arrays_that_are_none(tmp_path, kind):
    (tmp_path / "a.landmarks.npy").write_bytes(BAD_ARRAYS[kind])
    with pytest.raises(ValueError):
        load_array(tmp_path / "a.landmarks.npy")
    with pytest.raises(MediaError, match="no landmarks can be read"):
        load_backend("files", video=tmp_path / "a.mp4")
    with pytest.raises(ValueError):
        load_arrays(tmp_path / "a.landmarks.npy")


def test_objects_are_not_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([Runs()], object), allow_pickle=True)
    with pytest.raises(ValueError, match="not read here"):
        load_array(tmp_path / "a.npy")
    np.savez(tmp_path / "a.npz", a=np.array([Runs()], object))
    with pytest.raises(ValueError, match="not read here"):
        load_arrays(tmp_path / "a.npz")


def test_archives_of_arrays(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, a=np.arange(3), b=np.array(["x", "yz"]))
    found = load_arrays(path)
    assert found["a"].tolist() == [0, 1, 2] and found["b"].tolist() == ["x", "yz"]
    with pytest.raises(ValueError):
        load_array(path)  # NumPy's own `load` gives something that is no array
    np.savez_compressed(path, a=np.zeros(100_000_000, np.uint8))
    with pytest.raises(ValueError, match="more than the file holds"):
        load_arrays(path)
    np.savez_compressed(path, a=np.random.default_rng(0).bytes(100))
    with pytest.raises(ValueError):
        load_arrays(path)
    many = io.BytesIO()
    with zipfile.ZipFile(many, "w") as archive:
        for number in range(300):
            archive.writestr(f"{number}.npy", b"x")
    path.write_bytes(many.getvalue())
    with pytest.raises(ValueError, match="promise"):
        load_arrays(path)


def test_landmarks_far_off_or_in_one_place_are_no_face(tmp_path):
    write_talk(tmp_path / "a.mp4", frames=3)
    good = np.load(tmp_path / "a.landmarks.npy", allow_pickle=False)
    points = np.stack(
        [good[0], good[0] * 1e6, np.full_like(good[0], 9.0), np.full_like(good[0], np.inf)]
    )
    np.save(tmp_path / "b.landmarks.npy", points.astype(np.float32))
    backend = load_backend("files", video=tmp_path / "b.mp4")
    image = np.zeros((144, 160, 3), np.uint8)
    assert [len(backend(image, n, None)) for n in range(6)] == [1, 0, 0, 0, 0, 0]


def test_longer_and_larger_videos_than_allowed_are_told(tmp_path):
    write_talk(tmp_path / "videos/a.mp4", frames=50)
    write_talk(tmp_path / "videos/b.mp4", frames=20)
    settings = PrepareSettings(mouth_size=32, max_video_seconds=1.5)
    report = prepare(tmp_path / "videos", tmp_path / "out", settings=settings, processes=0)
    assert report.dropped == {"unreadable": 1}
    (bad,) = [facts for facts in report.sources if facts["reason"]]
    assert "a.mp4: lasts 2 seconds, more than the 2 allowed" in bad["detail"]
    assert not {"max_video_seconds", "max_pixels", "max_worker_gb"} & set(report.settings)
    settings = PrepareSettings(mouth_size=32, max_pixels=1000)
    with pytest.raises(CorpusError, match="160 x 144 pixels, more than the 1,000"):
        prepare(tmp_path / "videos", tmp_path / "other", settings=settings, processes=0)


def greedy(task: int, beat) -> int:
    return len(bytearray(task)) * 0 + task


def test_a_worker_that_wants_too_much_memory_costs_its_task():
    tasks = [1000, 1 << 31, 2000]
    answers = {
        task: found
        for task, found in pool.run(tasks, greedy, processes=1, memory_gb=0.5)
        if not isinstance(found, pool.Progressed)
    }
    assert answers[1000] == 1000 and answers[2000] == 2000
    assert isinstance(answers[1 << 31], pool.Failure) and "MemoryError" in answers[1 << 31].detail


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A run with one checkpoint of a network that is no generator."""
    folder = tmp_path_factory.mktemp("run")
    params = {"net": {"w": jnp.arange(1200.0).reshape(40, 30), "b": jnp.ones(30)}}
    manager = Checkpoints(folder / "checkpoints")
    manager.save(
        3, State.create(key=jax.random.key(0), params=params, opt={}), loop={"step": 3}, metric=1.0
    )
    manager.wait()
    manager.close()
    return folder


@pytest.fixture
def copy(workdir, tmp_path):
    return Path(shutil.copytree(workdir, tmp_path / "run"))


def test_checkpoints_are_bounded_and_damage_is_told(copy):
    assert load_params(copy)["params"]["net"]["w"].shape == (40, 30)
    with pytest.raises(ConfigError, match="4,920 bytes, more than the 4,000 allowed"):
        read(find_checkpoint(copy), ("params",), max_bytes=4000)
    for file in (copy / "checkpoints/3/state").rglob("d/*"):
        file.write_bytes(b"")
    with pytest.raises(ConfigError, match=r"checkpoints/3 cannot be read .*: it is damaged"):
        load_params(copy)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of Orbax's loop
def test_an_array_that_declares_terabytes_is_not_allocated(copy):
    """The array's own description is rewritten, as somebody with the right tools would."""
    state = copy / "checkpoints/3/state"
    store = ts.KvStore.open({"driver": "ocdbt", "base": f"file://{state}/"}).result()
    (key,) = [k for k in store.list().result() if k.endswith(b"net.w/.zarray")]
    zarray = json.loads(store.read(key).result().value)
    zarray.update(shape=[1 << 22, 1 << 20], chunks=[1 << 22, 1 << 20])
    store.write(key, json.dumps(zarray).encode()).result()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ConfigError, match="bytes, more than the .* allowed|cannot be read"):
        load_params(copy)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB


def test_a_chunk_that_unpacks_to_much_more_is_not_unpacked(copy):
    state, count = copy / "checkpoints/3/state", 1 << 26  # 256 MB of ones in 25 KB
    store = ts.KvStore.open({"driver": "ocdbt", "base": f"file://{state}/"}).result()
    keys = store.list().result()
    (key,) = [k for k in keys if b"params.net.w/" in k and not k.endswith(b".zarray")]
    zarray = json.loads(store.read(key.rpartition(b"/")[0] + b"/.zarray").result().value)
    spec = {"driver": "zarr", "kvstore": "memory://", "metadata": zarray}
    zarray.update(shape=[count], chunks=[count])
    array = ts.open(spec, create=True).result()
    array.write(np.float32(1)).result()
    packed = array.kvstore.read(b"0").result().value
    assert len(packed) < 100_000
    store.write(key, packed).result()
    del array
    Path("/proc/self/clear_refs").write_text("5")  # the highest so far begins anew
    before = most_memory()
    with pytest.raises(ConfigError, match="cannot be read"):
        load_params(copy)
    assert most_memory() - before < 100_000  # kB


def most_memory() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


@pytest.mark.parametrize("name", ["\N{SUPERSCRIPT TWO}", "9" * 30, "3x", "-1"])
def test_odd_names_among_checkpoints(copy, name):
    (copy / "checkpoints" / name).mkdir()
    assert find_checkpoint(copy).name == "3"


@pytest.mark.parametrize("text", ["{", "[]", '{"best": "x"}', '{"best": NaN}', "[" * 100_000])
def test_an_odd_metric_is_none(copy, text):
    assert find_checkpoint(copy, "best").name == "3"
    (copy / "checkpoints/3/metrics/metrics").write_text(text)
    try:
        assert find_checkpoint(copy, "best").name == "3"
    except ConfigError as error:
        assert "no checkpoint" in str(error)


NETWORK = {"kind": "at_a_glance", "audio_widths": [8, 8, 8, 8, 8]}
GOOD = {
    **{"format": 2, "family": "at_a_glance", "schema_version": 1, "fps": 25.0, "frames": 16},
    **{"mouth_size": 64, "margin": 1.5, "corpora": ["x"]},
    "network": NETWORK,
    "log_mel": {"rate": 16_000},
}


@pytest.mark.parametrize(
    "change",
    [
        *({"fps": value} for value in (0, -1, 1e9, "25", None, True, float("nan"), [25])),
        *({"mouth_size": value} for value in (0, 10**9, "64", 64.5e9, {})),
        {"log_mel": {"rate": 10**12}},
        {"log_mel": {"n_fft": 1 << 40}},
        {"log_mel": {"bands": 10**9}},
        {"log_mel": {"rate": "x"}},
        {"log_mel": {"unknown": 1}},
        {"log_mel": []},
        {"network": None},
        {"network": {}},
        {"network": {**NETWORK, "unknown": 1}},
        {"network": {**NETWORK, "dtype": "object"}},
        {"network": {**NETWORK, "kind": ["at_a_glance"]}},
        {"network": {**NETWORK, "audio_widths": [8]}},
        {"network": {**NETWORK, "audio_widths": None}},
        {"corpora": [5]},
        {"family": ["at_a_glance"]},
        {"family": "__class__"},
    ],
)
def test_descriptions_that_describe_nothing(tmp_path, change):
    (tmp_path / "model.json").write_text(json.dumps(GOOD))
    assert build.speaker_of(build.load_description(tmp_path))
    (tmp_path / "model.json").write_text(json.dumps({**GOOD, **change}))
    with pytest.raises(ConfigError):
        build.speaker_of(build.load_description(tmp_path))


@pytest.mark.parametrize("text", ["", "[]", "5", "null", "[" * 100_000, '{"format": 2}', "\udcff"])
def test_descriptions_that_are_none(tmp_path, text):
    (tmp_path / "model.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=r"model\.json is damaged"):
        build.load_description(tmp_path)


def test_a_checkpoint_and_a_description_of_two_networks(copy):
    from lipjax.jobs import load_speaker

    (copy / "model.json").write_text(json.dumps(GOOD))
    with pytest.raises(ConfigError, match="holds no generator"):
        load_speaker(copy)


@pytest.mark.parametrize(
    "text", ["", "[]", "null", '{"schema_version": 1}', "[" * 100_000, "\udcff"]
)
def test_corpora_that_are_none(tiny_corpus, tmp_path, text):
    corpus = Path(shutil.copytree(tiny_corpus.directory, tmp_path / "corpus"))
    (corpus / "corpus.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(CorpusError):
        open_corpus(corpus)


@pytest.mark.parametrize("change", ["short", "text", "negative", "halves", "missing"])
def test_an_index_that_does_not_fit(tiny_corpus, tmp_path, change):
    corpus = Path(shutil.copytree(tiny_corpus.directory, tmp_path / "corpus"))
    arrays = load_arrays(corpus / "index-train.npz")
    if change == "short":
        arrays["frames"] = arrays["frames"][1:]
    elif change == "text":
        arrays["id"] = np.arange(len(arrays["id"]))
    elif change == "negative":
        arrays["frames"] = -arrays["frames"]
    elif change == "halves":
        arrays["id"] = np.array(["\udcff"] * len(arrays["id"]))
    else:
        del arrays["lag"]
    np.savez(corpus / "index-train.npz", **arrays)
    with pytest.raises(CorpusError, match="damaged index"):
        open_corpus(corpus).index("train")


def test_the_log_mel_of_the_description_is_one():
    assert LogMel(**GOOD["log_mel"]).bands == 128
