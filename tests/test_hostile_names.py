# SPDX-License-Identifier: Apache-2.0
"""Names, links and descriptions from strangers: they stay what they are, and where they are."""

import json
import os
import shutil
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from page_tools import SCRIPT, harmless
from synthetic import make_corpus
from talking import write_talk

from lipjax.data.corpora import scan
from lipjax.data.derive import derive
from lipjax.data.prepare import PrepareSettings, prepare
from lipjax.data.reading import open_corpus
from lipjax.errors import ConfigError, CorpusError, MediaError
from lipjax.generation.pairs import read_pairs
from lipjax.media.audio import Sound, write_wav
from lipjax.media.containers import replacing

NAMES = (
    "<img src=x onerror=alert(1)>",
    "a\"b'c&d;e",
    "line\nbreak\tand\x1b[31mred",
    "-rf --out=x",
    "..",
    "...",
    "CON",
    "\N{CYRILLIC SMALL LETTER A}\N{RIGHT-TO-LEFT OVERRIDE}gpj",
    "e\N{COMBINING ACUTE ACCENT}",
    "\N{LATIN SMALL LETTER E WITH ACUTE}",
    "%s%n{0}{__class__}$x$",
    "$(touch x)`touch x`|touch x;",
    "\\..\\..\\x",
    "n" * 240,
    "\N{CJK UNIFIED IDEOGRAPH-53E3}" * 80,
)


def all_paths(root: Path) -> set[str]:
    return {p.relative_to(root).as_posix() for p in root.rglob("*")}


def test_ids_are_file_names_of_one_folder(tmp_path):
    for number, name in enumerate(NAMES):
        (tmp_path / "s1").mkdir(exist_ok=True)
        (tmp_path / "s1" / f"{name}.mp4").write_bytes(b"x")
        if number < 3:
            deep = tmp_path / name / ("d" * 200) / ("e" * 200)
            deep.mkdir(parents=True)
            (deep / "x.mp4").write_bytes(b"x")
    found = scan(tmp_path, "folder")
    assert len(found.sources) == len(NAMES) + 3 - 2  # two begin with a dot: hidden
    ids = [source.id for source in found.sources]
    for name in ids:
        assert Path(name).name == name and name not in (".", "..") and name[0] not in ".-"
        assert name.isprintable() and len(os.fsencode(name)) <= 124
        assert not set(name) & set("/\\<>:\"'|?*&;$`\n")
    assert len({unicodedata.normalize("NFC", name.casefold()) for name in ids}) == len(ids)
    for source in found.sources:
        assert (tmp_path / source.path).is_file()
        assert source.speaker.isprintable()


def test_prepare_keeps_hostile_names_in_its_folder_and_its_page_whole(tmp_path):
    videos, out = tmp_path / "videos", tmp_path / "out"
    for number, name in enumerate(NAMES[:4]):
        write_talk(videos / name / f"{NAMES[number + 8]}.mp4", frames=18, seed=number)
    (videos / NAMES[0] / f"{NAMES[8]}.txt").write_text(f"{SCRIPT}\x1b[2J\N{RIGHT-TO-LEFT OVERRIDE}")
    (videos / f"{SCRIPT.replace('/', '')}.mp4").write_bytes(b"no video")
    (videos / "notes.mp4").symlink_to(tmp_path / "nowhere")
    os.mkfifo(videos / "pipe.mp4")
    beyond = [name for name in all_paths(tmp_path) if not name.startswith("videos")]
    settings = PrepareSettings(mouth_size=32, layout="folder")
    report = prepare(videos, out, settings=settings, processes=0)
    assert sum(report.clips.values()) == 4 and report.videos == 5
    assert [n for n in all_paths(tmp_path) if n.split("/")[0] not in ("videos", "out")] == beyond
    assert harmless((out / "report.html").read_text("utf-8"))
    json.loads((out / "report.json").read_text("utf-8"))
    corpus = open_corpus(out)
    clips = [clip for split in corpus.splits for clip in corpus.clips(split)]
    assert {clip.source.split("/")[0] for clip in clips} == set(NAMES[:4])
    told = next(clip.sentence for clip in clips if clip.sentence)
    assert told == f"{SCRIPT} [2j"


