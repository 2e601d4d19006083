# SPDX-License-Identifier: Apache-2.0
"""Loads a config file and applies changes from the command line."""

import ast
import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from lipjax.errors import ConfigError, nearest


def load_config(name: str, *, overrides: Iterable[str] = ()) -> ConfigDict:
    """Loads `FILE.py:WHICH` and applies `--config.key.key=value` words.

    Args:
        name: path of a Python file with `get_config`, and behind a colon its argument. A file
            that is not there is looked for among the configs that lipjax carries.
        overrides: words like `--config.train.steps=100`.

    Returns:
        The config, locked.

    Raises:
        ConfigError: no such file or variant, an unknown key (names the nearest), or a value of
            another type than the config's.

    Example:
        >>> words = ["--config.train.steps=100"]
        >>> config = lipjax.load_config("at_a_glance.py:tiny", overrides=words)
        >>> config.train.steps, config.data.mouth_size
        (100, 64)
    """
    path, _, which = name.partition(":")
    config = _get_config(_find(Path(path)), which)
    config.lock()
    for word in overrides:
        _override(config, word)
    return config


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    import lipjax.configs

    carried = Path(lipjax.configs.__file__).parent
    if (carried / path.name).is_file():
        return carried / path.name
    known = [file.name for file in carried.glob("*.py") if file.name[0] != "_"]
    raise ConfigError(f"no config file {str(path)!r}{nearest(path.name, known)}")


def _get_config(path: Path, which: str) -> ConfigDict:
    spec = importlib.util.spec_from_file_location(f"lipjax_config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path}: a config file ends in .py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "get_config"):
        raise ConfigError(f"{path}: has no function get_config")
    try:
        return module.get_config(which) if which else module.get_config()
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error


def _override(config: ConfigDict, word: str) -> None:
    key, equals, text = word.removeprefix("--config.").partition("=")
    if not equals:
        raise ConfigError(f"{word}: write --config.{key}=VALUE")
    *parents, last = key.split(".")
    node = config
    for depth, name in enumerate([*parents, last]):
        if not isinstance(node, ConfigDict) or name not in node:
            where = ".".join([*parents, last][:depth]) or "the config"
            names = node.keys() if isinstance(node, ConfigDict) else ()
            raise ConfigError(f"--config.{key}: {where} has no {name!r}{nearest(name, names)}")
        if depth < len(parents):
            node = node[name]
    node[last] = _parse(key, text, node[last])


def _parse(key: str, text: str, old: Any) -> Any:
    """Reads a value of the same type as the one it replaces."""
    if isinstance(old, str):
        return text
    if isinstance(old, tuple) and (not old or isinstance(old[0], str)) and text[:1] not in "([":
        return tuple(part for part in text.split(",") if part)
    try:
        value = ast.literal_eval(text.title() if text.lower() in ("true", "false") else text)
    except (ValueError, SyntaxError) as error:
        raise ConfigError(f"--config.{key}: cannot read {text!r}") from error
    if isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if isinstance(old, tuple):
        value = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if type(value) is not type(old):
        raise ConfigError(f"--config.{key}: {text!r} is no {type(old).__name__}, like {old!r}")
    return value
