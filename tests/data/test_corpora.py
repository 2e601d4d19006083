# SPDX-License-Identifier: Apache-2.0
"""Layouts: who speaks and what is said, from places and neighbours of files."""

import json

import pytest

from lipjax.data.corpora import scan
from lipjax.data.layouts import detect_layout, grid_sentence
from lipjax.data.schema import Span
from lipjax.errors import ConfigError


def touch(root, *names):
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")


def by_path(root, layout="auto"):
    return {source.path: source for source in scan(root, layout).sources}


def test_grid_name_spells_its_sentence():
    assert grid_sentence("bbaf2n") == "bin blue at f two now"
    assert grid_sentence("swizzs") == "set white in z zero soon"
    assert grid_sentence("holiday") == grid_sentence("bbaf0n") == ""


def test_grid_speakers_alignments_and_ids(tmp_path):
    touch(tmp_path, "s1/video/bbaf2n.mpg", "s12/lrwzzp.mpg", "s3.mpg_vcd/pgbq7a.MPG")
    (tmp_path / "s1/align").mkdir()
    lines = "0 12500 sil\n12500 20000 bin\n20000 26000 blue\n26000 75000 sil\n"
    (tmp_path / "s1/align/bbaf2n.align").write_text(lines)
    (tmp_path / "s12/lrwzzp.align").write_text("0 x bin\n")
    found = scan(tmp_path)
    assert found.layout == "grid"
    sources = {source.path: source for source in found.sources}
    first = sources["s1/video/bbaf2n.mpg"]
    assert (first.speaker, first.id) == ("s1", "s1-bbaf2n")
    assert first.sentence == "bin blue at f two now"
    assert first.spans == (Span("word", "bin", 0.5, 0.8), Span("word", "blue", 0.8, 1.04))
    assert sources["s12/lrwzzp.mpg"].speaker == "s12"
    assert sources["s12/lrwzzp.mpg"].spans == () and "lrwzzp.align" in found.notes[0]
    assert sources["s3.mpg_vcd/pgbq7a.MPG"].speaker == "s3"
    assert by_path(tmp_path / "s1/video")["bbaf2n.mpg"].speaker == "s1"


def test_lrw_words_and_official_split(tmp_path):
    names = [
        f"{w}/{s}/{w}_0000{n}.mp4"
        for n, (w, s) in enumerate([("ABOUT", "train"), ("ABOUT", "val"), ("SPEECH", "test")])
    ]
    touch(tmp_path, *names)
    (tmp_path / "ABOUT/train/ABOUT_00000.txt").write_text("Disk: 1\nDuration: 0.40 seconds\n")
    found = scan(tmp_path)
    assert found.layout == "lrw"
    assert [source.split for source in found.sources] == ["train", "val", "test"]
    assert {source.speaker for source in found.sources} == {""}
    assert [source.sentence for source in found.sources] == ["about", "about", "speech"]
    (span,) = found.sources[0].spans
    assert (span.kind, span.text) == ("word", "about")
    assert (span.start, span.end) == pytest.approx((0.38, 0.78))


def test_lrw_numbers_begin_anew_in_each_split_and_a_part_of_it_will_do(tmp_path):
    splits = ("train", "val", "test")
    touch(tmp_path, *(f"lipread_mp4/ABOUT/{split}/ABOUT_00001.mp4" for split in splits))
    found = scan(tmp_path)
    ids = {source.split: source.id for source in found.sources}
    assert ids == {split: f"ABOUT-{split}-00001" for split in splits}
    for part in ("lipread_mp4", "lipread_mp4/ABOUT", "lipread_mp4/ABOUT/val"):
        some = scan(tmp_path / part)
        assert some.layout == "lrw"
        assert {source.split: source.id for source in some.sources}.items() <= ids.items()
        assert {source.sentence for source in some.sources} == {"about"}


def test_ldc_speakers_items_and_who_is_held_out(tmp_path):
    data = "LDC2009V01/av_db_am_eng/data"
    names = [f"{s}/{s}_TIMIT_SX{n}.mov" for s in ("F01", "F02", "M01", "M02") for n in (9, 10)]
    touch(tmp_path, *(f"{data}/{name}" for name in names), f"{data}/M02/M02_hVd_heed.MOV")
    touch(tmp_path, "LDC2009V01/av_db_am_eng/docs/F01.pdf")
    for root in ("", "LDC2009V01", f"{data}"):
        found = scan(tmp_path / root)
        assert found.layout == "ldc" and found.notes == () and len(found.sources) == 9
        said = {s.id: (s.speaker, s.sentence, s.split) for s in found.sources}
        assert said["F01-timit_sx9"] == ("F01", "timit sx9", None)
        assert said["F02-timit_sx10"] == ("F02", "timit sx10", "test")
        assert said["M01-timit_sx9"] == ("M01", "timit sx9", "test")
        assert said["M02-hvd_heed"] == ("M02", "hvd heed", None)
    (one,) = {source.speaker for source in scan(tmp_path / data / "M01").sources}
    assert one == "M01"