@pytest.mark.skipif(sys.platform == "darwin", reason="its disks refuse such names")
def test_names_that_are_no_unicode_are_told_and_left_out(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.mp4")).write_bytes(b"x")
    with pytest.raises(ConfigError, match="no Unicode; rename"):
        scan(tmp_path)
    (tmp_path / "tea.mp4").write_bytes(b"x")
    found = scan(tmp_path)
    assert [source.path for source in found.sources] == ["tea.mp4"]
    assert "caf" in found.notes[0] and found.notes[0].isprintable()


def test_links_among_videos(tmp_path):
    videos, outside = tmp_path / "videos", tmp_path / "outside"
    (videos / "anna").mkdir(parents=True)
    outside.mkdir()
    (outside / "real.mp4").write_bytes(b"x")
    (outside / "id_rsa").write_text("PRIVATE KEY")
    (outside / "words.txt").write_text("bin blue")
    (videos / "anna/one.mp4").symlink_to(outside / "real.mp4")
    (videos / "anna/one.txt").symlink_to(outside / "id_rsa")
    (videos / "anna/two.mp4").write_bytes(b"x")
    (videos / "anna/two.txt").symlink_to(outside / "words.txt")
    (videos / "anna/round").symlink_to(videos)
    (videos / "anna/self.mp4").symlink_to(videos / "anna/self.mp4")
    found = {source.path: source for source in scan(videos, "folder").sources}
    assert set(found) == {"anna/one.mp4", "anna/two.mp4"}
    assert found["anna/one.mp4"].sentence == ""
    assert found["anna/two.mp4"].sentence == "bin blue"
    notes = scan(videos, "folder").notes
    assert any("one.txt" in note for note in notes)
    assert "'anna/round': left out, a link to a folder; link its files" in notes
    (tmp_path / "links").mkdir()
    (tmp_path / "links/anna").symlink_to(videos / "anna")
    with pytest.raises(ConfigError, match="no video files.*'anna': left out, a link to a folder"):
        scan(tmp_path / "links", "folder")


def test_links_where_prepare_writes_are_not_followed(tmp_path):
    videos, out, precious = tmp_path / "videos", tmp_path / "out", tmp_path / "precious"
    write_talk(videos / "a.mp4", frames=18)
    precious.mkdir()
    (precious / "file").write_text("mine")
    out.mkdir()
    for name in ("report.html", "report.html.part", "report.json", "report.json.part"):
        (out / name).symlink_to(precious / "file")
    prepare(videos, out, settings=PrepareSettings(mouth_size=32), processes=0)
    assert (precious / "file").read_text() == "mine"
    assert not (out / "report.html").is_symlink()
    (out / "work").symlink_to(precious)
    with pytest.raises(CorpusError, match="is a link"):
        prepare(videos, out, settings=PrepareSettings(mouth_size=32), processes=0)
    assert [p.name for p in precious.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["../../caught", "/etc/caught", "..", "work/../../caught", 5])
def test_a_list_of_packed_files_leads_nowhere_else(tmp_path, name):
    videos, out = tmp_path / "videos", tmp_path / "out"
    videos.mkdir()
    (videos / "a.mp4").write_bytes(b"x")
    packed = out / "work/packed"
    packed.mkdir(parents=True)
    (packed / "complete.json").write_text(json.dumps([name]))
    (out / "caught").write_text("stays")
    before = all_paths(tmp_path)
    with pytest.raises(CorpusError, match=r"complete\.json: damaged"):
        prepare(videos, out, processes=0)
    assert all_paths(tmp_path) == before


@pytest.mark.parametrize("text", ["", "[", "5", "[5]", "[{}]", '[{"path": "a.mp4"}]', "[" * 9999])
def test_what_earlier_runs_left_may_be_damaged(tmp_path, text):
    videos, out = tmp_path / "videos", tmp_path / "out"
    videos.mkdir()
    (videos / "a.mp4").write_bytes(b"x")
    (out / "work").mkdir(parents=True)
    (out / "work/settings.json").write_text(text)
    with pytest.raises(CorpusError, match="damaged|other settings"):
        prepare(videos, out, processes=0)
    make_corpus(tmp_path / "corpus", frames=12, mouth_size=16)
    (tmp_path / "corpus/sources.json").write_text(text)
    with pytest.raises(CorpusError, match=r"sources\.json: damaged"):
        prepare(videos, tmp_path / "corpus", processes=0)


def test_a_list_to_make_may_be_no_table(tmp_path):
    (tmp_path / "pairs.csv").write_text("face,audio,out\n" + "x" * 200_000 + ",b,c\n")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_pairs(tmp_path / "pairs.csv")


@pytest.fixture
def corpus(tiny_corpus, tmp_path):
    """A copy of a corpus that may be spoiled."""
    return Path(shutil.copytree(tiny_corpus.directory, tmp_path / "corpus"))


@pytest.mark.parametrize("split", ["../../x", "/x", "train/../x", "x\x00y", "other"])
def test_splits_that_a_corpus_names_are_no_paths(corpus, split):
    file = corpus / "corpus.json"
    description = json.loads(file.read_text())
    description["splits"][split] = description["splits"].pop("train")
    file.write_text(json.dumps(description))
    with pytest.raises(CorpusError, match=r"corpus\.json: damaged"):
        derive("flow", corpus, processes=0, show=None)
    assert not (corpus / "derived").exists()


def test_derive_does_not_follow_links(corpus, tmp_path):
    (tmp_path / "mine").mkdir()
    (corpus / "derived").mkdir()
    (corpus / "derived/flow.work").symlink_to(tmp_path / "mine")
    with pytest.raises(CorpusError, match="is a link"):
        derive("flow", corpus, processes=0, show=None)
    assert not list((tmp_path / "mine").iterdir())


def spoil(file: Path, change) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def test_metadata_imports_nothing(corpus, tmp_path, monkeypatch):
    (tmp_path / "stranger_module.py").write_text("open('ran', 'w').close()\nclass Thing: pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def name_it(content):
        feature = content["featuresDict"]["features"]["id"]
        feature["pythonClassName"] = "stranger_module.Thing"

    spoil(corpus / "features.json", name_it)
    with pytest.raises(CorpusError, match=r"features\.json is not as lipjax writes it: id is of"):
        open_corpus(corpus).clips("train")[0]
    assert not (tmp_path / "ran").exists() and "stranger_module" not in sys.modules
    legacy = {"type": "stranger_module.Thing", "content": {}}
    (corpus / "features.json").write_text(json.dumps(legacy))
    with pytest.raises(CorpusError, match="is not as lipjax writes it"):
        open_corpus(corpus).clips("train")[0]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["splits"][0].update(filepathTemplate="../../{SPLIT}.{FILEFORMAT}"),
        lambda c: c["splits"][0].update(filepath_template="../../{SPLIT}.{FILEFORMAT}"),
        lambda c: c.update(fileFormat="tfrecord"),
        lambda c: c.update(name="../../x"),
        lambda c: c.update(file_format="riegeli"),
    ],
)
def test_metadata_names_no_other_files(corpus, change):
    spoil(corpus / "dataset_info.json", change)
    with pytest.raises(CorpusError, match=r"dataset_info\.json is not as lipjax writes it"):
        open_corpus(corpus).clips("train")[0]


