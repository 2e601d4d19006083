# SPDX-License-Identifier: Apache-2.0
"""Train: one stage, or a recipe of stages in order, each of which resumes and is done once."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from lipjax import build, previews
from lipjax.data.derive import derive
from lipjax.data.reading import Corpus
from lipjax.errors import CorpusError
from lipjax.tasks.contract import Task
from lipjax.training import loop
from lipjax.training.logging import write_whole
from lipjax.training.processes import wait_for_all

CONFIG = "config.json"
Show = Callable[[str], None]


def _print(line: str) -> None:
    if jax.process_index() == 0:
        print(line, flush=True)


def train(config: ConfigDict, workdir: Path, *, start: Path | None = None) -> loop.TrainResult:
    """Trains what a config describes; the same call again resumes.

    Args:
        config: of one stage: as a file in configs/ returns it (the last stage), or one of its
            earlier stages by `build.stage_of`.
        workdir: folder of checkpoints, `model.json`, `metrics.jsonl`, event files and previews.
        start: workdir of another run whose parameters alone are taken over.

    Raises:
        ConfigError: settings that cannot work, a workdir that holds another run, is in use by
            one or cannot be written, or an earlier stage that is not trained.
        WorkdirError: the disk failed while training.
        CorpusError: a corpus that cannot be opened, or lacks what must be derived first.
    """
    workdir = Path(workdir)
    corpora = build.corpora_of(config)
    given = build.load_given(config, workdir)
    task = build.task_of(config, given)
    windows = build.windows_of(config, task, corpora, "train")
    held_out = _held_out(config, task, corpora, windows)
    description = build.describe(config, corpora)

    def describe() -> None:
        build.save_description(workdir, description)
        write_whole(workdir / CONFIG, config.to_json_best_effort(indent=2) + "\n")

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
        preview=_preview(config, description, task, held_out[0]),
        preview_every=settings.preview_every,
        seed=config.seed,
        given={name: dict(network.variables) for name, network in given.items()},
        from_checkpoint=start,
        shards=settings.shards,
        max_skipped=settings.max_skipped,
        describe=describe,
    )


def train_recipe(
    config: ConfigDict, workdir: Path, *, start: Path | None = None, show: Show = _print
) -> None:
    """Trains the stages that a config's losses need, then the config itself, in order.

    What is done is skipped, what was interrupted resumes. Earlier stages lie in
    WORKDIR/stages/NAME unless the config's `given` names a run for them.

    Args:
        config: of the last stage.
        workdir: its folder.
        start: workdir of another run that the last stage starts from.
        show: prints a line.

    Raises:
        ConfigError: as `train`.
        CorpusError: as `train`.

    Example:
        >>> words = ["--config.data.dirs=corpus"]
        >>> config = lipjax.load_config("at_a_glance.py:demo", overrides=words)
        >>> lipjax.train_recipe(config, Path("runs/demo"))  # doctest: +SKIP
    """
    workdir = Path(workdir)
    names = build.given_names(config)
    plan = [*names, "generator"]
    show(f"recipe: {', then '.join(plan)}")
    for name in names:
        number = f"stage {plan.index(name) + 1} of {len(plan)}, {name}"
        if config.given[name]:
            show(f"== {number}: taken from {config.given[name]}")
            continue
        stage = build.stage_of(config, name)
        train_stage(stage, workdir / "stages" / name, title=number, show=show)
    train_stage(
        config,
        workdir,
        start=start,
        title=f"stage {len(plan)} of {len(plan)}, generator",
        show=show,
    )


def train_stage(
    config: ConfigDict,
    workdir: Path,
    *,
    title: str,
    start: Path | None = None,
    show: Show = _print,
) -> None:
    """Trains one stage unless it is done, deriving first what its corpora lack.

    Args:
        config: of the stage.
        workdir: its folder.
        title: how it is announced.
        start: as for `train`.
        show: prints a line.
    """
    done = steps_done(workdir)
    if done >= config.train.steps:
        show(f"== {title}: done already ({done} steps in {workdir})")
        return
    if config.task == "optical_flow":
        if jax.process_index() == 0:
            for corpus in build.corpora_of(config):
                _derive_flow(corpus, config.data.mouth_size, show)
        wait_for_all("derived optical flow")
    show(f"== {title}: {config.train.steps} steps, in {workdir}")
    train(config, workdir, start=start)


def steps_done(workdir: Path) -> int:
    """Steps of the run in a workdir that ended, 0 if none has."""
    file = Path(workdir) / "progress.json"
    return int(json.loads(file.read_text(encoding="utf-8"))["step"]) if file.is_file() else 0


def _derive_flow(corpus: Corpus, size: int, show: Show) -> None:
    try:
        for split in corpus.splits:
            corpus.derived("flow", split)
    except CorpusError as error:
        show(f"deriving optical flow: {error}")
        derive("flow", corpus.directory, size=size, show=show)


def _held_out(config: ConfigDict, task: Task, corpora: list[Corpus], windows: Any) -> list:
    """Windows of the val split, else of test, else of train where a corpus has no other."""
    for split in ("val", "test"):
        if all(split in corpus.splits for corpus in corpora):
            source = build.windows_of(config, task, corpora, split)
            return source.examples(config.train.eval_windows)
    return windows.examples(config.train.eval_windows)


def _preview(
    config: ConfigDict, description: Mapping[str, Any], task: Any, batch: Mapping[str, Any]
) -> previews.Preview:
    if config.task == "optical_flow":
        return previews.flows(task.network, batch)
    if config.task == "perceptual":
        return previews.reconstructions(task.network, batch)
    return previews.talking(build.speaker_of(description), batch)
