# SPDX-License-Identifier: Apache-2.0
"""What became of the videos: report.json for programs, report.html to look at."""

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lipjax.data.prepare import lag
from lipjax.data.prepare.place import write_whole
from lipjax.data.reading import Corpus
from lipjax.media import draw, page

_SHEET_CLIPS, _SHEET_FRAMES, _SHEET_SIDE = 12, 14, 64
_LISTED = 200


@dataclasses.dataclass(frozen=True)
class Report:
    """What prepare did, over all videos of the corpus.

    Attributes:
        directory: the corpus.
        clips: clips per split.
        seconds_seen: seconds of video that were looked at.
        seconds_kept: seconds in clips.
        videos: number of videos.
        dropped: reason -> number of videos that gave no clip.
        sources: facts of every video.
        speakers: facts of every speaker: clips, seconds, splits, typical lag in frames.
        notes: remarks.
        settings: what the corpus was made with.
    """

    directory: str
    clips: dict[str, int]
    seconds_seen: float
    seconds_kept: float
    videos: int
    dropped: dict[str, int]
    sources: list[dict[str, Any]]
    speakers: dict[str, dict[str, Any]]
    notes: list[str]
    settings: dict[str, Any]

    def summary(self) -> str:
        """Returns a few lines for the console."""
        number = sum(self.clips.values())
        split = ", ".join(f"{name} {count}" for name, count in self.clips.items())
        share = self.seconds_kept / self.seconds_seen if self.seconds_seen else 0.0
        lines = [
            f"{number} clips ({split or 'none'}) from {self.videos - sum(self.dropped.values())} "
            f"of {self.videos} videos",
            f"{self.seconds_kept:.0f} of {self.seconds_seen:.0f} seconds kept ({share:.0%})",
        ]
        if self.dropped:
            reasons = ", ".join(f"{count} {name}" for name, count in self.dropped.items())
            lines.append(f"not usable: {reasons}")
        return "\n".join([*lines, *self.notes, f"see {Path(self.directory) / 'report.html'}"])


def make_report(
    out: Path,
    corpus: Corpus | None,
    sources: Sequence[dict[str, Any]],
    *,
    notes: Sequence[str],
    record: dict[str, Any],
) -> Report:
    """Gathers the facts and writes report.json and report.html.

    Args:
        out: folder of the corpus.
        corpus: the corpus, None if there is none.
        sources: facts of every video.
        notes: remarks that concern the whole.
        record: the settings.
    """
    facts = [{k: v for k, v in entry.items() if k != "modified_ns"} for entry in sources]
    splits: tuple[str, ...] = ()
    rows: list[dict[str, Any]] = []
    if corpus:
        splits = corpus.splits
        rows = [{**row, "split": name} for name in splits for row in corpus.index(name).rows()]
    reasons = Counter(entry["reason"] for entry in facts if entry["reason"])
    two = sum(entry.get("seconds_with_two_faces", 0.0) for entry in facts)
    remarks = list(notes)
    if two:
        remarks.append(f"{two:.0f} seconds show more than one face: the larger, steadier is used")
    missing = sorted({"train", "val", "test"} - {row["split"] for row in rows})
    if rows and missing:
        remarks.append(f"no clips for {', '.join(missing)}: too few speakers or sentences")
    report = Report(
        directory=str(out),
        clips={split: sum(row["split"] == split for row in rows) for split in splits},
        seconds_seen=float(sum(entry["seconds"] for entry in facts)),
        seconds_kept=float(sum(row["frames"] for row in rows)) / record["fps"],
        videos=len(facts),
        dropped=dict(reasons.most_common()),
        sources=facts,
        speakers=_speakers(rows, record["fps"]),
        notes=remarks,
        settings=record,
    )
    text = json.dumps(_plain(dataclasses.asdict(report)), indent=1, allow_nan=False)
    write_whole(out / "report.json", text + "\n")
    write_whole(out / "report.html", _html(report, corpus, rows))
    return report


def _plain(value: Any) -> Any:
    """JSON knows neither NaN nor infinity."""
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _speakers(rows: Sequence[dict[str, Any]], fps: float) -> dict[str, dict[str, Any]]:
    told = {}
    for name in sorted({row["speaker"] for row in rows}):
        own = [row for row in rows if row["speaker"] == name]
        told[name] = {
            "clips": len(own),
            "seconds": sum(row["frames"] for row in own) / fps,
            "splits": dict(Counter(row["split"] for row in own)),
            "lag": lag.typical([r["lag"] for r in own], [r["lag_correlation"] for r in own]),
        }
    return told


