# SPDX-License-Identifier: Apache-2.0
"""Which stretches of which videos are used: a limit in seconds, a cut in time for one person."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lipjax.data import splits
from lipjax.data.corpora import Scan, Source
from lipjax.data.prepare.settings import PrepareSettings
from lipjax.errors import ConfigError, MediaError
from lipjax.media import video

_GAP = 1.0  # seconds between what is trained on and what is held out in time
_SHORTEST = 1.0  # seconds of a video that are worth opening it for


def choose_stretches(
    scan: Scan, sources: list[Source], settings: PrepareSettings
) -> tuple[list[Source], tuple[str, float] | None]:
    """Decides which stretches are used: within the limit, and with a gap before a cut in time.

    Args:
        scan: the folder.
        sources: its videos.
        settings: of the corpus.

    Returns:
        The videos to use with their stretches, and the cut (path, seconds) from which on one
        person's videos are held out; None if speakers or sentences decide.

    Raises:
        ConfigError: the limit leaves nothing.
    """
    if settings.limit_seconds is not None and settings.limit_seconds < _SHORTEST:
        raise ConfigError(
            f"the limit of {settings.limit_seconds:g} seconds of video is too low; "
            f"give at least {_SHORTEST:g}"
        )
    speakers = {source.speaker for source in sources}
    alone = len(sources) == 1 or (len(speakers) == 1 and "" not in speakers)
    alone = alone and all(source.split is None for source in sources)
    alone = alone and not settings.test_speakers
    if not alone and settings.limit_seconds is None:
        return sources, None
    lengths: dict[str, float] = {}
    if settings.limit_seconds is not None:
        left, chosen = settings.limit_seconds, []
        for source in _by_turns(sources):
            if left < _SHORTEST:
                break
            seconds = _duration(scan.root / source.path)
            if seconds > left:
                source, seconds = dataclasses.replace(source, keep=((0.0, left),)), left
            lengths[source.path] = seconds
            left -= seconds
            chosen.append(source)
        sources = sorted(chosen, key=lambda source: source.path)
    if not alone:
        return sources, None
    for source in sources:
        lengths.setdefault(source.path, _duration(scan.root / source.path))
    order = [(source.path, lengths[source.path]) for source in sources]
    cut = splits.time_cut(order, longest=settings.max_seconds)
    shortest = settings.min_frames / settings.fps
    total = sum(lengths[source.path] for source in sources)
    if cut is None or (cut[1] > 0 and min(cut[1] - _GAP, total - cut[1]) < shortest):
        return sources, None
    result = []
    for position, source in enumerate(sources):
        keep, length = source.keep, lengths[source.path]
        following = order[position + 1][0] if position + 1 < len(order) else ""
        if source.path == cut[0] and cut[1] > 0:
            keep = ((0.0, max(cut[1] - _GAP, 0.0)), (cut[1], length if keep else float("inf")))
        elif following == cut[0] and cut[1] == 0:
            keep = ((0.0, max(length - _GAP, 0.0)),)
        result.append(dataclasses.replace(source, keep=keep))
    return result, cut


def _by_turns(sources: Sequence[Source]) -> list[Source]:
    """Orders videos so that each speaker has a turn before any has the next.

    Where nobody is known but the splits are official, the words take turns in each split.
    """
    turns: Counter[tuple[str, str]] = Counter()
    keyed = []
    for source in sources:
        nameless = source.split is not None and not source.speaker
        group = (source.sentence if nameless else source.speaker, source.split or "")
        keyed.append((turns[group], group, source.path, source))
        turns[group] += 1
    return [entry[-1] for entry in sorted(keyed, key=lambda entry: entry[:3])]


def _duration(path: Path) -> float:
    try:
        return float(video.probe(path).duration)
    except (MediaError, OSError):
        return 0.0  # it will be reported when its turn comes
