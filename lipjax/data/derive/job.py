# SPDX-License-Identifier: Apache-2.0
"""The whole job: every clip in many processes, packed in the corpus's order, moved in whole."""

import dataclasses
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lipjax.data import pool, side
from lipjax.data.derive.kinds import NAMES, Kind
from lipjax.data.prepare.progress import clock
from lipjax.data.reading import ClipSequence, Corpus, open_corpus
from lipjax.data.records import RecordWriter, serialize
from lipjax.errors import ConfigError, CorpusError, nearest
from lipjax.media.arrays import load_array

Show = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Report:
    """What `derive` made, or found made.

    Attributes:
        directory: folder of the side corpus.
        clips: records in all.
        failed: id -> what went wrong, for clips whose record is empty.
        size_bytes: of all files.
        seconds: that the work took; 0 if nothing was left to do.
    """

    directory: Path
    clips: int
    failed: dict[str, str]
    size_bytes: int
    seconds: float

    def summary(self) -> str:
        """Returns the report in a line."""
        line = f"{self.clips} clips, {self.size_bytes / 1e6:.1f} MB in {self.directory}"
        if self.failed:
            line += f", {len(self.failed)} of them without a value"
        return line + (f", {clock(self.seconds)}" if self.seconds else ", was there already")


def derive(
    name: str,
    corpus_dir: Path | str,
    *,
    size: int = 64,
    processes: int | None = None,
    show: Show | None = print,
) -> Report:
    """Makes a side corpus: the derivative of every clip, beside the corpus that is left as it is.

    It appears whole at the end; an interrupted job goes on where it was. One of other settings
    or of other clips is replaced; an equal one is left as it is, empty records included (delete
    its folder to try those again).

    Args:
        name: which derivative, a key of `NAMES`.
        corpus_dir: folder of a prepared corpus.
        size: side in pixels of the pictures it is computed on.
        processes: worker processes; all cores if None; 0 works in this process.
        show: takes a line of text now and then.

    Returns:
        What was made. A clip whose computation fails is told, counted and left empty.

    Raises:
        ConfigError: a name or a number that cannot work.
        CorpusError: no corpus there, or nothing could be derived from any of its clips.
    """
    if name not in NAMES:
        raise ConfigError(f"derive {name!r}: unknown{nearest(name, NAMES)}")
    if size < 1:
        raise ConfigError(f"size must be at least 1 pixel, not {size}")
    if processes is not None and processes < 0:
        raise ConfigError(f"processes must be 0 (work in this process) or more, not {processes}")
    begin, show = time.monotonic(), show or (lambda line: None)
    corpus = open_corpus(corpus_dir)
    description = _description(name, NAMES[name], size, corpus)
    target = side.side_path(corpus.directory, name)
    found = side.read_description(target)
    work = target.with_name(f"{name}.work")
    for place in (target, work):
        if place.is_symlink():
            raise CorpusError(f"{place}: is a link, and would be replaced; remove it")
    if found is not None and _plan(found) == description:
        shutil.rmtree(work, ignore_errors=True)  # of a job that was interrupted while tidying up
        return _report(target, found, 0.0)
    _go_on(work, description)
    failed = _compute(corpus, name, size, work / "staged", processes, show)
    total = sum(split["clips"] for split in description["splits"].values())
    if len(failed) == total:
        clip, reason = next(iter(failed.items()))
        raise CorpusError(
            f"{corpus.directory}: no {name} could be derived from any of {total} clips; "
            f"the first, {clip}: {reason}"
        )
    _pack(corpus, NAMES[name], description, failed, work)
    _move_in(work, target)
    made = side.read_description(target)
    assert made is not None, target
    return _report(target, made, time.monotonic() - begin)


def _description(name: str, kind: Kind, size: int, corpus: Corpus) -> dict[str, Any]:
    return {
        "schema_version": side.SCHEMA_VERSION,
        "name": name,
        "settings": {"size": size, **kind.settings},
        "splits": {
            split: {"clips": len(corpus.clips(split)), "identity": corpus.identity(split)}
            for split in corpus.splits
        },
    }


def _plan(description: dict[str, Any]) -> dict[str, Any]:
    """What was asked for: a description without what came of it."""
    return {key: value for key, value in description.items() if key != "failed"}


def _go_on(work: Path, description: dict[str, Any]) -> None:
    """Makes the folder of the work, or keeps that of an interrupted job of the same plan."""
    begun = side.read_description(work)
    if begun != description:
        shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(work / "packed", ignore_errors=True)
    (work / "staged").mkdir(parents=True, exist_ok=True)
    (work / side.DESCRIPTION).write_text(json.dumps(description), encoding="utf-8")