def test_packed_tensors_are_not_unpacked(corpus):
    def pack(content):
        content["featuresDict"]["features"]["mouth"]["tensor"]["encoding"] = "zlib"

    spoil(corpus / "features.json", pack)
    with pytest.raises(CorpusError, match="mouth is encoded as 'zlib'"):
        open_corpus(corpus).clips("train")[0]


def test_a_clean_copy_is_read(corpus):
    assert open_corpus(corpus).clips("train")[0].num_frames


def test_the_longest_name_can_be_written(tmp_path):
    path = tmp_path / ("n" * 251 + ".wav")
    write_wav(path, Sound(np.zeros(10, np.int16), 16_000))
    assert path.is_file() and len(list(tmp_path.iterdir())) == 1
    with (
        pytest.raises(MediaError, match="name too long"),
        replacing(tmp_path / ("n" * 300)) as name,
    ):
        Path(name).write_bytes(b"x")
    assert len(list(tmp_path.iterdir())) == 1


def test_an_error_on_the_console_obeys_nobody(tmp_path, capsys):
    from lipjax.cli import main

    videos = tmp_path / "x\x1b]0;title\x07\x1b[2J"
    videos.mkdir()
    assert main(["prepare", str(videos), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert "\x1b" not in told and "\\x1b[2J" in told


def test_make_corpus_refuses_no_good_name(tmp_path):
    """The checks above are no hindrance to what lipjax itself writes."""
    corpus = make_corpus(tmp_path / "c", frames=12, mouth_size=16)
    assert set(corpus.splits) == {"train", "val", "test"}
