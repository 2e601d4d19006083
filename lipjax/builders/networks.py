# SPDX-License-Identifier: Apache-2.0
"""From settings to networks."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from lipjax.errors import ConfigError, nearest
from lipjax.models.at_a_glance import Generator
from lipjax.models.baselines import ChungGenerator
from lipjax.models.correlation import AudioDerivativeEncoder, FlowEncoder, SpeechDerivativeEncoder
from lipjax.models.discriminators import (
    DIFFERENCE_STRIDES,
    FLOW_STRIDES,
    Discriminator,
    SoundStream,
    VideoStream,
)
from lipjax.models.map_sizes import strides_for
from lipjax.models.optical_flow import FlowNet
from lipjax.models.perceptual import PerceptualAutoencoder, PerceptualEncoder
from lipjax.models.vondrick import VondrickGenerator, vondrick_discriminator
from lipjax.tasks.correlating import Correlation

Settings: TypeAlias = Mapping[str, Any] | ConfigDict
"""Named settings: a part of a config, or of a `model.json`."""
_DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def fields_of(settings: Settings, *without: str) -> dict[str, Any]:
    """Settings as keyword arguments: lists become tuples, names of types become types."""
    made = {k: tuple(v) if isinstance(v, (list, tuple)) else v for k, v in settings.items()}
    if "dtype" in made:
        if made["dtype"] not in _DTYPES:
            raise ConfigError(f"dtype {made['dtype']!r}{nearest(str(made['dtype']), _DTYPES)}")
        made["dtype"] = _DTYPES[made["dtype"]]
    return {name: value for name, value in made.items() if name not in without}


def _at_a_glance(settings: Settings, *, size: int, bands: int) -> Generator:
    fields = {**strides_for(size, bands), **fields_of(settings, "kind")}
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


def _chung(settings: Settings, *, size: int, bands: int) -> ChungGenerator:
    return ChungGenerator(size=size, bands=bands, **fields_of(settings, "kind"))


def _vondrick(settings: Settings, *, size: int, bands: int) -> VondrickGenerator:
    return VondrickGenerator(size=size, bands=bands, **fields_of(settings, "kind"))


_GENERATORS = {"at_a_glance": _at_a_glance, "chung": _chung, "vondrick": _vondrick}


def generator_of(settings: Settings, *, size: int, bands: int) -> nn.Module:
    """Builds a generator from its settings.

    Args:
        settings: "kind", and fields of that network but size, bands and strides.
        size: side of the mouth crop, 64, 96 or 128 px.
        bands: mel bands.
    """
    kind = settings["kind"]
    if kind not in _GENERATORS:
        raise ConfigError(f"generator.kind {kind!r}{nearest(str(kind), _GENERATORS)}")
    return _GENERATORS[kind](settings, size=size, bands=bands)


_VIDEO_STREAMS: dict[str, dict[str, Any]] = {
    "video": {},
    "flow": {"strides": FLOW_STRIDES, "padding": None},
    "difference": {"strides": DIFFERENCE_STRIDES},
}
"""Source of a video stream -> how it gets from its size to the map that all streams share."""


_WIDE = 128


def is_wide(config: ConfigDict) -> bool:
    """Returns whether the network that a config trains has layers that fill all cores of a CPU.

    One device then does more than one per core, each of which reads all weights for its share of
    the windows: at published widths and two windows the step takes three quarters of the time.

    Args:
        config: of the core system, or of a stage.
    """
    settings = config.generator if config.task == "at_a_glance" else config.network
    found = [np.max(value, initial=0) for name, value in settings.items() if "width" in name]
    return bool(max(found, default=0) >= _WIDE)


def discriminator_of(settings: Settings) -> Discriminator:
    """Builds a discriminator from its settings: a sound stream and the named video streams."""
    if settings["kind"] not in ("streams", "vondrick"):
        raise ConfigError(f"discriminator.kind {settings['kind']!r}: 'streams' or 'vondrick'")
    parts = ("kind", "streams", "sound", *_VIDEO_STREAMS)
    fields = fields_of(settings, *parts)
    sound = {**fields_of(settings["sound"]), "dtype": fields["dtype"]}
    sound["pool"] = sound["pool"] or None
    if settings["kind"] == "vondrick":
        widths = fields_of(settings["video"])["widths"]
        common = fields_of(settings, *parts, "joint_width")
        return vondrick_discriminator(SoundStream(**sound), widths, **common)
    streams: list[nn.Module] = [SoundStream(**sound)]
    for source in settings["streams"]:
        if source not in _VIDEO_STREAMS:
            raise ConfigError(f"discriminator.streams: {source!r}{nearest(source, _VIDEO_STREAMS)}")
        stream = {**_VIDEO_STREAMS[source], **fields_of(settings[source])}
        streams.append(VideoStream(source=source, dtype=fields["dtype"], **stream))
    return Discriminator(streams=tuple(streams), **fields)


def correlation_of(settings: Settings) -> Correlation:
    """Builds the correlation networks and their loss from their settings."""
    shared = {"norm": settings["norm"], "last_activation": settings["form"] == "cosine"}
    derivative = settings["derivative"]
    sound: nn.Module
    if settings["hears"] == "log_mel":
        features, outputs = settings["sound_widths"]
        sound = SpeechDerivativeEncoder(features=features, outputs=outputs, derivative=derivative)
    else:
        widths = tuple(settings["sound_widths"])
        sound = AudioDerivativeEncoder(widths=widths, derivative=derivative, **shared)
    return Correlation(
        sound=sound,
        motion=FlowEncoder(widths=tuple(settings["motion_widths"]), **shared),
        form=settings["form"],
        hears=settings["hears"],
        sees=settings["sees"],
        temperature=settings["temperature"],
    )


def flow_of(settings: Settings) -> FlowNet:
    """Builds a flow network from its settings."""
    return FlowNet(**fields_of(settings))


def perceptual_of(settings: Settings) -> PerceptualAutoencoder:
    """Builds a perceptual autoencoder from its settings."""
    return PerceptualAutoencoder(**fields_of(settings))


def perceptual_encoder_of(settings: Settings) -> PerceptualEncoder:
    """Builds the encoder half of a perceptual autoencoder from the same settings."""
    return PerceptualEncoder(**fields_of(settings))
