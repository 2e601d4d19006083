# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: saved on any number of devices, restored on any other.

Kept are the latest few, to resume from, and the best few by the task's metric.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy as policies

from lipjax.errors import ConfigError
from lipjax.state import State

FOLDER = "checkpoints"  # of a workdir
Which = Literal["best", "latest"] | int


class Checkpoints:
    """The checkpoints of one run; saving goes on in the background.

    Args:
        directory: where they lie, one folder per step.
        keep_latest: newest checkpoints to keep.
        keep_best: checkpoints with the lowest metric to keep besides.
    """

    def __init__(self, directory: Path, *, keep_latest: int = 2, keep_best: int = 1):
        # With best_fn the metrics are written down; without a policy of our own it would delete
        # the newest checkpoint when its metric is poor.
        best = policies.BestN(
            get_metric_fn=lambda metrics: -metrics["best"],
            n=keep_best,
            keep_checkpoints_without_metrics=False,
        )
        policy = policies.AnyPreservationPolicy([policies.LatestN(n=keep_latest), best])
        self._manager = ocp.CheckpointManager(
            Path(directory).absolute(),
            options=ocp.CheckpointManagerOptions(
                best_fn=lambda metrics: metrics["best"],
                best_mode="min",
                preservation_policy=policy,
                cleanup_tmp_directories=True,
            ),
            item_names=("state", "loop"),
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
        """
        if step == self.latest:
            return
        metrics = None
        if metric is not None and math.isfinite(metric):
            metrics = {"best": float(metric)}
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state), loop=ocp.args.JsonSave(dict(loop))
            ),
            metrics=metrics,
            force=True,
        )

    def restore(self, target: State, *, step: int | None = None) -> tuple[State, dict[str, Any]]:
        """Returns the state and what was saved as `loop`.

        Args:
            target: shapes and shardings wanted; see `sharding.with_shardings`.
            step: which; the latest if None.

        Raises:
            ConfigError: the checkpoint is of another model than the target.
        """
        step = self.latest if step is None else step
        folder = Path(self._manager.directory) / str(step)
        # Looked at beforehand: a restore that fails half-way leaves reads under way behind.
        difference = _difference(_saved(folder), target)
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
        """Waits until all files are complete."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Completes all files and stops the background work."""
        self._manager.wait_until_finished()
        self._manager.close()


def named(tree: Any) -> dict[str, Any]:
    """Returns the leaves of a tree by name, for example "params/generator/Conv_0/kernel"."""
    return {
        jax.tree_util.keystr(keys, simple=True, separator="/"): leaf
        for keys, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _saved(checkpoint: Path) -> dict[str, Any]:
    """Returns names and shapes of a saved state without reading its arrays."""
    # By the handler: a Checkpointer would warn that the step's own metadata lies elsewhere.
    return dict(ocp.PyTreeCheckpointHandler().metadata(checkpoint / "state").tree)


def _difference(saved: Mapping[str, Any], target: State) -> str | None:
    """Names the first parameter, statistic or average in which a saved state is another one."""
    for kind in ("params", "stats", "ema", "given"):
        there, here = named(saved.get(kind)), named(getattr(target, kind))
        for name in sorted(there.keys() | here.keys()):
            shapes = [tuple(t[name].shape) if name in t else None for t in (here, there)]
            if shapes[0] != shapes[1]:
                now, then = (shape or "absent" for shape in shapes)
                return f"{kind}/{name} is {now} in the config's model, {then} in the checkpoint"
    return None


def find_checkpoint(path: Path, which: Which = "best") -> Path:
    """Returns the folder of one checkpoint.

    Args:
        path: a workdir, its `checkpoints` folder, or one checkpoint in it.
        which: "best" (by the metric; the latest if none has one), "latest", or a step.

    Raises:
        ConfigError: there is none.
    """
    path = Path(path)
    if (path / "state").is_dir() and path.name.isdigit():
        return path
    root = path / FOLDER if (path / FOLDER).is_dir() else path
    found = {
        int(entry.name): entry
        for entry in (root.iterdir() if root.is_dir() else ())
        if entry.name.isdigit() and (entry / "state").is_dir() and _is_whole(entry)
    }
    if not found:
        raise ConfigError(f"{path}: no checkpoint there; give the workdir of a trained run")
    if isinstance(which, int):
        if which not in found:
            raise ConfigError(f"{path}: no checkpoint of step {which}; there is: {sorted(found)}")
        return found[which]
    metrics = {step: _metric(entry) for step, entry in found.items()}
    scored = {step: value for step, value in metrics.items() if value is not None}
    if which == "best" and scored:
        return found[min(scored, key=lambda step: (scored[step], -step))]
    return found[max(found)]


def _is_whole(checkpoint: Path) -> bool:
    marked = (checkpoint / "_CHECKPOINT_METADATA").is_file()
    return marked and ocp.utils.is_checkpoint_finalized(checkpoint.absolute())


def _metric(checkpoint: Path) -> float | None:
    file = checkpoint / "metrics" / "metrics"
    return json.loads(file.read_text()).get("best") if file.is_file() else None


def read(checkpoint: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """Reads some fields of a saved state into NumPy arrays, whatever they were sharded over."""
    checkpoint = Path(checkpoint).absolute()
    saved = _saved(checkpoint)
    wanted = {name: saved[name] for name in names if name in saved}
    arguments = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
    return ocp.Checkpointer(ocp.PyTreeCheckpointHandler()).restore(
        checkpoint / "state",
        args=ocp.args.PyTreeRestore(item=wanted, restore_args=arguments, partial_restore=True),
    )


def load_params(path: Path, *, which: Which = "best", averaged: bool = True) -> dict[str, Any]:
    """Reads trained networks without knowing the task or the optimiser.

    Args:
        path: a workdir, its `checkpoints` folder, or one checkpoint.
        which: see `find_checkpoint`.
        averaged: take the averaged copy of each network that has one.

    Returns:
        {"params": {network: ...}, "stats": {network: ...}} of NumPy arrays.

    Raises:
        ConfigError: there is no checkpoint.
    """
    tree = read(find_checkpoint(path, which), ("params", "stats", "ema"))
    loaded = {kind: dict(tree.get(kind) or {}) for kind in ("params", "stats")}
    if averaged:
        for kind, networks in (tree.get("ema") or {}).items():
            loaded[kind].update(networks or {})
    for name in loaded["params"]:
        loaded["stats"][name] = loaded["stats"].get(name) or {}
    return loaded
