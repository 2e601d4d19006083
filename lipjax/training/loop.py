# SPDX-License-Identifier: Apache-2.0
"""Training from the first step to the last, in a straight line.

The loop knows a task only through its contract and data only as `batch(step)`. The order of
operations after a step is fixed, because resuming depends on it: log, evaluate, write the row,
preview, save. Whatever a checkpoint of step s holds was logged before it was written.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lipjax.errors import TrainingError
from lipjax.state import State
from lipjax.tasks.contract import Task
from lipjax.training import sharding
from lipjax.training.checkpoints import FOLDER, Checkpoints
from lipjax.training.compiling import use_compile_cache
from lipjax.training.feeding import HostBatch, Windows, best_of, device_batches, mean_scores
from lipjax.training.health import Health, check_patience, given_up
from lipjax.training.interrupt import Stop
from lipjax.training.logging import MetricWriter, NoWriter, write_json
from lipjax.training.processes import end_if_one_of_several, wait_for_all
from lipjax.training.programs import programs_of
from lipjax.training.progress import Progress, duration
from lipjax.training.rows import plain, shown_terms, summary
from lipjax.training.start import StartReport, check_start, start_from
from lipjax.training.workdir import check_room, claims_workdir, closing, on_first

Preview = Callable[[Any, int], Mapping[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """What a run leaves behind, besides its workdir.

    Attributes:
        state: after the last step, on the devices.
        metrics: the last row of `metrics.jsonl` that this call wrote, or {}.
        evaluation: means of the last evaluation of this call, or {}.
        best: lowest value of the task's metric so far, or None.
        best_step: step of it, or None.
        compile_seconds: time to compile the training step.
        steps_per_second: of this call, without compilation, evaluation and previews.
        windows_per_second: likewise.
        start: report of the parameters taken from another run, or None.
    """

    state: State
    metrics: Mapping[str, float | int | None]
    evaluation: Mapping[str, float | int]
    best: float | None
    best_step: int | None
    compile_seconds: float
    steps_per_second: float
    windows_per_second: float
    start: StartReport | None


@claims_workdir
def train(
    task: Task,
    windows: Windows,
    *,
    workdir: Path,
    steps: int,
    log_every: int = 50,
    eval_batches: Sequence[HostBatch] = (),
    eval_every: int = 1_000,
    checkpoint_every: int = 1_000,
    preview: Preview | None = None,
    preview_every: int = 1_000,
    seed: int = 0,
    given: Mapping[str, Any] | None = None,
    from_checkpoint: Path | None = None,
    devices: Sequence[jax.Device] | None = None,
    shards: int = 1,
    keep_latest: int = 2,
    keep_best: int = 1,
    max_skipped: int = 50,
    compile_cache: Path | None = None,
    describe: Callable[[], None] | None = None,
    show: Callable[[str], None] = lambda line: print(line, flush=True),
) -> TrainResult:
    """Trains a task, or goes on with a run that stopped, from the same workdir.

    Args:
        task: networks, losses and steps.
        windows: training data.
        workdir: folder of the run; checkpoints in it are resumed from.
        steps: of the whole run, those of earlier calls included.
        log_every: steps per row of `metrics.jsonl`, which holds means over them.
        eval_batches: fixed examples, each batch held whole by every process; the last may be
            smaller. Each example counts once.
        eval_every: steps between evaluations; the last step is always evaluated.
        checkpoint_every: steps between checkpoints; the best and the last step are saved besides.
        preview: (speaker parameters, step) -> name -> uint8 picture (H W 3) or video (T H W 3).
        preview_every: steps between previews; the last step always has one.
        seed: of the initial parameters and of the run's randomness.
        given: name -> frozen parameters of earlier stages.
        from_checkpoint: workdir or checkpoint of another run, whose parameters alone a new run
            starts from.
        devices: to train on; all if None.
        shards: devices that share one copy of the parameters.
        keep_latest: newest checkpoints to keep.
        keep_best: best checkpoints to keep.
        max_skipped: updates in a row that may be skipped because of non-finite numbers.
        compile_cache: folder for compiled programs, or None.
        describe: writes what else the workdir holds, once it belongs to this run; called by
            process 0.
        show: prints a line on the console.

    Returns:
        The trained state and a summary.

    Raises:
        ConfigError: settings that cannot work, or a workdir that holds a different run, is in
            use by another one, or cannot be written.
        WorkdirError: the disk failed while training; earlier checkpoints are whole.
        TrainingError: `max_skipped` updates in a row were skipped.
        KeyboardInterrupt: after SIGINT, once the state is saved.
        SystemExit: with code 143 after SIGTERM, once the state is saved.
    """
    workdir = Path(workdir)
    check_patience(max_skipped)
    writes = jax.process_index() == 0
    show = show if writes else (lambda line: None)
    if compile_cache is not None:
        use_compile_cache(compile_cache)
    if describe is not None:
        on_first(describe)

    # ---- Mesh, shapes and programs; no memory is taken yet.
    mesh = sharding.make_mesh(devices, shards=shards)
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    first = windows.batch(0)
    batch_size = sharding.check_batch(mesh, first)
    shapes = sharding.global_shapes(mesh, first, size=batch_size)
    # Host copies, because the step donates every array of the state.
    given = jax.tree.map(np.asarray, dict(given or {}))
    programs = programs_of(task, shapes, mesh=mesh, given=given, seed=seed)

    # ---- State: this workdir's own checkpoint, else a new one, perhaps with given parameters.
    checkpoints = Checkpoints(
        workdir / FOLDER, keep_latest=keep_latest, keep_best=keep_best, show=show
    )
    copies = max(1, keep_latest + keep_best + 1 - len(checkpoints.steps))
    if (checkpoints.latest or 0) < steps:
        on_first(lambda: check_room(workdir, programs.state, copies=copies))
    check_start(workdir, from_checkpoint, resumes=checkpoints.latest is not None)
    memory: dict[str, Any] = {"best": None, "best_step": None, "seconds": 0.0, "pending": []}
    report = None
    if checkpoints.latest is not None:
        state, memory = checkpoints.restore(programs.state)
        show(f"resumed from step {checkpoints.latest} of {workdir}")
    else:
        state = programs.init(given)
        if from_checkpoint is not None:
            state, report = start_from(state, from_checkpoint)
            show(report.summary())
    step = int(state.step)
    health = Health.of_run(task, workdir, step=step)
    writer = MetricWriter(workdir, step=step) if writes else NoWriter()
    compile_seconds, train_step = 0.0, programs.train_step
    if step < steps:
        started = time.monotonic()
        train_step = programs.compiled_step()
        compile_seconds = time.monotonic() - started
        show(f"compiled the training step in {duration(compile_seconds)}; {mesh.size} device(s)")
        health.remind(show)

    # ---- Loop.
    progress = Progress(
        steps=steps,
        start=step,
        batch_size=batch_size,
        seconds=memory["seconds"],
        show=show,
    )
    pending: list[Mapping[str, Any]] = list(memory["pending"])
    best, best_step = memory["best"], memory["best_step"]
    row: dict[str, float | int | None] = {}
    evaluation: dict[str, float] = {}
    hopeless: TrainingError | None = None
    batches = device_batches(mesh, windows, step, ahead=0 if on_cpu else 2)
    with Stop() as stop, closing(batches, checkpoints, writer):
        try:
            while step < steps:
                state, metrics = train_step(state, next(batches))
                step += 1
                pending.append(metrics)
                if on_cpu:
                    # Simulated devices deadlock when many steps are under way at once.
                    jax.block_until_ready((state, metrics))
                checkpoints.check()
                last, row, metric = step == steps, {}, None
                # Asked now and then, because every answer waits for the devices.
                every = (log_every, checkpoint_every, max_skipped)
                streak = int(state.streak) if last or any(step % n == 0 for n in every) else 0

                if step % log_every == 0 or last or streak >= max_skipped:
                    row |= summary(jax.device_get(pending), skipped=int(state.skipped))
                    pending = []
                    speed = progress.measure(step)
                    left_out = getattr(windows, "faults", {})  # of this process's rows
                    beside = {f"speed/{name}": v for name, v in speed.items()}
                    writer.scalars(step, beside | {f"data/{n}": v for n, v in left_out.items()})
                    progress.line(step, shown_terms(row), speed)
                elif progress.due():
                    shown = summary(jax.device_get(pending[-1:]), skipped=int(state.skipped))
                    progress.line(step, shown_terms(shown), progress.measure(step))

                began = time.monotonic()
                if eval_batches and (step % eval_every == 0 or last):
                    evaluation = mean_scores(programs.evaluate, mesh, state, eval_batches)
                    metric = best_of(task, evaluation)
                    row |= {f"eval/{name}": value for name, value in evaluation.items()}
                    values = "  ".join(f"{name} {value:.4g}" for name, value in evaluation.items())
                    progress.say(f"step {step}/{steps}  evaluation: {values}")
                flags, told = health.observe(step, row)
                row |= flags
                for line in told:
                    progress.say(f"step {step}/{steps}  {line}")
                improved = metric is not None and (best is None or metric < best)
                if improved:
                    best, best_step = metric, step
                if row:
                    writer.row(step, row)
                if streak >= max_skipped:
                    kept = checkpoints.steps
                    hopeless = given_up(row, streak, step=step, kept=kept, workdir=workdir)
                    break  # so that a save that is under way is completed
                if preview is not None and (step % preview_every == 0 or last):
                    params = programs.speaker_params(state)
                    if writes:
                        # On the host, because the other processes draw nothing.
                        writer.previews(step, preview(jax.device_get(params), step))

                stopping = stop.agreed(step)  # asked for by now, in an evaluation too
                # While updates are skipped there is nothing new, and the last one before stays.
                due = step % checkpoint_every == 0 and streak == 0
                if due or last or improved or stopping:
                    loop = {
                        "best": best,
                        "best_step": best_step,
                        "seconds": progress.seconds,
                        "pending": plain(jax.device_get(pending)),
                    }
                    checkpoints.save(step, state, loop=loop, metric=metric)
                    pending = list(loop["pending"])
                progress.pause(time.monotonic() - began)
                if stopping and not last:
                    show(f"stopped at step {step}; saving")
                    break
        except Exception as error:
            end_if_one_of_several(error)
            raise
    if hopeless is not None:
        raise hopeless
    if step < steps:
        stop.leave()
    health.remind(show)
    rate = progress.overall(step)
    if writes:
        write_json(
            workdir / "progress.json",
            {
                "step": step,
                "seconds": round(progress.seconds, 3),
                "compile_seconds": round(compile_seconds, 3),
                "steps_per_second": rate,
                "windows_per_second": rate * batch_size,
                "best": best,
                "best_step": best_step,
            },
        )
    wait_for_all("the end of a run")  # what comes next may read what process 0 has written
    return TrainResult(
        state=state,
        metrics=row,
        evaluation=evaluation,
        best=best,
        best_step=best_step,
        compile_seconds=compile_seconds,
        steps_per_second=rate,
        windows_per_second=rate * batch_size,
        start=report,
    )