def _staged(folder: Path, split: str, position: int) -> Path:
    return folder / f"{split}-{position:07d}.npy"


@dataclasses.dataclass(frozen=True)
class _Work:
    """What a worker process does with (split, position), in a form that can be sent to it."""

    clips: dict[str, ClipSequence]
    name: str
    size: int
    folder: Path

    def __call__(self, task: tuple[str, int], beat: pool.Beat) -> None:
        split, position = task
        kind, path = NAMES[self.name], _staged(self.folder, split, position)
        clip = self.clips[split][position]
        beat(0)
        try:
            value = kind.compute(clip, self.size)
        except ImportError as error:  # not this clip's fault: every clip would fail
            raise ConfigError(f"{error}; pip install 'lipjax[media]'") from error
        part = path.with_suffix(f".{os.getpid()}.part")
        try:
            with part.open("wb") as file:
                np.save(file, value, allow_pickle=False)
            part.replace(path)
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror or error}") from error


def _compute(
    corpus: Corpus, name: str, size: int, staged: Path, processes: int | None, show: Show
) -> dict[str, str]:
    """Stages the derivative of every clip that is not staged yet; returns what went wrong."""
    every = [(s, n) for s in corpus.splits for n in range(len(corpus.clips(s)))]
    todo = [task for task in every if not _staged(staged, *task).is_file()]
    ids = {split: corpus.index(split).id.tolist() for split in corpus.splits}
    work = _Work({split: corpus.clips(split) for split in corpus.splits}, name, size, staged)
    count = (os.cpu_count() or 1) if processes is None else processes
    before, done, begin = len(every) - len(todo), 0, time.monotonic()
    failed: dict[str, str] = {}
    told = begin
    for (split, position), result in pool.run(todo, work, processes=count):
        if isinstance(result, pool.Progressed):
            continue
        done += 1
        if isinstance(result, pool.Failure):
            clip = ids[split][position]
            failed[clip] = f"{result.reason}: {result.detail}"
            show(f"clip {clip}: no {name} ({failed[clip]})")
        now = time.monotonic()
        if now - told >= 1.0 or done == len(todo):
            told, left = now, (now - begin) / done * (len(todo) - done)
            line = f"{before + done}/{len(every)} clips"
            line += f" ({before} done before)" if before else ""
            line += f", {done / max(now - begin, 1e-6):.1f}/s"
            line += f", {len(failed)} without {name}" if failed else ""
            show(line + (f", {clock(left)} left" if done < len(todo) else ""))
    return failed


def _pack(
    corpus: Corpus, kind: Kind, description: dict[str, Any], failed: dict[str, str], work: Path
) -> None:
    """Writes the staged arrays, in the corpus's order, as the side corpus `work/packed`."""
    packed = work / "packed"
    packed.mkdir()
    features = side.features(kind.shape, kind.dtype)
    writer = RecordWriter(packed, features)
    empty = np.zeros([length or 1 for length in kind.shape], kind.dtype)  # TFDS needs an element
    for split in corpus.splits:
        for position, clip in enumerate(corpus.index(split).id.tolist()):
            reason = failed.get(clip, "")
            path = _staged(work / "staged", split, position)
            try:
                value = empty if reason else load_array(path)
            except ValueError as error:
                raise CorpusError(f"{path}: damaged ({error}); delete it and go on") from error
            example = {"id": clip, "error": reason, "value": value}
            writer.add(split, serialize(features, example))
    writer.close(f"Derived by lipjax: {description['name']}, one array per clip.")
    text = json.dumps({**description, "failed": failed}, indent=1, ensure_ascii=False)
    (packed / side.DESCRIPTION).write_text(text + "\n", encoding="utf-8")


def _move_in(work: Path, target: Path) -> None:
    """Puts the packed side corpus in place of what may be there, and removes the work."""
    old = work / "replaced"
    if target.exists():
        shutil.rmtree(old, ignore_errors=True)
        target.replace(old)
    (work / "packed").replace(target)
    shutil.rmtree(work)


def _report(directory: Path, description: dict[str, Any], seconds: float) -> Report:
    return Report(
        directory,
        sum(split["clips"] for split in description["splits"].values()),
        description["failed"],
        sum(path.stat().st_size for path in directory.iterdir()),
        seconds,
    )
