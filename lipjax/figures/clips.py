# SPDX-License-Identifier: Apache-2.0
"""Generated frames under the real ones, speaker by speaker: the poster's Fig. 4."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lipjax import build
from lipjax.data.checked import CheckedClips
from lipjax.data.reading import Corpus, open_corpus
from lipjax.data.schema import MISSING, Clip
from lipjax.data.views import resize
from lipjax.errors import ConfigError, CorpusError
from lipjax.evaluate import spread
from lipjax.evaluation import rows
from lipjax.figures.parts import (
    Model,
    Show,
    check_out,
    load_models,
    loudness_under,
    save,
    spread_frames,
)
from lipjax.jobs import speak_of
from lipjax.media.audio import Sound
from lipjax.media.plates import Block, plate


def rows_figure(
    workdirs: Sequence[Path],
    out: Path,
    *,
    split: str = "test",
    corpus: Path | None = None,
    clips: int = 4,
    frames: int = 16,
    show: Show = print,
) -> Path:
    """Draws real frames above what each model makes of the same sound.

    As in an evaluation a clip is made whole from one picture, the first frame of another clip of
    its speaker where there is one. Clips are taken in turn from all speakers and frames evenly
    between the first and the last that are spoken: neither is chosen by what it looks like.

    Args:
        workdirs: of one or more trained runs.
        out: the PNG to write.
        split: of the corpus.
        corpus: another corpus than the one the first run was trained on.
        clips: how many.
        frames: of each clip, at most.
        show: gets a line at the end.

    Returns:
        The path of the PNG.

    Raises:
        ConfigError: something that cannot work; found before anything is made.
        CorpusError: the corpus cannot be opened, or no clip of the split has landmarks.
    """
    out = Path(out)
    check_out(out)
    models = load_models(workdirs)
    if corpus is None:
        corpus = Path(build.load_description(Path(workdirs[0]))["corpora"][0])
    opened = open_corpus(corpus)
    stored = CheckedClips(opened, split, log=show)
    if clips < 1 or frames < 1:
        raise ConfigError(f"a figure needs clips and frames, at least 1 (got {clips}, {frames})")
    blocks = []
    for number in spread(list(stored.index.speaker), clips):
        clip = stored.get(number)
        if clip is None:
            continue
        if np.all(clip.landmark_status == MISSING):
            show(f"{clip.id} has no landmarks and is left out")
            continue
        other = stored.first(rows.partners(stored.index, number))
        blocks.append(_block(models, clip, other, frames))
    if not blocks:
        raise CorpusError(f"{opened.directory}: no clip of {split!r} has landmarks")
    save(out, plate(blocks, note=_note(opened, split, workdirs)))
    show(f"{out}: {len(blocks)} clips of {split}")
    return out


def _block(models: Sequence[Model], clip: Clip, other: Clip | None, frames: int) -> Block:
    spoken = np.flatnonzero(rows.speech_frames(clip))
    first, last = (spoken[0], spoken[-1]) if len(spoken) else (0, clip.num_frames - 1)
    chosen = spread_frames(int(first), int(last), frames)
    times = (chosen + 0.5) / clip.fps
    size = max(model.speaker.needs.mouth_size for model in models)
    shown = {"real": resize(clip.mouth[chosen], size)}
    for model in models:
        identity, _ = rows.identity_of(clip, other, model.speaker.needs.mouth_size)
        shown[model.name] = speak_of(model.speaker, model.params)(clip, identity, clip)[chosen]
    picture, own = rows.identity_of(clip, other, size)
    return Block(
        title=clip.id,
        picture=picture,
        caption="given: another clip's frame" if own is None else f"given: its own frame {own}",
        rows=shown,
        times=times.tolist(),
        words=_words(clip, times),
        sentence=clip.sentence,
        loudness=loudness_under(
            Sound(clip.sound, clip.sound_rate, clip.sound_start), times, step=1 / clip.fps
        ),
    )


def _words(clip: Clip, times: np.ndarray) -> list[str]:
    """The word at each time; none at all where the corpus knows no words."""
    words = [span for span in clip.spans if span.kind == "word"]
    return [
        next((word.text for word in words if word.start <= time < word.end), "") for time in times
    ]


def _note(opened: Corpus, split: str, workdirs: Sequence[Path]) -> str:
    runs = ", ".join(Path(workdir).resolve().name for workdir in workdirs)
    return (
        f"Run{'s' * (len(workdirs) > 1)} {runs}; corpus {opened.directory.resolve().name}, split "
        f"{split}. Every row below the real one is generated from the one picture at the left and "
        "the sound. Clips are taken in turn from all speakers, frames evenly from the first to "
        "the last that is spoken; nothing is chosen by result."
    )
