# SPDX-License-Identifier: Apache-2.0
"""Which clips are for training: unseen sentences are `val`, unseen speakers are `test`."""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

from lipjax.errors import ConfigError, nearest

_SHARE = 0.1
_TOO_MANY = 0.25  # a speaker with more of the clips than this is needed for training


@dataclasses.dataclass(frozen=True)
class Member:
    """What decides the split of a clip.

    Attributes:
        speaker: "" if unknown.
        sentence: "" if unknown; then the source stands for it.
        source: path of the video.
        start: of the clip in the video, seconds from the video's start.
        split: the official split, None if there is none.
    """

    speaker: str
    sentence: str
    source: str
    start: float
    split: str | None = None

    @property
    def said(self) -> str:
        """The unit that never lies in two splits: the sentence, else the whole video."""
        return self.sentence or f"video {self.source}"


def fraction(text: str) -> float:
    """Returns a number in [0, 1) that depends on the text alone, spread evenly."""
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2.0**64


def assign(
    members: Sequence[Member],
    *,
    test_speakers: Sequence[str] = (),
    cut: tuple[str, float] | None = None,
    previous: dict[str, Any] | None = None,
) -> tuple[list[str], dict[str, Any]]:
    """Assigns clips to train, val and test; a pure function of its arguments.

    Official splits stand, and nothing is added to an official `val` or `test` but named speakers.
    Else `test` holds speakers never trained on: the named ones, or about a tenth of them by hash,
    at least one of several; `val` holds about a tenth of the sentences of the others. Where
    speakers are unknown, `test` is a further tenth of the sentences. With one speaker or one
    video, the last tenth in time is held out, from `cut` on: the first half of it is `val`, the
    rest `test`.

    Args:
        members: the clips, any order.
        test_speakers: speakers to hold out; the first call decides.
        cut: (source, seconds) from which on clips are held out; decides for all.
        previous: record of an earlier call; its speakers and sentences stay where they are.

    Returns:
        The split of each member, and the record to keep for clips added later.

    Raises:
        ConfigError: a named speaker does not occur, or none is left to train on.
    """
    counts = Counter(member.speaker for member in members if member.split is None)
    speakers = {speaker for speaker in counts if speaker}
    official = {member.split for member in members if member.split is not None}
    known = {member.speaker for member in members if member.speaker}
    for name in test_speakers:
        if name not in known and previous is None:
            raise ConfigError(f"test speaker {name!r} does not occur{nearest(name, known)}")
    if counts and set(counts) <= set(test_speakers) and not previous:
        raise ConfigError(f"test speakers {', '.join(test_speakers)}: nobody is left to train on")
    if previous is not None:
        record = _extended(previous, speakers, official)
    elif cut is not None:
        record = {"rule": "time", "cut": list(cut), "speakers": dict.fromkeys(sorted(speakers), "")}
        record |= {"val_below": 0.0, "test_below": 0.0, "official": []}
        return _in_time(members, cut), record
    else:
        record = _first(members, counts, test_speakers, official)
    return [_split(member, record) for member in members], record


def _first(
    members: Sequence[Member],
    counts: Counter[str],
    test_speakers: Sequence[str],
    official: set[str],
) -> dict[str, Any]:
    """Sets the rule at the first call."""
    speakers = sorted(speaker for speaker in counts if speaker)
    held_out = set(test_speakers)
    if not held_out and "test" not in official:
        held_out = _held_out(counts, speakers)
    said = {m.said for m in members if m.split is None and m.speaker not in held_out}
    unknown = {m.said for m in members if m.split is None and not m.speaker}
    val_below, few = 0.0 if "val" in official else _threshold(said), 0.0
    if unknown and not held_out and len(unknown) > 2 and "test" not in official:
        few = _threshold(unknown, below=val_below)
    return {
        "rule": "speakers" if speakers else "sentences",
        "speakers": {name: "test" if name in held_out else "train" for name in speakers},
        "val_below": val_below,
        "test_below": few,
        "official": sorted(official),
    }


def _held_out(counts: Counter[str], speakers: Sequence[str]) -> set[str]:
    """Chooses about a tenth of the speakers by hash, none that training needs."""
    if len(speakers) < 2:
        return set()
    total = sum(counts.values())
    ranked = sorted(speakers, key=lambda name: fraction(f"speaker {name}"))
    small = [name for name in ranked if counts[name] <= _TOO_MANY * total]
    if not small:
        return {min(ranked, key=lambda name: counts[name])}
    return set(small[: max(1, round(_SHARE * len(speakers)))])


def _threshold(said: set[str], below: float = 0.0) -> float:
    """Returns the hash value under which a tenth of the texts lie, those under `below` aside."""
    values = sorted(value for value in map(fraction, said) if value >= below)
    if len(values) < 2:
        return below
    count = min(max(1, round(_SHARE * len(said))), len(values) - 1)
    return (values[count - 1] + values[count]) / 2


def _extended(previous: dict[str, Any], speakers: set[str], official: set[str]) -> dict[str, Any]:
    """Adds new speakers to a record, each by its own hash, so that the order does not matter."""
    known = dict(previous["speakers"])
    official = official | set(previous.get("official", ()))
    share = 0.0 if "test" in official else _SHARE
    for name in sorted(speakers - set(known)):
        known[name] = "test" if fraction(f"speaker {name}") < share else "train"
    return {**previous, "speakers": dict(sorted(known.items())), "official": sorted(official)}


def _split(member: Member, record: dict[str, Any]) -> str:
    if member.split is not None:
        return member.split
    if record["speakers"].get(member.speaker) == "test":
        return "test"
    value = fraction(member.said)
    if value < record["val_below"]:
        return "val"
    return "test" if not member.speaker and value < record["test_below"] else "train"


def _in_time(members: Sequence[Member], cut: tuple[str, float]) -> list[str]:
    """Holds out what comes from the cut on: the first half is val, the rest test."""
    order = sorted(range(len(members)), key=lambda i: (members[i].source, members[i].start))
    late = [i for i in order if (members[i].source, members[i].start) >= cut]
    splits = ["train"] * len(members)
    for position, i in enumerate(late):
        splits[i] = "val" if 2 * position < len(late) else "test"
    return splits


def time_cut(durations: Sequence[tuple[str, float]], *, longest: float) -> tuple[str, float] | None:
    """Returns where the last tenth of one person's videos begins.

    Args:
        durations: (path, seconds) in order of path.
        longest: seconds of the longest clip that will be cut from a video; a video no longer
            than this is not cut unless it is the only one.

    Returns:
        (path, seconds into it), None if there is nothing to cut.
    """
    total = sum(seconds for _, seconds in durations)
    target, passed = (1.0 - _SHARE) * total, 0.0
    for position, (path, seconds) in enumerate(durations):
        if passed + seconds >= target:
            inside = target - passed
            if seconds > longest or len(durations) == 1:
                return (path, inside) if inside > 0 else None
            if position == 0 or (position + 1 < len(durations) and 2 * inside > seconds):
                return (durations[position + 1][0], 0.0) if len(durations) > 1 else None
            return path, 0.0
        passed += seconds
    return None
