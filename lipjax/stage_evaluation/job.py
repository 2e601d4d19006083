# SPDX-License-Identifier: Apache-2.0
"""The whole job: every clip of a split through a trained earlier stage, table and page."""

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from lipjax import build
from lipjax.data.checked import MAX_BAD_FRACTION, CheckedClips
from lipjax.data.reading import Corpus, open_corpus
from lipjax.data.schema import Clip
from lipjax.data.views import ClipViews, Streams
from lipjax.errors import ConfigError, CorpusError
from lipjax.evaluate import spread
from lipjax.media import draw, page
from lipjax.media.log_mel import LogMel
from lipjax.report import training_parts
from lipjax.stage_evaluation.contract import Family, Measured
from lipjax.stage_evaluation.optical_flow import FlowFamily
from lipjax.stage_evaluation.perceptual import PerceptualFamily
from lipjax.stage_evaluation.result import NETWORK, ClipValues, StageEvaluation, summarise
from lipjax.training.checkpoints import load_params

Show = Callable[[str], None]
FAMILIES: Mapping[str, Callable[..., Family]] = {
    "optical_flow": FlowFamily,
    "perceptual": PerceptualFamily,
}
"""Family in `model.json` -> how such a network is measured."""
_DRAWN = 4


def evaluate_stage(
    workdir: Path,
    *,
    split: str,
    corpus: Path | None = None,
    clips: int | None = None,
    out: Path | None = None,
    max_bad_fraction: float = MAX_BAD_FRACTION,
    show: Show = lambda line: print(line, flush=True),
) -> StageEvaluation:
    """Evaluates the workdir of an earlier stage and writes table, JSON and report page.

    Args:
        workdir: of a run whose family is one of `FAMILIES`.
        split: of the corpus.
        corpus: another corpus than the one trained on.
        clips: at most this many clips, spread over the speakers.
        out: folder of the report; WORKDIR/eval/SPLIT if not given.
        max_bad_fraction: share of the split's clips that may turn out to be unusable.
        show: prints a line.

    Returns:
        All that was measured.

    Raises:
        ConfigError: no trained model of such a family in the workdir.
        CorpusError: the corpus cannot be opened, has no such split, lacks what was derived for
            the stage, or has no clip that can be measured.
    """
    workdir = Path(workdir)
    out = workdir / "eval" / split if out is None else Path(out)
    description = build.load_description(workdir)
    if description["family"] not in FAMILIES:
        raise ConfigError(f"{workdir}: a model of family {description['family']!r} is no stage")
    opened = open_corpus(Path(description["corpora"][0]) if corpus is None else corpus)
    family = FAMILIES[description["family"]](description, load_params(workdir))
    evaluation = evaluate(
        family,
        description,
        opened,
        split,
        max_clips=clips,
        max_bad_fraction=max_bad_fraction,
        show=show,
    )
    evaluation.save(out)
    show(evaluation.text())
    path = out / "report.html"
    parts = [*_parts(evaluation, family.caption), *training_parts(workdir)]
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(page.page(f"{workdir.name} on {split}", parts), encoding="utf-8")
    temporary.replace(path)
    show(f"see {path}")
    return evaluation


def evaluate(
    family: Family,
    description: Mapping[str, Any],
    corpus: Corpus,
    split: str,
    *,
    max_clips: int | None = None,
    max_bad_fraction: float = MAX_BAD_FRACTION,
    show: Show = lambda line: None,
) -> StageEvaluation:
    """Measures a network on whole clips; clips that cannot be measured are told and counted.

    Args:
        family: the network.
        description: `model.json` of its run.
        corpus: prepared corpus.
        split: of it.
        max_clips: at most this many clips, spread over the speakers.
        max_bad_fraction: share of the split's clips that may turn out to be unusable.
        show: prints a line.

    Raises:
        CorpusError: as `evaluate_stage`.
    """
    began = time.monotonic()
    clips = CheckedClips(corpus, split, max_bad_fraction=max_bad_fraction, log=show)
    speakers = list(clips.index.speaker)
    chosen = spread(speakers, max_clips)
    streams = Streams(
        description["mouth_size"], LogMel(**description["log_mel"]), fps=description["fps"]
    )
    sides = {name: corpus.derived(name, split) for name in family.derived}
    done: list[ClipValues] = []
    drawn: list[Measured] = []
    drawable = spread(speakers, _DRAWN)

    def measure(clip: Clip, number: int) -> tuple[ClipValues, Measured]:
        derived = {name: partial(side.__getitem__, number) for name, side in sides.items()}
        measured = family.measure(ClipViews(clip, streams, derived))
        return ClipValues(clip.id, clip.speaker, measured.count, measured.rows), measured

    for number in chosen:
        made = clips.use(number, partial(measure, number=number))
        if made is None:
            continue
        values, measured = made
        done.append(values)
        if number in drawable or not drawn:
            drawn.append(measured)
        left = (time.monotonic() - began) / len(done) * (len(chosen) - len(clips.bad) - len(done))
        show(f"evaluated {len(done) + len(clips.bad)} of {len(chosen)} clips, {left:.0f} s left")
    if not done:
        raise CorpusError(f"{corpus.directory}: no clip of {split!r} can be measured")
    table, differences = summarise(done, family.columns)
    return StageEvaluation(
        facts={
            "family": description["family"],
            "corpus": corpus.directory.name,
            "split": split,
            "clips": len(done),
            "clips_left_out": clips.left_out,
            "counted": sum(clip.count for clip in done),
            "unit": family.unit,
            "speakers": sorted({clip.speaker for clip in done}),
            "crop_pixels": description["mouth_size"],
            "seconds": time.monotonic() - began,
        },
        columns=family.columns,
        table=table,
        differences=differences,
        clips=done,
        sheet=family.sheet(drawn),
        notes=family.notes,
    )


def _parts(evaluation: StageEvaluation, caption: str) -> Iterator[str]:
    """The parts of a page about an evaluation."""
    facts = evaluation.facts
    yield page.heading("What was measured")
    speakers = ", ".join(facts["speakers"]) or "unknown"
    yield page.paragraph(f"{evaluation.about()}; speakers {speakers}.")
    lines: list[list[page.Cell]] = [[line[0][0], *line[1:]] for line in evaluation.lines()]
    yield page.table(evaluation.header(), lines, strong=NETWORK)
    for note in evaluation.notes:
        yield page.paragraph(note, note=True)
    yield page.paragraph("Small numbers are 95 % intervals, bootstrap by clip.", note=True)
    yield page.heading("Clips")
    yield page.picture(draw.png(evaluation.sheet), caption=caption, wide=True)
