# SPDX-License-Identifier: Apache-2.0
"""The jobs as the command line calls them: load what was trained, evaluate it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lipjax import build
from lipjax.data.checked import MAX_BAD_FRACTION
from lipjax.data.reading import open_corpus
from lipjax.data.schema import Clip
from lipjax.data.views import clip_log_mel, cut_log_mel
from lipjax.errors import ConfigError
from lipjax.evaluate import evaluate
from lipjax.media.image import to_pixels
from lipjax.metrics.results import Evaluation
from lipjax.report import write_report
from lipjax.speakers import chunks
from lipjax.speakers.contract import Speaker
from lipjax.stage_evaluation.job import FAMILIES, evaluate_stage
from lipjax.training.checkpoints import load_params


def load_speaker(workdir: Path) -> tuple[Speaker, Any]:
    """Loads a trained model, ready to talk.

    Args:
        workdir: folder of a training run, or of an exported model.

    Returns:
        The speaker and its parameters (the averaged ones of the best checkpoint).

    Raises:
        ConfigError: no trained model there, or its description and checkpoint do not fit.
    """
    speaker = build.speaker_of(build.load_description(workdir))
    loaded = load_params(Path(workdir))
    if "generator" not in loaded["params"]:
        raise ConfigError(f"{workdir}: its checkpoint holds no generator")
    params = {
        "params": loaded["params"]["generator"],
        "batch_stats": loaded["stats"]["generator"],
    }
    _check_fit(speaker, params, workdir)
    return speaker, params


def _check_fit(speaker: Speaker, params: Any, workdir: Path) -> None:
    """Finds out from shapes alone whether the network described takes these parameters.

    Raises:
        ConfigError: it does not.
    """
    needs = speaker.needs
    size, frames = needs.mouth_size, needs.chunk + 2 * needs.reach
    columns = needs.columns_in(frames + 2 * needs.sound_context)

    def talk(params: Any, target: Any, sound: Any, chunk: Any) -> Any:
        return speaker.step(params, speaker.begin(params, target), sound, chunk)[0]

    picture = jax.ShapeDtypeStruct((1, 1, size, size, 3), np.float32)
    sound = jax.ShapeDtypeStruct((1, columns, needs.log_mel.bands), np.float32)
    film = jax.ShapeDtypeStruct((1, frames, size, size, 3), np.float32)
    try:
        jax.eval_shape(talk, params, picture, sound, None if needs.target == "picture" else film)
    except Exception as error:  # noqa: BLE001  Flax and JAX raise anything where shapes differ
        raise ConfigError(
            f"{workdir}: {build.MODEL} and the checkpoint are not of one network "
            f"({' '.join(str(error).split())[:300]})"
        ) from error


def speak_of(speaker: Speaker, params: Any) -> Callable[[Clip, np.ndarray, Clip], np.ndarray]:
    """Returns the function by which evaluation knows a system that needs one picture.

    Args:
        speaker: a trained system with target "picture".
        params: its parameters.

    Raises:
        ConfigError: the system needs more than a picture.
    """
    needs = speaker.needs
    if needs.target != "picture":
        raise ConfigError(f"evaluation gives one picture, this model needs a {needs.target}")

    def speak(clip: Clip, identity: np.ndarray, sound: Clip) -> np.ndarray:
        beyond = needs.sound_context / needs.fps
        feature = clip_log_mel(sound, needs.log_mel)
        stop = clip.num_frames / needs.fps + beyond
        heard = cut_log_mel(feature, -beyond, stop, needs.log_mel)
        target = identity.astype(np.float32)[None, None] / 127.5 - 1.0
        video = chunks.speak(speaker, params, target, heard[None], surplus=needs.sound_context)
        return to_pixels(video[0])

    return speak


def evaluate_workdir(
    workdir: Path,
    *,
    split: str,
    corpus: Path | None = None,
    clips: int | None = None,
    out: Path | None = None,
    as_released: bool = False,
    max_bad_fraction: float = MAX_BAD_FRACTION,
    show: Callable[[str], None] = lambda line: print(line, flush=True),
) -> Evaluation:
    """Evaluates a trained workdir and writes table, JSON, report page and videos.

    Args:
        workdir: folder of a training run.
        split: of the corpus.
        corpus: another corpus than the one trained on.
        clips: at most this many clips, spread over the speakers.
        out: folder of the report; WORKDIR/eval/SPLIT if not given.
        as_released: also score by the definitions of the authors' 2018 code.
        max_bad_fraction: share of a split's clips that may turn out to be unusable.
        show: prints a line.

    Returns:
        All tables; `value(row, column)` is a mean, `text()` what the console shows.

    Raises:
        ConfigError: no trained model in the workdir.
        CorpusError: the corpus cannot be opened or has no such split.

    Example:
        >>> evaluation = lipjax.evaluate_workdir(Path("runs/demo"), split="test")  # doctest: +SKIP
    """
    workdir = Path(workdir)
    out = workdir / "eval" / split if out is None else Path(out)
    description = build.load_description(workdir)
    opened = open_corpus(Path(description["corpora"][0]) if corpus is None else corpus)
    speaker, params = load_speaker(workdir)
    evaluation = evaluate(
        speak_of(speaker, params),
        opened,
        split,
        out_dir=out,
        size=speaker.needs.mouth_size,
        max_clips=clips,
        as_released=as_released,
        max_bad_fraction=max_bad_fraction,
        log=show,
    )
    show(evaluation.text())
    page = write_report(
        out / "report.html",
        title=f"{workdir.name} on {split}",
        evaluation=evaluation,
        workdir=workdir,
    )
    show(f"see {page}")
    return evaluation


def evaluate_run(workdir: Path, *, as_released: bool = False, **options: Any) -> None:
    """Evaluates any trained workdir: one that talks, or an earlier stage.

    Args:
        workdir: folder of a training run.
        as_released: as in `evaluate_workdir`; not for an earlier stage.
        options: the other arguments of `evaluate_workdir`.

    Raises:
        ConfigError: no trained model in the workdir, or `as_released` for an earlier stage.
        CorpusError: the corpus cannot be opened, has no such split or lacks what it needs.
    """
    family = build.load_description(workdir)["family"]
    if family not in FAMILIES:
        evaluate_workdir(workdir, as_released=as_released, **options)
        return
    if as_released:
        raise ConfigError(
            f"{workdir} holds an earlier stage, a model of family {family!r}: there is no table "
            "as released for it; leave out --as-released"
        )
    evaluate_stage(workdir, **options)
