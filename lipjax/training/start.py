# SPDX-License-Identifier: Apache-2.0
"""Starting a run from the parameters of another, never by accident."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from lipjax.errors import ConfigError
from lipjax.state import State
from lipjax.training.checkpoints import Which, find_checkpoint, named, read
from lipjax.training.logging import write_json
from lipjax.training.weights import WEIGHTS, load_weights


def check_start(workdir: Path, start: Path | None, *, resumes: bool) -> None:
    """Refuses to go on with a run that started from something else, and notes what a new one does.

    Args:
        workdir: of the run.
        start: where it is to start from, or None.
        resumes: whether the workdir holds a checkpoint.

    Raises:
        ConfigError: `start` is not what the run in the workdir started from, or lies in it.
    """
    file = workdir / "start.json"
    wanted = None if start is None else str(Path(start).resolve())
    if start is not None and Path(start).resolve().is_relative_to(workdir.resolve()):
        raise ConfigError(f"--from {start} lies in the workdir itself; choose a new --workdir")
    if resumes and start is not None:
        try:
            recorded = json.loads(file.read_text())["from"] if file.is_file() else None
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{file} is damaged ({error}); leave out --from to go on with the run there"
            ) from error
        if recorded != wanted:
            raise ConfigError(
                f"{workdir} already holds a run that started from "
                f"{recorded or 'new parameters'}, not from {start}; choose a new --workdir, "
                "or leave out --from to go on with that run"
            )
    if not resumes and jax.process_index() == 0:
        workdir.mkdir(parents=True, exist_ok=True)
        write_json(file, {"from": wanted})


@dataclasses.dataclass(frozen=True)
class StartReport:
    """What starting from another run's parameters found.

    Attributes:
        source: the checkpoint that was read.
        matched: names of the arrays that were taken over.
        missing: names that the checkpoint lacks; they keep their initial values.
        mismatched: name -> (shape here, shape there); they keep their initial values.
        unused: names that only the checkpoint has.
    """

    source: str
    matched: tuple[str, ...]
    missing: tuple[str, ...]
    mismatched: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]
    unused: tuple[str, ...]

    def summary(self) -> str:
        """Returns the report as lines of text."""
        lines = [f"start from the parameters of {self.source}: {len(self.matched)} arrays match"]
        for title, names in (("not there", self.missing), ("not used", self.unused)):
            lines += [f"  {title}: {_some(names)}"] if names else []
        for name, (here, there) in self.mismatched.items():
            lines.append(f"  other shape: {name} is {here} here, {there} there")
        return "\n".join(lines)


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more


def start_from(state: State, path: Path, *, which: Which = "best") -> tuple[State, StartReport]:
    """Takes parameters and statistics from another run; step and optimiser stay as they are.

    Args:
        state: freshly initialised.
        path: workdir or checkpoint of the other run, or an exported model.
        which: see `find_checkpoint`.

    Returns:
        The state with every array whose name and shape match taken over, its averages started
        from them, and the report.

    Raises:
        ConfigError: there is no checkpoint, or nothing in it matches.
    """
    if (Path(path) / WEIGHTS).is_file():
        checkpoint, there = Path(path), named(load_weights(path))
    else:
        checkpoint = find_checkpoint(path, which)
        there = named(read(checkpoint, ("params", "stats")))
    matched, missing, mismatched = [], [], {}

    def take(keys: Any, leaf: jax.Array) -> jax.Array:
        name = jax.tree_util.keystr(keys, simple=True, separator="/")
        if name not in there:
            missing.append(name)
        elif there[name].shape != leaf.shape:
            mismatched[name] = (leaf.shape, there[name].shape)
        else:
            matched.append(name)
            value = there[name].astype(leaf.dtype)
            return jax.make_array_from_callback(leaf.shape, leaf.sharding, lambda i: value[i])
        return leaf

    here = {"params": dict(state.params), "stats": dict(state.stats)}
    here = jax.tree_util.tree_map_with_path(take, here)
    unused = tuple(sorted(set(there) - set(matched) - set(mismatched)))
    report = StartReport(str(checkpoint), tuple(matched), tuple(missing), mismatched, unused)
    if not matched:
        raise ConfigError(
            f"{checkpoint}: no array has a name and shape that this model knows; it has "
            f"{_some(unused)}, this model {_some(tuple(missing))}"
        )
    # Copies, because the step donates every array of the state.
    ema = {
        kind: {name: jax.tree.map(lambda x: x.copy(), here[kind][name]) for name in networks}
        for kind, networks in state.ema.items()
    }
    return state.replace(params=here["params"], stats=here["stats"], ema=ema), report
