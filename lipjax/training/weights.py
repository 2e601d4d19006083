# SPDX-License-Identifier: Apache-2.0
"""Trained networks as one small file: what is left of a run when it is given to others."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from lipjax.errors import ConfigError
from lipjax.media.arrays import load_arrays
from lipjax.training.logging import write_whole

WEIGHTS = "weights.npz"
_KINDS = ("params", "stats")


def save_weights(folder: Path, networks: Mapping[str, Any]) -> Path:
    """Writes networks into a folder, in float32 or as they are.

    Args:
        folder: that exists.
        networks: {"params": {network: ...}, "stats": {network: ...}} of NumPy arrays.

    Returns:
        The file, an uncompressed .npz whose names are joined by slashes.

    Raises:
        WorkdirError: it could not be written.
    """
    arrays = flatten_dict({kind: dict(networks[kind]) for kind in _KINDS}, sep="/")
    whole = io.BytesIO()
    named: dict[str, Any] = {name: np.asarray(array) for name, array in sorted(arrays.items())}
    np.savez(whole, **named)
    path = Path(folder) / WEIGHTS
    write_whole(path, whole.getvalue())
    return path


def load_weights(folder: Path) -> dict[str, Any]:
    """Reads what `save_weights` wrote.

    Args:
        folder: that holds it.

    Returns:
        {"params": {network: ...}, "stats": {network: ...}}.

    Raises:
        ConfigError: it is damaged, or holds something else.
    """
    path = Path(folder) / WEIGHTS
    try:
        arrays = load_arrays(path)
        tree = unflatten_dict(arrays, sep="/")
        loaded = {kind: dict(tree.get(kind) or {}) for kind in _KINDS}
        if not loaded["params"] or tree.keys() - set(_KINDS):
            raise ValueError(f"it holds {sorted(tree)}, not parameters")
        for name, network in loaded["params"].items():
            if not isinstance(network, dict):
                raise ValueError(f"params/{name} is an array")
            loaded["stats"].setdefault(name, {})
    except (ValueError, TypeError, AttributeError, IndexError) as error:
        raise ConfigError(f"{path} is damaged ({error}); copy the model's folder again") from error
    return loaded