def test_ldc_where_only_folders_name_the_speaker_and_transcripts_lie_beside(tmp_path):
    """What is known of the names is little: other depths and plain names are taken as well."""
    touch(tmp_path, "f02/words/01.mov", "f02/sentences/01.mov", "M03/words/01.mov", "intro.mov")
    (tmp_path / "M03/words/01.txt").write_text("Say the word Bean")
    assert scan(tmp_path).layout == "folder"  # too little to go by: it must be named
    sources = by_path(tmp_path, "ldc")
    first = sources["f02/words/01.mov"]
    assert (first.speaker, first.sentence, first.split) == ("F02", "words 01", "test")
    assert sources["f02/sentences/01.mov"].sentence == "sentences 01"
    third = sources["M03/words/01.mov"]
    assert (third.speaker, third.sentence, third.split) == ("M03", "say the word bean", None)
    assert (sources["intro.mov"].speaker, sources["intro.mov"].sentence) == ("", "")
    assert len({source.id for source in sources.values()}) == 4


def test_folders_above_name_nobody(tmp_path):
    touch(tmp_path, "M01/F02/videos/anna/one.mp4", "M01/F02/videos/bob/two.mp4")
    found = scan(tmp_path / "M01/F02/videos")
    assert found.layout == "folder"
    assert [source.speaker for source in found.sources] == ["anna", "bob"]
    told = scan(tmp_path / "M01/F02/videos", "ldc").sources
    assert {source.speaker for source in told} == {""}


def test_any_folder(tmp_path):
    touch(tmp_path, "anna/one.mp4", "anna/deep/two.webm", "bob/one.mov", "bob/notes.docx")
    touch(tmp_path, ".trash/x.mp4", "bob/._one.mov")
    (tmp_path / "anna/one.txt").write_text("Text:  Hello   WORLD\nConf: 3\n")
    spans = [["word", "Good", 0.1, 0.4], ["phone", "g", 0.1, 0.2], ["word", "day", 0.4, 0.8]]
    (tmp_path / "bob/one.spans.json").write_text(json.dumps(spans))
    (tmp_path / "anna/deep/two.spans.json").write_text('[["word", "x", 2, 1]]')
    found = scan(tmp_path)
    sources = {source.path: source for source in found.sources}
    assert set(sources) == {"anna/one.mp4", "anna/deep/two.webm", "bob/one.mov"}
    assert sources["anna/one.mp4"].sentence == "hello world"
    assert sources["bob/one.mov"].sentence == "good day"
    assert sources["bob/one.mov"].spans[1] == Span("phone", "g", 0.1, 0.2)
    assert sources["anna/deep/two.webm"].speaker == "anna"
    assert sources["anna/deep/two.webm"].spans == () and "two.spans.json" in found.notes[0]


def test_flat_folder_with_a_table_of_speakers(tmp_path):
    touch(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    (tmp_path / "speakers.csv").write_text("path,speaker\na.mp4,Anna\nb,Bob\ngone.mp4,Carl\n")
    found = scan(tmp_path)
    assert [source.speaker for source in found.sources] == ["Anna", "Bob", ""]
    assert len(found.notes) == 1 and "gone.mp4" in found.notes[0]
    (tmp_path / "speakers.csv").write_text("a.mp4\n")
    with pytest.raises(ConfigError, match="speakers.csv.*path,speaker"):
        scan(tmp_path)


def test_ids_are_unique_and_safe_as_file_names(tmp_path):
    touch(tmp_path, "a/b c.mp4", "a/b_c.mp4", "a/x.mp4", "a/x.mkv", "A/X.mp4", "q/ünï?.mp4")
    ids = [source.id for source in scan(tmp_path).sources]
    assert len({name.casefold() for name in ids}) == 6
    assert all(not set(name) & set('/\\:*?"<>| ') for name in ids)
    assert ids == [source.id for source in scan(tmp_path).sources]


def test_one_file_and_errors(tmp_path):
    touch(tmp_path, "one.mp4", "two.mp4")
    assert [source.path for source in scan(tmp_path / "two.mp4").sources] == ["two.mp4"]
    with pytest.raises(ConfigError, match="no such folder"):
        scan(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no video files"):
        scan(tmp_path / "empty")
    with pytest.raises(ConfigError, match="did you mean 'folder'"):
        scan(tmp_path, "foldr")


def test_layout_is_that_of_most_files():
    assert detect_layout(["s1/bbaf2n.mpg", "s1/lrwzzp.mpg", "s1/readme.mp4"]) == "grid"
    assert detect_layout(["ABOUT/test/ABOUT_00001.mp4"]) == "lrw"
    assert detect_layout(["data/F01/F01_CID_1.mov", "data/M07/1.mov", "x/y.mov"]) == "ldc"
    assert detect_layout(["F011/a.mov", "M003_happy.mp4", "F01a.mov"]) == "folder"
    assert detect_layout(["anna/summer.mp4", "anna/x.mp4"]) == "folder"
