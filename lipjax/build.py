# SPDX-License-Identifier: Apache-2.0
"""From configs to objects, and from workdirs back to speakers: the only reader of configs.

Names become objects by the tables in this file. A trained workdir describes itself in
`model.json`, so that evaluate and generate need no config.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from lipjax.data.augment import Augment
from lipjax.data.reading import Corpus, open_corpus
from lipjax.data.schema import SCHEMA_VERSION
from lipjax.data.views import Streams
from lipjax.data.windows import Windows
from lipjax.errors import ConfigError, nearest
from lipjax.media.log_mel import LogMel
from lipjax.models.at_a_glance import Generator
from lipjax.models.discriminators import Discriminator, SoundStream, VideoStream
from lipjax.models.map_sizes import strides_for
from lipjax.speakers.at_a_glance import AtAGlanceSpeaker
from lipjax.speakers.contract import Speaker
from lipjax.tasks.at_a_glance import GeneratorTask, Weights

MODEL = "model.json"
_FORMAT = 1
Settings = Mapping[str, Any] | ConfigDict
"""Named settings: a part of a config, or of a `model.json`."""
_DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def _fields(settings: Settings) -> dict[str, Any]:
    """Settings as keyword arguments: lists become tuples, names of types become types."""
    made = {k: tuple(v) if isinstance(v, (list, tuple)) else v for k, v in settings.items()}
    if "dtype" in made:
        if made["dtype"] not in _DTYPES:
            raise ConfigError(f"dtype {made['dtype']!r}{nearest(str(made['dtype']), _DTYPES)}")
        made["dtype"] = _DTYPES[made["dtype"]]
    return made


def generator_of(settings: Settings, *, size: int, bands: int) -> Generator:
    """Builds the at-a-glance generator from its settings.

    Args:
        settings: fields of `Generator` but size, bands and strides.
        size: side of the mouth crop, 64, 96 or 128 px.
        bands: mel bands.
    """
    fields = {**strides_for(size, bands), **_fields(settings)}
    if fields.get("audio_pool") == "max":
        # The pooling takes the place of the last convolution, strides included.
        layers = len(fields["audio_widths"]) + 1
    else:
        layers = len(fields["audio_widths"])
    if len(fields["audio_frequency_strides"]) != layers:
        raise ConfigError(
            f"audio_widths has {len(fields['audio_widths'])} entries; {size} px and {bands} bands "
            f"need {len(fields['audio_frequency_strides'])} layers"
        )
    return Generator(size=size, bands=bands, **fields)


def discriminator_of(settings: Settings) -> Discriminator:
    """Builds a discriminator with a sound and a video stream from its settings."""
    fields = _fields({k: v for k, v in settings.items() if k not in ("sound", "video")})
    sound = {**_fields(settings["sound"]), "dtype": fields["dtype"]}
    sound["pool"] = sound["pool"] or None
    video = {**_fields(settings["video"]), "dtype": fields["dtype"]}
    return Discriminator(streams=(SoundStream(**sound), VideoStream(**video)), **fields)


def optimizers_of(settings: Settings, *, steps: int) -> dict[str, Any]:
    """Builds Adam for both players: warm-up, then a cosine down to `final_fraction`."""

    def adam(peak: float) -> optax.GradientTransformation:
        warmup = min(int(settings["warmup_steps"]), max(steps - 1, 0))
        schedule = optax.warmup_cosine_decay_schedule(
            init_value=0.0 if warmup else peak,
            peak_value=peak,
            warmup_steps=warmup,
            decay_steps=max(steps, warmup + 1),
            end_value=peak * settings["final_fraction"],
        )
        clip = settings["clip_norm"]
        before = [optax.clip_by_global_norm(clip)] if clip > 0 else []
        return optax.chain(*before, optax.adam(schedule, b1=settings["b1"], b2=settings["b2"]))

    return {
        "generator": adam(settings["learning_rate"]),
        "discriminator": adam(settings["discriminator_learning_rate"]),
    }


def at_a_glance(config: ConfigDict) -> GeneratorTask:
    """Builds the at-a-glance generator's training stage."""
    bands = config.data.log_mel.bands
    judged = config.weights.adversarial > 0
    return GeneratorTask(
        generator=generator_of(config.generator, size=config.data.mouth_size, bands=bands),
        discriminator=discriminator_of(config.discriminator) if judged else None,
        weights=Weights(**config.weights),
        optimizers=optimizers_of(config.optimizer, steps=config.train.steps),
        frames=config.frames,
        huber_delta=config.huber_delta,
        motion_share=config.motion_share,
        ema_decay=config.ema_decay,
    )


_TASKS = {"at_a_glance": at_a_glance}


def task_of(config: ConfigDict) -> GeneratorTask:
    """Builds the training stage that a config names."""
    if config.task not in _TASKS:
        raise ConfigError(f"task {config.task!r}{nearest(config.task, _TASKS)}")
    return _TASKS[config.task](config)


def streams_of(data: Settings) -> Streams:
    """Builds the settings of the views from a config's `data`."""
    return Streams(
        mouth_size=data["mouth_size"], log_mel=LogMel(**data["log_mel"]), fps=data["fps"]
    )


def windows_of(config: ConfigDict, task: Any, corpora: list[Corpus], split: str) -> Windows:
    """Builds the windows of a split; augmented for training only."""
    data = config.data
    return Windows(
        corpora,
        task.inputs,
        split=split,
        streams=streams_of(data),
        batch_size=data.batch_size,
        seed=config.seed,
        weights=list(data.weights) or None,
        augment=Augment(**(data.augment if split == "train" else {})),
        cache_mb=data.cache_mb,
        workers=data.workers,
    )


def corpora_of(config: ConfigDict) -> list[Corpus]:
    """Opens the corpora of a config.

    Raises:
        ConfigError: they were cut with different margins.
        CorpusError: one cannot be opened.
    """
    corpora = [open_corpus(directory) for directory in config.data.dirs]
    margins = {corpus.settings["margin"] for corpus in corpora}
    if len(margins) != 1:
        raise ConfigError(f"data.dirs: mouth crops with different margins {sorted(margins)}")
    return corpora


def describe(config: ConfigDict, corpora: list[Corpus]) -> dict[str, Any]:
    """Returns what `model.json` holds: all that evaluate and generate need to know."""
    return {
        "format": _FORMAT,
        "family": config.task,
        "schema_version": SCHEMA_VERSION,
        "fps": config.data.fps,
        "frames": config.frames,
        "mouth_size": config.data.mouth_size,
        "margin": corpora[0].settings["margin"],
        "log_mel": dataclasses.asdict(LogMel(**config.data.log_mel)),
        "network": config.generator.to_dict(),
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
        generator, log_mel=log_mel, fps=description["fps"], margin=description["margin"]
    )


_SPEAKERS = {"at_a_glance": _at_a_glance_speaker}


def speaker_of(description: Mapping[str, Any]) -> Speaker:
    """Builds the speaker that a description describes, without parameters."""
    family = description["family"]
    if family not in _SPEAKERS:
        raise ConfigError(f"model family {family!r}{nearest(str(family), _SPEAKERS)}")
    return _SPEAKERS[family](description)