def _html(report: Report, corpus: Corpus | None, rows: Sequence[dict[str, Any]]) -> str:
    parts = [page.paragraph(line) for line in report.summary().split("\n")[:-1]]
    if corpus:
        parts.append(page.heading("Mouths"))
        sheet = draw.contact_sheet(_sheet_rows(corpus, rows), scale=1.0, label_width=160)
        caption = f"{_SHEET_FRAMES} frames spread over each of {_SHEET_CLIPS} clips or fewer"
        parts.append(page.picture(draw.jpeg(sheet), caption=caption, wide=True))
    used = [entry for entry in report.sources if not entry["reason"]]
    parts += [page.heading("Where the seconds went"), _seconds_table(report.sources, report)]
    if rows:
        parts += [page.heading("Speakers"), _speaker_table(report)]
        parts += [page.heading("Sound against lips"), *_lag_parts(rows)]
    if used:
        parts += [page.heading("The videos"), _ranges(used)]
    bad = [entry for entry in report.sources if entry["reason"]]
    if bad:
        parts.append(page.heading("Videos that gave no clip"))
        listed = [(e["path"], e["reason"], e["detail"][:200]) for e in bad[:_LISTED]]
        parts.append(page.table(("video", "reason", "detail"), listed))
    told = [(entry["path"], note) for entry in report.sources for note in entry["notes"]]
    if told:
        parts.append(page.heading("Remarks"))
        parts.append(page.table(("video", "remark"), told[:_LISTED]))
    if max(len(bad), len(told)) > _LISTED:
        parts.append(page.paragraph(f"Lists end after {_LISTED}; report.json has all.", note=True))
    settings = [(name, str(value)) for name, value in report.settings.items()]
    parts += [page.heading("Settings"), page.table(("setting", "value"), settings)]
    return page.page("Prepared videos", parts)


def _sheet_rows(corpus: Corpus, rows: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Frames of some clips: every speaker has a turn, splits mixed."""
    turns: Counter[str] = Counter()
    order = []
    for row in rows:
        order.append((turns[row["speaker"]], row["speaker"], row["id"]))
        turns[row["speaker"]] += 1
    chosen = {name for *_, name in sorted(order)[:_SHEET_CLIPS]}
    pictures = {}
    for split in corpus.splits:
        clips = corpus.clips(split)
        for position, name in enumerate(corpus.index(split).id.tolist()):
            if name in chosen:
                mouth = clips[position].mouth
                at = np.linspace(0, len(mouth) - 1, min(_SHEET_FRAMES, len(mouth))).round()
                small = [draw.resize(f, _SHEET_SIDE, _SHEET_SIDE) for f in mouth[at.astype(int)]]
                pictures[f"{name} ({split})"] = np.stack(small)
    return pictures


def _seconds_table(sources: Sequence[dict[str, Any]], report: Report) -> str:
    def total(name: str) -> str:
        return f"{sum(entry.get(name, 0.0) for entry in sources):.1f}"

    rows = [
        ("looked at", f"{report.seconds_seen:.1f}"),
        ("kept in clips", f"{report.seconds_kept:.1f}"),
        ("without a face", total("seconds_without_face")),
        ("face interpolated over at most 5 frames", total("seconds_interpolated")),
        ("without sound", total("seconds_without_sound")),
        ("more than one face", total("seconds_with_two_faces")),
        ("beyond the limit or left as a gap", total("seconds_not_asked_for")),
    ]
    return page.table(("", "seconds"), rows)


def _speaker_table(report: Report) -> str:
    rows = [
        (
            name or "(unknown)",
            str(facts["clips"]),
            f"{facts['seconds']:.1f}",
            ", ".join(f"{split} {count}" for split, count in facts["splits"].items()),
            "-" if math.isnan(facts["lag"]) else f"{facts['lag']:+.1f}",
        )
        for name, facts in list(report.speakers.items())[:_LISTED]
    ]
    return page.table(("speaker", "clips", "seconds", "splits", "lag in frames"), rows)


def _lag_parts(rows: Sequence[dict[str, Any]]) -> list[str]:
    believed = [row["lag"] for row in rows if row["lag_correlation"] >= lag.CONFIDENT]
    text = (
        f"Lip opening and loudness agree well enough to tell in {len(believed)} of {len(rows)} "
        "clips. Positive: the sound comes late. One short clip's lag can be off by a syllable; "
        "the median over a speaker's clips is not."
    )
    parts = [page.paragraph(text, note=True)]
    if believed:
        edges = np.arange(-lag.MAX_LAG - 0.5, lag.MAX_LAG + 1.5)
        counts, _ = np.histogram(believed, edges)
        curve = (edges[:-1] + 0.5, counts.astype(float))
        parts.append(
            page.picture(
                draw.line_plot({"clips": curve}, x_label="lag in frames", y_label="clips"),
                caption="How many clips have which lag",
            )
        )
    return parts


def _ranges(sources: Sequence[dict[str, Any]]) -> str:
    def line(title: str, name: str, unit: str) -> tuple[str, ...]:
        values = np.array([entry[name] for entry in sources if entry.get(name) is not None])
        numbers = (values.min(), np.median(values), values.max()) if len(values) else ()
        return title, *(f"{number:.4g} {unit}" for number in numbers)

    rows: Iterable[tuple[str, ...]] = (
        line("frames per second of the file", "fps", ""),
        line("duration", "duration", "s"),
        line("width", "width", "px"),
        line("height", "height", "px"),
        line("sound rate", "sound_rate", "Hz"),
        line("sound begins after the picture by", "sound_starts", "s"),
        line("sound level", "sound_level", "dB"),
    )
    return page.table(("", "least", "median", "most"), [row for row in rows if len(row) == 4])
