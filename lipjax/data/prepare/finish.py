# SPDX-License-Identifier: Apache-2.0
"""The last step of prepare: from staged files, and an earlier corpus, to the corpus on disk.

New files are written aside, listed, and only then moved in; an interrupted move goes on at the
next start.
"""

import dataclasses
import json
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lipjax.data import splits
from lipjax.data.corpora import Source
from lipjax.data.prepare import lag
from lipjax.data.prepare.pack import CorpusWriter
from lipjax.data.prepare.place import write_whole
from lipjax.data.prepare.settings import PrepareSettings
from lipjax.data.prepare.staging import staged_clip, staged_facts, staged_path
from lipjax.data.reading import DESCRIPTION, Corpus
from lipjax.errors import CorpusError

SOURCES = "sources.json"
_LIST = "complete.json"
_STEP = 1.5
"""Frames by which sound may be off: more than the noise of the estimate, less than one notices."""


@dataclasses.dataclass(frozen=True)
class Staged:
    """A clip that waits for packing: where it lies, and how its sound is to be moved."""

    path: Path
    position: int
    row: dict[str, Any]
    source: Source
    moved: float = 0.0

    def load(self) -> Any:
        """Reads the clip; its sound and words moved earlier by `moved` frames.

        Raises:
            CorpusError: the staged file is damaged; it has been removed.
        """
        try:
            return self._load()
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            self.path.unlink(missing_ok=True)
            raise CorpusError(
                f"{self.path}: staged clip of {self.source.path} was damaged ({error}) and has "
                "been removed; run the same command again"
            ) from error

    def _load(self) -> Any:
        if not self.moved:
            return staged_clip(self.path, self.position, self.row)
        seconds = self.moved / self.row["fps"]
        return staged_clip(
            self.path,
            self.position,
            {
                **self.row,
                "spans": [(k, t, a - seconds, b - seconds) for k, t, a, b in self.row["spans"]],
            },
            sound_start=self.row["sound_start"] - seconds,
            lag=self.row["lag"] - self.moved,
        )


def staged_clips(
    folder: Path, sources: Sequence[Source], settings: PrepareSettings
) -> tuple[list[Staged], list[dict[str, Any]]]:
    """Collects the staged clips of the sources and decides about sound out of step.

    Returns:
        The clips to pack, and the facts of each staged source, completed by what was decided.
    """
    clips: list[Staged] = []
    told: list[dict[str, Any]] = []
    for source in sources:
        path = staged_path(folder, source.path)
        facts = staged_facts(path)
        if facts is None:
            continue
        rows = facts.pop("clips")
        told.append(facts)
        clips += [Staged(path, n, row, source) for n, row in enumerate(rows)]
    usual = _usual_lags(clips)
    kept = []
    by_path = {facts["path"]: facts for facts in told}
    for clip in clips:
        facts, row = by_path[clip.source.path], clip.row
        clear = row["lag_correlation"] >= lag.CONFIDENT and row["aside"]["lag_margin"] >= lag.CLEAR
        late = row["lag"] if clear else usual.get(row["speaker"], 0.0)
        off = abs(late) > _STEP
        if off and settings.offset == "drop":
            facts["kept_clips"] -= 1
            facts["kept_seconds"] -= row["aside"]["seconds"]
            facts["notes"].append(f"{row['id']}: left out, sound {late:+.1f} frames off")
            if not facts["kept_clips"]:
                facts |= {"reason": "sound out of step", "detail": f"{late:+.1f} frames"}
            continue
        if off and settings.offset == "report":
            facts["notes"].append(f"{row['id']}: sound {late:+.1f} frames off")
        if off and settings.offset == "shift":
            facts["notes"].append(f"{row['id']}: sound moved by {-late:+.1f} frames")
            clip = dataclasses.replace(clip, moved=late)
        kept.append(clip)
    return kept, told


