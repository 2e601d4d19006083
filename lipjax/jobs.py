# SPDX-License-Identifier: Apache-2.0
"""The jobs as the command line calls them: train a config, load what was trained."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from lipjax import build
from lipjax.media import draw
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
        made = np.clip(np.round((made + 1.0) * 127.5), 0, 255).astype(np.uint8)
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


def training_rows(workdir: Path) -> list[dict[str, float]]:
    """Reads the logged rows of a run's `metrics.jsonl`."""
    path = Path(workdir) / "metrics.jsonl"
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
