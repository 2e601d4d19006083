# SPDX-License-Identifier: Apache-2.0
"""The stages of a config: which a run needs first, where they lie, what they hand on."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from lipjax.builders.descriptions import load_description
from lipjax.errors import ConfigError, nearest
from lipjax.training.checkpoints import load_params

_FAMILIES = {"flow": "optical_flow", "perceptual": "perceptual"}


def given_names(config: ConfigDict) -> tuple[str, ...]:
    """Names of the earlier stages whose networks a config's losses use, in order of training."""
    if config.task != "at_a_glance":
        return ()
    judge = config.discriminator
    judged = config.weights.adversarial > 0 and judge.kind == "streams" and "flow" in judge.streams
    correlated = config.weights.correlation > 0 and config.correlation.sees == "flow"
    needed = {"flow": judged or correlated, "perceptual": config.weights.perceptual > 0}
    return tuple(name for name, is_needed in needed.items() if is_needed)


def stage_of(config: ConfigDict, name: str) -> ConfigDict:
    """Returns the config of an earlier stage: its own settings, the rest as in the last stage.

    Raises:
        ConfigError: there is no such stage.
    """
    if name not in config.stages:
        raise ConfigError(f"no stage {name!r}{nearest(name, config.stages)}")
    stage = config.stages[name].copy_and_resolve_references()
    made = ConfigDict({**stage, "seed": config.seed, "data": config.data.to_dict()})
    with made.unlocked():
        made.data.batch_size = stage.batch_size
        made.data.augment.hiss = 0.0
        del made["batch_size"]
    return made


@dataclasses.dataclass(frozen=True)
class Given:
    """The trained network of an earlier stage.

    Attributes:
        settings: of the network.
        variables: Linen variables, NumPy arrays.
    """

    settings: Mapping[str, Any]
    variables: Mapping[str, Any]


def given_path(config: ConfigDict, name: str, workdir: Path) -> Path:
    """The run of an earlier stage: the config's, or the one below this workdir."""
    named = config.given[name]
    return Path(named) if named else Path(workdir) / "stages" / name


def load_given(config: ConfigDict, workdir: Path) -> dict[str, Given]:
    """Loads the networks of the earlier stages that a config's losses use.

    Args:
        config: of the last stage.
        workdir: of its run.

    Raises:
        ConfigError: a stage has not been trained, or is another network than its name says.
    """
    loaded = {}
    for name in given_names(config):
        path = given_path(config, name, workdir)
        try:
            description = load_description(path)
            trained = load_params(path)
        except ConfigError as error:
            raise ConfigError(
                f"the losses need the {name} network, which is not trained: {error}; train all "
                f"stages with --recipe, this one with --stage {name}, or name its run with "
                f"--config.given.{name}=WORKDIR"
            ) from error
        if description["family"] != _FAMILIES[name]:
            raise ConfigError(
                f"given.{name}: {path} holds a model of family {description['family']!r}, "
                f"not {_FAMILIES[name]!r}"
            )
        variables = {"params": trained["params"][name], "batch_stats": trained["stats"][name]}
        if name == "perceptual":  # the decoder has done its duty
            variables = {kind: tree.get("encoder", {}) for kind, tree in variables.items()}
        loaded[name] = Given(description["network"], variables)
    return loaded
