# SPDX-License-Identifier: Apache-2.0
"""Models that are installed: the one that comes with lipjax, and packages of others.

A package of a model is any installed Python package that holds an exported model (`lipjax export`)
and names itself under the entry point "lipjax.models". That is how weights under other terms than
lipjax's own stay in a distribution of their own.
"""

import importlib.metadata
import importlib.util
from pathlib import Path

from lipjax.errors import ConfigError, nearest

BUILT_IN = "drawn"
"""Trained on the built-in corpus of drawn faces; in every installation."""
GROUP = "lipjax.models"
"""The entry points of packages that hold a model."""


def installed_models() -> dict[str, Path]:
    """Returns the models that are installed.

    Returns:
        Name -> folder of the exported model. The first is what is used when none is named:
        models of packages, in alphabetical order, go before the built-in one, since somebody
        chose to install them.

    Example:
        >>> "drawn" in lipjax.installed_models()
        True
    """
    models = {}
    for point in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda p: p.name):
        spec = importlib.util.find_spec(point.value)
        if spec is not None and spec.submodule_search_locations:
            models[point.name] = Path(next(iter(spec.submodule_search_locations)))
    models[BUILT_IN] = Path(__file__).parent / "pretrained_models" / BUILT_IN
    return models


def find_model(name: str | None = None) -> Path:
    """Returns the folder of an installed model.

    Args:
        name: of the model; None takes the first of `installed_models`.

    Raises:
        ConfigError: no model of that name is installed.
    """
    models = installed_models()
    if name is None:
        return next(iter(models.values()))
    if name not in models:
        raise ConfigError(f"no model {name!r} is installed{nearest(name, models)}")
    return models[name]