def _usual_lags(clips: Sequence[Staged]) -> dict[str, float]:
    """The typical lag of each speaker for whom there are enough clips to tell."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for clip in clips:
        rows.setdefault(clip.row["speaker"], []).append(clip.row)
    typical = {
        speaker: lag.typical([r["lag"] for r in group], [r["lag_correlation"] for r in group])
        for speaker, group in rows.items()
        if speaker
    }
    return {speaker: value for speaker, value in typical.items() if value == value}


def pack(
    work: Path,
    clips: Sequence[Staged],
    facts: Sequence[dict[str, Any]],
    *,
    existing: Corpus | None,
    description: dict[str, Any],
    test_speakers: Sequence[str],
    cut: tuple[str, float] | None,
) -> None:
    """Writes the new corpus into `work/packed` and lists its files there.

    Args:
        work: the folder of this job.
        clips: what is new.
        facts: of all sources, earlier ones included.
        existing: the corpus that is added to.
        description: what is recorded beside the splits.
        test_speakers: speakers to hold out.
        cut: where one person's videos are divided in time.
    """
    target = work / "packed"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    members = [
        splits.Member(
            clip.row["speaker"],
            clip.row["sentence"] or clip.source.sentence,
            clip.source.path,
            clip.row["aside"]["start"],
            clip.source.split,
        )
        for clip in clips
    ]
    previous = existing.description["assignment"] if existing else None
    chosen, assignment = splits.assign(
        members, test_speakers=test_speakers, cut=cut, previous=previous
    )
    entries: list[tuple[str, str, Any]] = []
    for split, clip in zip(chosen, clips, strict=True):
        entries.append((clip.row["id"], split, clip))
    if existing:
        for split in existing.splits:
            for position, row in enumerate(existing.index(split).rows()):
                entries.append((row["id"], split, (position, row)))
    writer = CorpusWriter(target)
    readers = {split: existing.clips(split) for split in existing.splits} if existing else {}
    for _, split, what in sorted(entries, key=lambda entry: entry[:2]):
        if isinstance(what, Staged):
            writer.add(split, what.load())
        else:
            writer.add_record(split, readers[split].record(what[0]), what[1])
    write_sources(target, facts)
    names = writer.close({**description, "assignment": assignment})
    write_whole(target / _LIST, json.dumps([SOURCES, *names]))


def write_sources(directory: Path, facts: Sequence[dict[str, Any]]) -> None:
    """Writes the facts of all videos that need not be looked at again."""
    # The time of change says whether a staged file is fresh, nothing about the corpus.
    lasting = [{k: v for k, v in entry.items() if k != "modified_ns"} for entry in facts]
    text = json.dumps(sorted(lasting, key=lambda entry: entry["path"]), indent=1)
    write_whole(directory / SOURCES, text + "\n")


def move_in(out: Path, work: Path) -> None:
    """Moves a packed corpus to its place, or goes on with an interrupted move; removes the work.

    Does nothing if there is no completely packed corpus.
    """
    packed = work / "packed"
    if not (packed / _LIST).is_file():
        return
    try:
        names = json.loads((packed / _LIST).read_text())
        # What lies there may come from elsewhere, and names of files can lead anywhere.
        if not all(Path(name).name == name and name != ".." for name in names):
            raise ValueError("a name that is no file's in this folder")
    except (ValueError, TypeError, RecursionError) as error:
        raise CorpusError(f"{packed / _LIST}: damaged ({error}); delete {work}") from error
    if (packed / DESCRIPTION).is_file():
        # Readers must not see new metadata over old shards: without this file it is no corpus.
        (out / DESCRIPTION).unlink(missing_ok=True)
    for name in names:
        if (packed / name).is_file():
            (packed / name).replace(out / name)
    for pattern in ("lipjax-*.array_record-*", "index-*.npz"):
        for file in out.glob(pattern):
            if file.name not in names:
                file.unlink()
    shutil.rmtree(work)
