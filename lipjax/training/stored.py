# SPDX-License-Identifier: Apache-2.0
"""Finding checkpoints and reading networks from them, without a task and without a device."""

import json
import math
import sys
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import orbax.checkpoint as ocp

from lipjax.errors import ConfigError
from lipjax.training import damage
from lipjax.training.disk_errors import first_line
from lipjax.training.weights import WEIGHTS, load_weights

FOLDER = "checkpoints"  # of a workdir
Which = Literal["best", "latest"] | int
MAX_BYTES = 16 * 2**30
"""Bytes of a checkpoint's arrays above which it is not read."""


def named(tree: Any) -> dict[str, Any]:
    """Returns the leaves of a tree by name, for example "params/generator/Conv_0/kernel"."""
    return {
        jax.tree_util.keystr(keys, simple=True, separator="/"): leaf
        for keys, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def saved_shapes(checkpoint: Path) -> dict[str, Any]:
    """Returns names and shapes of a saved state without reading its arrays."""
    # By the handler: a Checkpointer would warn that the step's own metadata lies elsewhere.
    return dict(ocp.PyTreeCheckpointHandler().metadata(checkpoint / "state").tree)


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
    found = {s: entry for s, entry in damage.steps_in(root).items() if not damage.incomplete(entry)}
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


def _metric(checkpoint: Path) -> float | None:
    """The metric a checkpoint was saved with, None if it has none that is a number."""
    try:
        value = json.loads((checkpoint / "metrics" / "metrics").read_bytes())["best"]
        return float(value) if math.isfinite(value) else None
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def read(checkpoint: Path, names: tuple[str, ...], *, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """Reads some fields of a saved state into NumPy arrays, whatever they were sharded over.

    Args:
        checkpoint: folder of one.
        names: of fields of the state; those that it lacks are left out.
        max_bytes: that the arrays may take; asked before any is read.

    Raises:
        ConfigError: it is damaged or larger than that.
    """
    checkpoint = Path(checkpoint).absolute()
    try:
        saved = saved_shapes(checkpoint)
        wanted = {name: saved[name] for name in names if name in saved}
        size = sum(map(_declared_bytes, jax.tree.leaves(wanted)))
        if size > max_bytes:
            raise ConfigError(
                f"{checkpoint}: its arrays take {size:,} bytes, more than the {max_bytes:,} "
                "allowed; it is damaged, or raise max_bytes"
            )
        arguments = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
        return ocp.Checkpointer(ocp.PyTreeCheckpointHandler()).restore(
            checkpoint / "state",
            args=ocp.args.PyTreeRestore(item=wanted, restore_args=arguments, partial_restore=True),
        )
    except ConfigError:
        raise
    except Exception as error:  # noqa: BLE001 - Orbax and TensorStore raise anything
        raise ConfigError(
            f"{checkpoint} cannot be read ({first_line(error)}): it is damaged; give another one, "
            "as WORKDIR/checkpoints/STEP"
        ) from error


def _declared_bytes(array: Any) -> int:
    """Bytes that an array takes, or one of the chunks it is stored in if those are larger."""
    chunk = getattr(getattr(array, "storage", None), "chunk_shape", None) or ()
    places = max(math.prod(array.shape), math.prod(chunk))
    return places * np.dtype(array.dtype).itemsize


def unreadable(checkpoint: Path) -> str | None:
    """Reads all of a checkpoint and says what is wrong with it; None if nothing."""
    lacking = damage.incomplete(checkpoint)
    if lacking is not None:
        return lacking
    try:
        read(checkpoint, tuple(saved_shapes(checkpoint.absolute())), max_bytes=sys.maxsize)
    except Exception as error:  # noqa: BLE001 - as in `read`
        return first_line(error.__cause__ or error)
    return None


def load_params(path: Path, *, which: Which = "best", averaged: bool = True) -> dict[str, Any]:
    """Reads trained networks without knowing the task or the optimiser.

    Args:
        path: a workdir, its `checkpoints` folder, one checkpoint, or an exported model.
        which: see `find_checkpoint`; an exported model holds but one.
        averaged: take the averaged copy of each network that has one.

    Returns:
        {"params": {network: ...}, "stats": {network: ...}} of NumPy arrays.

    Raises:
        ConfigError: there is no checkpoint, or it is damaged.
    """
    if (Path(path) / WEIGHTS).is_file():
        return load_weights(path)
    found = find_checkpoint(path, which)
    tree = read(found, ("params", "stats", "ema"))
    try:
        loaded = {kind: dict(tree.get(kind) or {}) for kind in ("params", "stats")}
        if averaged:
            for kind, networks in (tree.get("ema") or {}).items():
                loaded[kind].update(networks or {})
        for name in loaded["params"]:
            loaded["stats"][name] = loaded["stats"].get(name) or {}
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ConfigError(f"{found} holds no networks as lipjax saves them ({error})") from error
    return loaded
