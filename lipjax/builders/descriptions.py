# SPDX-License-Identifier: Apache-2.0
"""What a workdir says of itself: `model.json`, written by training, read by everything else."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from lipjax.builders.networks import generator_of
from lipjax.data.reading import Corpus
from lipjax.data.schema import SCHEMA_VERSION
from lipjax.errors import ConfigError, nearest
from lipjax.media.log_mel import LogMel
from lipjax.speakers.at_a_glance import CHUNK, AtAGlanceSpeaker
from lipjax.speakers.contract import Speaker
from lipjax.training.logging import write_whole

MODEL = "model.json"
_FORMAT = 2


def describe(config: ConfigDict, corpora: list[Corpus]) -> dict[str, Any]:
    """Returns what `model.json` holds: all that evaluate and generate need to know."""
    network = config.generator if config.task == "at_a_glance" else config.network
    return {
        "format": _FORMAT,
        "family": config.task,
        "schema_version": SCHEMA_VERSION,
        "fps": config.data.fps,
        "frames": config.frames,
        "mouth_size": config.data.mouth_size,
        "margin": corpora[0].settings["margin"],
        "log_mel": dataclasses.asdict(LogMel(**config.data.log_mel)),
        "network": network.to_dict(),
        "corpora": [str(corpus.directory) for corpus in corpora],
    }


def save_description(workdir: Path, description: Mapping[str, Any]) -> None:
    """Writes `model.json`; an existing one must say the same.

    Raises:
        ConfigError: the workdir holds a run with other settings, or the file is damaged.
        WorkdirError: it cannot be written.
    """
    path = Path(workdir) / MODEL
    text = json.dumps(description, indent=2, sort_keys=True)
    if path.is_file():
        try:
            old, new = (_flat(json.loads(known)) for known in (path.read_bytes(), text))
        except (ValueError, AttributeError) as error:
            raise ConfigError(
                f"{path} is damaged ({error}); delete it, and training with the settings of the "
                "run there writes it again"
            ) from error
        names = [name for name in sorted({**old, **new}) if old.get(name) != new.get(name)]
        if names:
            told = ", ".join(f"{name} was {old.get(name)}, now {new.get(name)}" for name in names)
            raise ConfigError(
                f"{workdir} holds a run with other settings ({told}); choose another --workdir, "
                "or use --from to start from its parameters"
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text + "\n")


def _flat(tree: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Leaves of nested settings by their dotted names."""
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        inner = isinstance(value, Mapping)
        leaves |= _flat(value, f"{above}{name}.") if inner else {f"{above}{name}": value}
    return leaves


def load_description(workdir: Path) -> dict[str, Any]:
    """Reads `model.json` of a workdir.

    Raises:
        ConfigError: none there, a damaged one, or one of a newer lipjax.
    """
    path = Path(workdir) / MODEL
    if not path.is_file():
        raise ConfigError(f"{workdir} holds no trained model: no {MODEL} there")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        version = description["format"]
        if version == _FORMAT:
            _check(description)
    except (ValueError, KeyError, TypeError, OSError, RecursionError, OverflowError) as error:
        raise ConfigError(f"{path} is damaged: {type(error).__name__}: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{path} is damaged: {error}") from error
    if version != _FORMAT:
        raise ConfigError(f"{path} has format {version}, this lipjax reads {_FORMAT}")
    return description


_RANGES = {
    "fps": (0.1, 1000),
    "frames": (1, 1 << 20),
    "mouth_size": (1, 4096),
    "margin": (0.1, 100),
}
_SOUND_RANGES = {"rate": 768_000, "hop": 1 << 20, "n_fft": 1 << 20, "bands": 1 << 14}


def _check(description: Mapping[str, Any]) -> None:
    """Checks what else the readers of a description rely on.

    Raises:
        ConfigError, ValueError, KeyError or TypeError: something is not as `describe` makes it.
    """
    for name, (least, most) in _RANGES.items():
        value = description[name]
        if isinstance(value, (bool, str)) or not least <= value <= most:
            raise ValueError(f"{name} is {value!r}")
    log_mel = LogMel(**description["log_mel"])
    for name, most in _SOUND_RANGES.items():
        if type(getattr(log_mel, name)) is not int or getattr(log_mel, name) > most:
            raise ValueError(f"log_mel.{name} is {getattr(log_mel, name)!r}")
    for name, kind in (("family", str), ("network", dict), ("corpora", list)):
        if not isinstance(description[name], kind):
            raise TypeError(f"{name} is {description[name]!r}")
    if not all(isinstance(corpus, str) for corpus in description["corpora"]):
        raise TypeError(f"corpora is {description['corpora']!r}")


def _at_a_glance_speaker(description: Mapping[str, Any]) -> AtAGlanceSpeaker:
    log_mel = LogMel(**description["log_mel"])
    size = description["mouth_size"]
    generator = generator_of(description["network"], size=size, bands=log_mel.bands)
    return AtAGlanceSpeaker.from_generator(
        generator,
        log_mel=log_mel,
        fps=description["fps"],
        margin=description["margin"],
        chunk=getattr(generator, "frames", CHUNK),
    )


_STAGES = ("optical_flow", "perceptual")
_SPEAKERS = {"at_a_glance": _at_a_glance_speaker}


def speaker_of(description: Mapping[str, Any]) -> Speaker:
    """Builds the speaker that a description describes, without parameters."""
    family = description["family"]
    if family in _STAGES:
        raise ConfigError(f"a model of family {family!r} does not talk; it serves a later stage")
    if family not in _SPEAKERS:
        raise ConfigError(f"model family {family!r}{nearest(str(family), _SPEAKERS)}")
    try:
        return _SPEAKERS[family](description)
    except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError) as error:
        raise ConfigError(
            f"{MODEL} describes a network that cannot be built ({type(error).__name__}: {error})"
        ) from error
