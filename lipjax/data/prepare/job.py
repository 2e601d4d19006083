# SPDX-License-Identifier: Apache-2.0
"""The whole job: scan, work in many processes, pack, report; resumed where it was left."""

import dataclasses
import functools
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lipjax.data import corpora, pool, splits
from lipjax.data.corpora import Scan, Source
from lipjax.data.prepare import clips, finish
from lipjax.data.prepare import facts as facts_of
from lipjax.data.prepare.place import alone, check_place, write_whole
from lipjax.data.prepare.progress import Progress
from lipjax.data.prepare.report import Report, make_report
from lipjax.data.prepare.settings import PrepareSettings, check_same
from lipjax.data.prepare.staging import staged_facts, staged_path
from lipjax.data.prepare.stretches import choose_stretches
from lipjax.data.reading import DESCRIPTION, Corpus, open_corpus
from lipjax.errors import ConfigError, CorpusError


def prepare(
    videos: Path | str,
    out: Path | str,
    *,
    settings: PrepareSettings = PrepareSettings(),  # noqa: B008 (frozen)
    processes: int | None = None,
    strict: bool = False,
    limit_seconds: float | None = None,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Turns a folder of talking-face videos into a corpus.

    An interrupted job goes on where it was when called again with the same settings; videos
    that appear in the folder later are added to the corpus.

    Args:
        videos: the folder, or one video.
        out: the folder of the corpus.
        settings: what the clips are to be.
        processes: worker processes; all cores if None; 0 works in this process.
        strict: stop at the first video that cannot be used.
        limit_seconds: use at most so many seconds of video, evenly over the speakers.
        progress: takes a line of text now and then.

    Returns:
        The report, also written to `out` as report.json and report.html.

    Raises:
        ConfigError: nothing there, or a setting that cannot work.
        CorpusError: `out` holds something else or another corpus, another job is at work there,
            no video could be used, or, with `strict`, one could not.

    Example:
        >>> settings = lipjax.PrepareSettings(landmarks="files", mouth_size=64)
        >>> report = lipjax.prepare("videos", "prepared", settings=settings, processes=0)
        >>> lipjax.open_corpus("prepared").description["settings"]["mouth_size"]
        64
    """
    if processes is not None and processes < 0:
        raise ConfigError(f"processes must be 0 (work in this process) or more, not {processes}")
    if limit_seconds is not None:
        settings = dataclasses.replace(settings, limit_seconds=limit_seconds)
    videos, out = Path(videos), Path(out)
    check_place(out)
    with alone(out):
        return _prepare(videos, out, settings, processes, strict, progress)


def _prepare(
    videos: Path,
    out: Path,
    settings: PrepareSettings,
    processes: int | None,
    strict: bool,
    progress: Callable[[str], None] | None,
) -> Report:
    work = out / "work"
    finish.move_in(out, work)
    existing = open_corpus(out) if (out / DESCRIPTION).is_file() else None
    known = _read_facts(out / finish.SOURCES) if existing else []
    done = {facts["path"] for facts in known}
    taken = (
        {name for split in existing.splits for name in existing.index(split).id.tolist()}
        if (existing)
        else set()
    )
    scan = corpora.scan(videos, settings.layout)
    record = settings.record(scan.layout)
    if existing:
        check_same(existing.settings, record, str(out))
    fresh = [source for source in scan.sources if source.path not in done]
    fresh = _renamed(fresh, taken)
    _check_names(settings.test_speakers, scan, existing)
    cut = None
    if existing is None:
        fresh, cut = choose_stretches(scan, fresh, settings)
    elif settings.limit_seconds is not None:
        fresh = []  # the limit was used up when the corpus was made
    staged = _staging_folder(work, record)
    failures = _work(scan, fresh, staged, settings, processes, strict, progress)
    packable, told = finish.staged_clips(staged, fresh, settings)
    staged_paths = {facts["path"] for facts in told}
    told += [facts for path, facts in failures.items() if path not in staged_paths]
    facts = sorted([*known, *told], key=lambda entry: entry["path"])
    if strict:
        _refuse_bad(facts)
    notes = list(scan.notes)
    if settings.limit_seconds is not None:
        notes.append(f"used at most {settings.limit_seconds:g} seconds of video, as asked")
    lasting = [entry for entry in facts if entry["reason"] not in _PASSING]
    if packable:
        finish.pack(
            work,
            packable,
            lasting,
            existing=existing,
            description={"settings": record},
            test_speakers=settings.test_speakers,
            cut=cut,
        )
        finish.move_in(out, work)
    elif existing:
        finish.write_sources(out, lasting)
        shutil.rmtree(work)
    corpus = open_corpus(out) if packable or existing else None
    report = make_report(out, corpus, facts, notes=notes, record=record)
    if corpus is None:
        reasons = Counter(entry["reason"] for entry in facts)
        told_reasons = ", ".join(f"{count} x {name}" for name, count in reasons.most_common())
        raise CorpusError(
            f"{videos}: none of {len(facts)} videos gave a clip ({told_reasons}); the first: "
            f"{facts[0]['path']}: {facts[0]['detail'] or facts[0]['reason']}; "
            f"see {out / 'report.html'}"
        )
    return report


_PASSING = ("crashed", "hangs", "error")
"""Reasons that another run may not meet; such videos are tried again."""


def _read_facts(path: Path) -> list[dict[str, Any]]:
    """Reads the facts of the videos that a corpus was made of."""
    try:
        found = json.loads(path.read_text("utf-8"))
        for name in ("path", "reason", "detail", "seconds", "notes"):
            [facts[name] for facts in found]  # the report needs them
        return found
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CorpusError(
            f"{path}: damaged ({type(error).__name__}: {error}); prepare in another folder"
        ) from error


def _check_names(test_speakers: Sequence[str], scan: Scan, existing: Corpus | None) -> None:
    """Finds wrong names of speakers before any work is done."""
    if test_speakers and existing is None:
        members = [splits.Member(s.speaker, s.sentence, s.path, 0.0) for s in scan.sources]
        splits.assign(members, test_speakers=test_speakers)


def _renamed(fresh: list[Source], taken: set[str]) -> list[Source]:
    """Gives new videos ids that the corpus does not have yet."""
    stems = {name.casefold() for name in taken}
    stems |= {name[:-4] for name in stems if name[-4:-3] == "-" and name[-3:].isdigit()}
    return [
        source
        if source.id.casefold() not in stems
        else dataclasses.replace(source, id=corpora.distinct_id(source))
        for source in fresh
    ]


def _staging_folder(work: Path, record: dict[str, Any]) -> Path:
    """Makes or goes on with the folder of staged files."""
    path = work / "settings.json"
    if path.is_file():
        try:
            begun = dict(json.loads(path.read_text("utf-8")))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise CorpusError(f"{path}: damaged ({error}); delete {work}") from error
        check_same(begun, record, str(work))
    staged = work / "staged"
    staged.mkdir(parents=True, exist_ok=True)
    for leftover in staged.glob("*.part"):
        leftover.unlink()
    write_whole(path, json.dumps(record))
    return staged


def _work(
    scan: Scan,
    sources: Sequence[Source],
    staged: Path,
    settings: PrepareSettings,
    processes: int | None,
    strict: bool,
    progress: Callable[[str], None] | None,
) -> dict[str, dict[str, Any]]:
    """Stages what is not staged yet; returns the facts of sources that left no staged file."""
    todo = [source for source in sources if not _is_staged(scan.root, source, staged)]
    count = (os.cpu_count() or 1) if processes is None else processes
    job = functools.partial(clips.stage, root=scan.root, settings=settings, folder=staged)
    state = Progress(len(sources), len(sources) - len(todo), settings.fps, progress)
    failures: dict[str, dict[str, Any]] = {}
    for source, result in pool.run(todo, job, processes=count, memory_gb=settings.max_worker_gb):
        if isinstance(result, pool.Progressed):
            state.frames(result.frames)
            continue
        if isinstance(result, pool.Failure):
            result = facts_of.blank(source) | dataclasses.asdict(result)
        failures[source.path] = result
        state.finished(result)
        if strict:
            _refuse_bad([result])
    state.close()
    return failures


def _refuse_bad(facts: Sequence[dict[str, Any]]) -> None:
    """Ends the job at the first video that cannot be used."""
    for entry in facts:
        if entry["reason"]:
            told = f"{entry['path']}: {entry['reason']} {entry['detail']}".rstrip()
            raise CorpusError(f"{told} (strict: every video must be usable)")


def _is_staged(root: Path, source: Source, staged: Path) -> bool:
    facts = staged_facts(staged_path(staged, source.path))
    try:
        now = facts_of.fingerprint(root / source.path)
    except OSError:
        return False
    wanted = [list(stretch) for stretch in source.keep]
    return facts is not None and facts["wanted"] == wanted and now.items() <= facts.items()
