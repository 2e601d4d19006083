# SPDX-License-Identifier: Apache-2.0
"""The shapes that a run starts from, found without a corpus and without trained stages."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Shaped
from ml_collections import ConfigDict

from lipjax import build
from lipjax.builders.stages import given_path
from lipjax.data.views import Streams, View


def view_shape(view: View, streams: Streams) -> tuple[tuple[int, ...], type[np.generic]]:
    """Returns shape and type of one example of a view, as `ClipViews.cut` makes it."""
    if view.stream == "log_mel":
        columns = round(view.length / streams.fps * streams.log_mel.columns_per_second)
        return (columns, streams.log_mel.bands), np.float32
    if view.stream == "landmarks":
        return (view.length, 68, 2), np.float32
    size = streams.frames_size if view.stream == "frames" else streams.mouth_size
    if view.stream == "flow":
        return (view.length, size, size, 2), np.float32
    return (view.length, size, size, 3), np.uint8


def empty_batch(
    inputs: Mapping[str, View], streams: Streams, *, rows: int
) -> dict[str, Shaped[np.ndarray, "rows ..."]]:
    """Returns a batch of the shapes that `Windows.batch` has, all zeros, which takes no memory.

    Args:
        inputs: the task's table.
        streams: settings of the views.
        rows: windows of the batch.
    """
    shapes = {name: view_shape(view, streams) for name, view in inputs.items()}
    return {
        name: np.broadcast_to(np.zeros((), kind), (rows, *shape))
        for name, (shape, kind) in shapes.items()
    }


def given_of(
    config: ConfigDict, workdir: Path | None = None
) -> tuple[dict[str, build.Given], list[str]]:
    """Returns the networks of earlier stages as `build.load_given`, shapes in place of numbers.

    Args:
        config: of the last stage.
        workdir: of its run; a stage that was begun there, or in the run that the config's `given`
            names, is described by that run, any other by the config's `stages`.

    Returns:
        The networks, and a line for each that the config names a run for which is not here.
    """
    found, notes = {}, []
    for name in build.given_names(config):
        path = given_path(config, name, workdir or Path())
        settings = config.stages[name].network.to_dict()
        if (path / build.MODEL).is_file():
            settings = dict(build.load_description(path)["network"])
        elif config.given[name]:
            notes.append(f"given.{name}: {path} is not here, the config's own stage stands in")
        found[name] = build.Given(settings, _variables(config, name, settings))
    return found, notes


def _variables(config: ConfigDict, name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    stage = build.stage_of(config, name)
    with stage.unlocked():
        stage.network = ConfigDict(settings)
    task = build.task_of(stage)
    batch = empty_batch(task.inputs, build.streams_of(stage.data), rows=1)

    def init() -> Any:
        zeros = {name: jnp.zeros(x.shape, x.dtype) for name, x in batch.items()}
        return task.init(jax.random.key(0), zeros, {})

    average = jax.eval_shape(init).ema
    variables = {"params": average["params"][name], "batch_stats": average["stats"][name]}
    if name == "perceptual":  # as it is handed on, without its decoder
        variables = {kind: tree.get("encoder", {}) for kind, tree in variables.items()}
    return variables
