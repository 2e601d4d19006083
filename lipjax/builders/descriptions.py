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
        ConfigError: the workdir holds a run with other settings.
    """
    path = Path(workdir) / MODEL
    text = json.dumps(description, indent=2, sort_keys=True)
    if path.is_file():
        old, new = (_flat(json.loads(known)) for known in (path.read_text("utf-8"), text))
        names = [name for name in sorted({**old, **new}) if old.get(name) != new.get(name)]
        if names:
            told = ", ".join(f"{name} was {old.get(name)}, now {new.get(name)}" for name in names)
            raise ConfigError(
                f"{workdir} holds a run with other settings ({told}); choose another --workdir, "
                "or use --from to start from its parameters"
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")


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
        ConfigError: none there, or one of a newer lipjax.
    """
    path = Path(workdir) / MODEL
    if not path.is_file():
        raise ConfigError(f"{workdir} holds no trained model: no {MODEL} there")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        version = description["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is damaged: {error}") from error
    if version != _FORMAT:
        raise ConfigError(f"{path} has format {version}, this lipjax reads {_FORMAT}")
    return description


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
    return _SPEAKERS[family](description)
