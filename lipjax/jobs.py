# SPDX-License-Identifier: Apache-2.0
"""The jobs as the command line calls them: train a config, load what was trained."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, UInt8
from ml_collections import ConfigDict

from lipjax import build
from lipjax.data.reading import open_corpus
from lipjax.data.schema import Clip
from lipjax.data.views import clip_log_mel, cut_log_mel
from lipjax.errors import ConfigError
from lipjax.evaluate import Speak, evaluate
from lipjax.media import draw
from lipjax.metrics.results import Evaluation
from lipjax.report import write_report
from lipjax.speakers import chunks
from lipjax.speakers.contract import Speaker
from lipjax.training import loop
from lipjax.training.checkpoints import load_params

CONFIG = "config.json"
_PREVIEWED = 4  # clips in a preview


def train(config: ConfigDict, workdir: Path, *, start: Path | None = None) -> loop.TrainResult:
    """Trains what a config describes; the same call again resumes.

    Args:
        config: as a file in configs/ returns it.
        workdir: folder of checkpoints, `model.json`, `metrics.jsonl`, event files and previews.
        start: workdir of another run whose parameters alone are taken over.

    Raises:
        ConfigError: settings that cannot work, or a workdir that holds another run.
        CorpusError: a corpus that cannot be opened.
    """
    workdir = Path(workdir)
    corpora = build.corpora_of(config)
    task = build.task_of(config)
    windows = build.windows_of(config, task, corpora, "train")
    held_out = _held_out(config, task, corpora, windows)
    build.save_description(workdir, build.describe(config, corpora))
    (workdir / CONFIG).write_text(config.to_json_best_effort(indent=2) + "\n", encoding="utf-8")
    settings = config.train
    return loop.train(
        task,
        windows,
        workdir=workdir,
        steps=settings.steps,
        log_every=settings.log_every,
        eval_batches=held_out,
        eval_every=settings.eval_every,
        checkpoint_every=settings.checkpoint_every,
        preview=_Preview(build.speaker_of(build.load_description(workdir)), held_out[0]),
        preview_every=settings.preview_every,
        seed=config.seed,
        from_checkpoint=start,
        shards=settings.shards,
    )


def to_pixels(video: Float[np.ndarray, "*T H W 3"]) -> UInt8[np.ndarray, "*T H W 3"]:
    """Maps floats in [-1, 1] to uint8 pictures; what lies outside is clipped."""
    return np.clip(np.round((video + 1.0) * 127.5), 0, 255).astype(np.uint8)


def _held_out(config: ConfigDict, task: Any, corpora: list, windows: Any) -> list:
    """Windows of the val split, else of test, else of train where a corpus has no other."""
    for split in ("val", "test"):
        if all(split in corpus.splits for corpus in corpora):
            source = build.windows_of(config, task, corpora, split)
            return source.examples(config.train.eval_windows)
    return windows.examples(config.train.eval_windows)


class _Preview:
    """Draws what the model makes of fixed held-out windows: real above generated."""

    def __init__(self, speaker: Speaker, batch: Mapping[str, np.ndarray]):
        self._batch = {name: value[:_PREVIEWED] for name, value in batch.items()}
        self._speaker = speaker
        self._speak = jax.jit(self._generate)

    def _generate(self, params: Any, identity: Any, log_mel: Any) -> Any:
        carry = self._speaker.begin(params, identity / 127.5 - 1.0)
        frames, _ = self._speaker.step(params, carry, log_mel, None)
        return frames

    def __call__(self, params: Any, step: int) -> dict[str, np.ndarray]:
        batch = self._batch
        made = np.asarray(
            self._speak(params, batch["identity"].astype(np.float32), batch["log_mel"])
        )
        made = to_pixels(made)
        rows = {}
        for number, (real, fake) in enumerate(zip(batch["video"], made, strict=True), start=1):
            rows[f"{number} real"] = real
            rows[f"{number} generated"] = fake
        frames = [
            np.concatenate([np.concatenate([r, f], 0) for r, f in pair], 1)
            for pair in zip(
                *(list(zip(r, f, strict=True)) for r, f in zip(batch["video"], made, strict=True)),
                strict=True,
            )
        ]
        return {"sheet": draw.contact_sheet(rows), "talking": np.stack(frames)}


def load_speaker(workdir: Path) -> tuple[Speaker, Any]:
    """Loads a trained model, ready to talk.

    Args:
        workdir: folder of a training run.

    Returns:
        The speaker and its parameters (the averaged ones of the best checkpoint).

    Raises:
        ConfigError: no trained model there.
    """
    speaker = build.speaker_of(build.load_description(workdir))
    loaded = load_params(Path(workdir))
    return speaker, {
        "params": loaded["params"]["generator"],
        "batch_stats": loaded["stats"]["generator"],
    }


def speak_of(speaker: Speaker, params: Any) -> Speak:
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
    show: Callable[[str], None] = lambda line: print(line, flush=True),
) -> Evaluation:
    """Evaluates a trained workdir and writes table, JSON, report page and videos.

    Args:
        workdir: folder of a training run.
        split: of the corpus.
        corpus: another corpus than the one trained on.
        clips: at most this many clips, spread over the speakers.
        out: folder of the report; WORKDIR/eval/SPLIT if not given.
        show: prints a line.

    Raises:
        ConfigError: no trained model in the workdir.
        CorpusError: the corpus cannot be opened or has no such split.
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
