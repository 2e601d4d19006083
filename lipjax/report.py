# SPDX-License-Identifier: Apache-2.0
"""Report pages: one self-contained HTML file with curves, tables, contact sheets and video."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from lipjax.evaluation import rows
from lipjax.media import draw, page
from lipjax.media.video import write_video
from lipjax.metrics import table
from lipjax.metrics.results import Evaluation, Example
from lipjax.training.logging import read_metrics

_SHOWN = (rows.TRUTH, rows.MODEL, rows.MODEL_WRONG, rows.MISMATCHED, rows.STILL)
_SHEET_FRAMES, _PANEL = 16, 192
_MEANING = (
    "PSNR in dB and SSIM (Wang, 11x11 Gaussian) on RGB mouth crops, per frame; CPBD sharpness "
    "(python-cpbd convention) of the crop; LMD, lip landmark distance (lower is better), in "
    "pixels of a 64-pixel crop 1.3 mouth widths wide; r(opening), correlation of the inner-lip "
    "opening over a clip. A mouth follows the speech only if it beats the motionless mean mouth "
    "on LMD and its r with the right sound clearly exceeds its r with a wrong one. Small numbers "
    "are 95 % intervals, bootstrap by clip."
)


def write_report(
    path: Path,
    *,
    title: str,
    evaluation: Evaluation | None = None,
    workdir: Path | None = None,
    videos: Mapping[str, Path] | None = None,
    notes: tuple[str, ...] = (),
) -> Path:
    """Writes one page about a model.

    Args:
        path: of the HTML file; side-by-side videos are written next to it.
        title: of the page.
        evaluation: tables, sheets and side-by-side videos.
        workdir: of the training run whose curves are drawn.
        videos: caption -> mp4 file to embed, such as the talking video of a demo.
        notes: paragraphs under the title.

    Returns:
        The path.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = [page.paragraph(note) for note in notes]
    for caption, video in (videos or {}).items():
        parts.append(page.video(video, caption=caption))
    if evaluation is not None:
        parts += list(evaluation_parts(evaluation, path.parent))
    if workdir is not None:
        parts += list(training_parts(workdir))
    temporary = path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)  # never through a link that someone left there
    temporary.write_text(page.page(title, parts), encoding="utf-8")
    temporary.replace(path)
    return path


def evaluation_parts(evaluation: Evaluation, folder: Path) -> Iterator[str]:
    """Yields the parts of a page about an evaluation; videos are also written to `folder`."""
    facts = evaluation.facts
    yield page.heading("What was measured")
    yield page.paragraph(
        f"{facts['clips']} clips ({facts['frames']} frames) of {facts['split']}, speakers "
        f"{', '.join(facts['speakers']) or 'unknown'}, crops of {facts['crop_pixels']} pixels."
    )
    reader = facts["lip_reader"]
    yield page.paragraph(
        f"Lips are read by {reader['name']}"
        + (
            f"; on real crops its LMD to the stored landmarks is "
            f"{reader['lmd_to_stored_landmarks']:.2f} and its r "
            f"{reader['r_to_stored_landmarks']:.2f}, where a motionless mouth has "
            f"{reader['mean_mouth_lmd_there']:.2f}."
            if "lmd_to_stored_landmarks" in reader
            else "."
        ),
        note=True,
    )
    for frames, name in table.FRAMES.items():
        yield page.heading(f"Table, {name}")
        yield page.table(
            ["", *table.COLUMNS.values()],
            [
                [row, *(table.cell(columns[c][frames], c) for c in table.COLUMNS)]
                for row, columns in evaluation.table.items()
            ],
            strong=rows.MODEL,
        )
    yield page.paragraph(_MEANING, note=True)
    if evaluation.differences:
        yield page.heading("Differences, paired by clip, all frames")
        yield page.table(
            ["", *table.COLUMNS.values()],
            [
                [name, *(table.cell(columns[c]["all"], c) for c in table.COLUMNS)]
                for name, columns in evaluation.differences.items()
            ],
        )
    if (quoted := evaluation.as_released) is not None:
        yield page.heading(f"Table {quoted.title}")
        lines: list[list[page.Cell]] = [[line[0][0], *line[1:]] for line in quoted.lines()]
        yield page.table(quoted.header(), lines, strong=rows.MODEL)
        yield from (page.paragraph(remark, note=True) for remark in quoted.remarks())
    openings = [*evaluation.opening.items()]
    closures = [(f"lips meet in /p b m/, {row}", v) for row, v in evaluation.closures.items()]
    if openings or closures:
        yield page.heading("Opening and closing")
        both = [(f"opening (mouth widths), {name}", v) for name, v in openings] + closures
        yield page.table(["", "value"], [[name, table.cell(v, "r")] for name, v in both])
    if evaluation.examples:
        yield page.heading("Clips")
    for example in evaluation.examples:
        yield page.picture(draw.jpeg(sheet(example)), caption=f"clip {example.id}", wide=True)
        video = folder / f"side_by_side_{_file_name(example.id)}.mp4"
        write_video(video, side_by_side_frames(example), fps=example.fps, sound=example.sound)
        yield page.video(video, caption=f"clip {example.id}, with its own sound")


def _file_name(text: str) -> str:
    name = "".join(c if c.isalnum() or c in "-_" else "_" for c in text)
    return name.encode("utf-8", "replace")[:150].decode("utf-8", "ignore")


def _shown_rows(example: Example) -> dict[str, UInt8[np.ndarray, "T S S 3"]]:
    return {row: example.mouths[row] for row in _SHOWN if row in example.mouths}


def sheet(example: Example) -> UInt8[np.ndarray, "H W 3"]:
    """Some frames of every shown row, evenly spread over the clip."""
    shown = _shown_rows(example)
    length = len(next(iter(shown.values())))
    return draw.contact_sheet(shown, every=max(1, -(-length // _SHEET_FRAMES)))


def side_by_side_frames(example: Example) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """Yields labelled frames: truth, model, wrong sound, and the model's mouth in the face."""
    shown = dict(list(_shown_rows(example).items())[:4])
    for t in range(len(next(iter(shown.values())))):
        panels = {row: mouths[t] for row, mouths in shown.items()}
        if example.faces is not None:
            panels["model in the face"] = example.faces[t]
        yield draw.side_by_side(panels, height=_PANEL)


def training_parts(workdir: Path) -> Iterator[str]:
    """Yields the training curves of a run: one plot per quantity, "eval/l1" drawn with "l1"."""
    plots: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in read_metrics(Path(workdir)):
        for name, value in row.items():
            if name != "step" and isinstance(value, int | float):
                quantity = name.removeprefix("eval/").removeprefix("train/")
                quantity = "health" if name.startswith("health/") else quantity
                curve = plots.setdefault(quantity, {}).setdefault(name, [])
                curve.append((row["step"], value))
    if plots:
        yield page.heading("Training curves")
    for quantity, curves in sorted(plots.items()):
        arrays = {name: tuple(np.array(curve, float).T) for name, curve in curves.items()}
        drawn = draw.line_plot(arrays, title=quantity, x_label="step")
        yield page.picture(drawn, caption=quantity)
