# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: saved on any number of devices, restored on any other.

Kept are the latest few, to resume from, and the best few by the task's metric. A checkpoint has
its name only while it is whole: it is written under another and renamed at the end, and renamed
before it is deleted. One that is damaged all the same is told, put aside and never restored.
"""

import contextlib
import dataclasses
import functools
import logging
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy as policies

from lipjax.errors import ConfigError
from lipjax.state import State
from lipjax.training import damage
from lipjax.training.disk_errors import first_line, without_orbax, writing
from lipjax.training.processes import largest
from lipjax.training.stored import (
    FOLDER,
    Which,
    find_checkpoint,
    load_params,
    named,
    read,
    saved_shapes,
    unreadable,
)
from lipjax.training.workdir import on_first

__all__ = ["FOLDER", "Checkpoints", "Which", "find_checkpoint", "load_params", "named", "read"]
_DELETED = f"deleted{damage.TEMPORARY}"  # among them: what is about to be deleted


class Checkpoints:
    """The checkpoints of one run; saving goes on in the background.

    Args:
        directory: where they lie, one folder per step.
        keep_latest: newest checkpoints to keep.
        keep_best: checkpoints with the lowest metric to keep besides.
        show: prints a line.

    Raises:
        ConfigError: what lies there is damaged, all of it.
    """

    def __init__(
        self,
        directory: Path,
        *,
        keep_latest: int = 2,
        keep_best: int = 1,
        show: Callable[[str], None] = print,
    ):
        self._root, self._show = Path(directory).absolute(), show
        self._saving: int | None = None  # the last step that was not seen complete
        on_first(self._look_through)
        # With best_fn the metrics are written down; without a policy of our own it would delete
        # the newest checkpoint when its metric is poor.
        best = policies.BestN(
            get_metric_fn=lambda metrics: -metrics["best"],
            n=keep_best,
            keep_checkpoints_without_metrics=False,
        )
        policy = policies.AnyPreservationPolicy([policies.LatestN(n=keep_latest), best])
        logging.getLogger("absl").addFilter(without_orbax)
        self._manager = ocp.CheckpointManager(
            self._root,
            options=ocp.CheckpointManagerOptions(
                best_fn=lambda metrics: metrics["best"],
                best_mode="min",
                preservation_policy=policy,
                todelete_subdir=_DELETED,
            ),
            item_names=("state", "loop"),
        )

    def _look_through(self) -> None:
        """Puts aside what is named like a checkpoint and lacks files; see `damage`."""
        damage.clear_temporary(self._root)
        found = damage.steps_in(self._root)
        lacking = {step: why for step in found if (why := damage.incomplete(found[step]))}
        if lacking and len(lacking) == len(found):
            self._give_up(max(lacking), lacking[max(lacking)])
        for step, why in lacking.items():
            self._put_aside(step, why)

    def _put_aside(self, step: int, why: str) -> None:
        place = damage.set_aside(self._root / str(step))
        older = [other for other in damage.steps_in(self._root) if other < step]
        then = f"the run goes on from step {max(older)}" if older else "newer ones are there"
        self._show(f"WARNING: checkpoint {step} is damaged ({why}); it lies in {place}, and {then}")

    def _give_up(self, step: int, why: str) -> None:
        raise ConfigError(
            f"{self._root / str(step)} is damaged ({why}), and no older checkpoint is there; put "
            f"it back whole from a copy, or delete {self._root} to train from the beginning"
        )

    @property
    def latest(self) -> int | None:
        """The newest step, or None."""
        return self._manager.latest_step()

    @property
    def steps(self) -> list[int]:
        """All steps kept."""
        return sorted(self._manager.all_steps())

    def save(
        self, step: int, state: State, *, loop: Mapping[str, Any], metric: float | None = None
    ) -> None:
        """Saves; returns once the state may be donated, before the files are complete.

        Args:
            step: number of the checkpoint; nothing is done if it is the latest already.
            state: whole.
            loop: what the loop needs to go on, as JSON.
            metric: the lower the better; None or non-finite: never among the best.

        Raises:
            WorkdirError: this or the one before could not be written; earlier ones are whole.
        """
        if step == self.latest:
            return
        metrics = None
        if metric is not None and math.isfinite(metric):
            metrics = {"best": float(metric)}
        self.wait()
        self._saving = step
        with writing(self._root / str(step)):
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state), loop=ocp.args.JsonSave(dict(loop))
                ),
                metrics=metrics,
                force=True,
            )

    def check(self) -> None:
        """Raises as soon as a save in the background has failed; costs nothing otherwise.

        Raises:
            WorkdirError: the checkpoint could not be written; earlier ones are whole.
        """
        if self._saving is None or jax.process_count() > 1:
            return  # several processes hear of it at the next save, all at once
        if not self._manager.is_saving_in_progress():
            self.wait()

    def restore(self, target: State) -> tuple[State, dict[str, Any]]:
        """Returns the latest state and what was saved as `loop`.

        A checkpoint that cannot be read is put aside, and the one before is taken: the run then
        repeats some steps, with the same result.

        Args:
            target: shapes and shardings wanted; see `sharding.with_shardings`.

        Raises:
            ConfigError: the checkpoint is of another model than the target, or none can be read.
        """
        while True:
            step = self.latest
            assert step is not None  # `_do_without` leaves one
            failed: Exception | None = None
            try:
                restored = self._restore(step, target)
            except ConfigError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever damaged files make Orbax raise
                failed = error
            if not largest(failed is not None):
                return restored
            on_first(functools.partial(self._do_without, step, failed))
            self._manager.reload()

    def _do_without(self, step: int, failed: Exception | None) -> None:
        folder = self._root / str(step)
        why = unreadable(folder)
        if why is None:
            # No damage: nothing may be put aside.
            raise ConfigError(
                f"{folder} cannot be restored ({first_line(failed)}); use the config and the "
                "versions it was made with, or a new workdir with --from"
            ) from failed
        if not any(other < step for other in damage.steps_in(self._root)):
            self._give_up(step, why)
        self._put_aside(step, why)

    def _restore(self, step: int, target: State) -> tuple[State, dict[str, Any]]:
        folder = self._root / str(step)
        # Looked at beforehand: a restore that fails half-way leaves reads under way behind.
        difference = _difference(saved_shapes(folder), target)
        if difference:
            raise ConfigError(
                f"{folder} is the checkpoint of another model than the config's: {difference}; "
                "use the config it was made with, or a new workdir with --from"
            )
        restored = self._manager.restore(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(target), loop=ocp.args.JsonRestore()
            ),
        )
        return restored["state"], restored["loop"]

    def wait(self) -> None:
        """Waits until all files are complete.

        Raises:
            WorkdirError: they could not be written; earlier checkpoints are whole.
        """
        with writing(self._root / str(self._saving)):
            self._manager.wait_until_finished()
            self._saving = None
        self._clear_deleted()

    def close(self) -> None:
        """Completes all files and stops the background work.

        Raises:
            WorkdirError: as `wait`.
        """
        try:
            self.wait()
        finally:
            with contextlib.suppress(Exception):  # the same error again
                self._manager.close()
            logging.getLogger("absl").removeFilter(without_orbax)

    def _clear_deleted(self) -> None:
        if jax.process_index() == 0:
            shutil.rmtree(self._root / _DELETED, ignore_errors=True)


def _difference(saved: Mapping[str, Any], target: State) -> str | None:
    """Names the first array in which a saved state is that of another model or optimiser."""
    fields = [field.name for field in dataclasses.fields(State) if field.name != "key"]
    here = named({name: getattr(target, name) for name in fields})
    there = named({name: saved.get(name) for name in fields})
    for name in sorted(here.keys() | there.keys()):
        shapes = [tuple(t[name].shape) if name in t else None for t in (here, there)]
        if shapes[0] != shapes[1]:
            now, then = ("absent" if shape is None else shape for shape in shapes)
            return f"{name} is {now} in the config's model, {then} in the checkpoint"
    return None
