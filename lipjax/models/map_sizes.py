# SPDX-License-Identifier: Apache-2.0
"""Strides that bring sound and picture to maps of one size.

The generator of "Lip Movements Generation at a Glance" lays the sound's map over the picture's,
so both must have F = H = W places.
"""

from typing import TypedDict

from lipjax.errors import ConfigError

# Picture size -> size of the maps, strides of the identity encoder, factors of the decoder.
_MAPS = {
    64: (16, (1, 2, 2), (2, 2)),
    96: (16, (1, 2, 3), (3, 2)),
    128: (32, (1, 2, 2), (2, 2)),
}
# Factor between bands and map -> strides of the audio encoder along frequency.
_FREQUENCY = {
    1: (1, 1, 1, 1, 1),
    2: (1, 2, 1, 1, 1),
    4: (1, 2, 1, 2, 1),
    8: (1, 2, 1, 2, 2),
}


class Strides(TypedDict):
    """The stride fields of a `Generator`, so that type checkers know them."""

    identity_strides: tuple[int, ...]
    audio_frequency_strides: tuple[int, ...]
    decoder_strides: tuple[int, ...]


def strides_for(size: int, bands: int) -> Strides:
    """Returns the stride fields of a `Generator` that keep its maps F = H = W.

    Args:
        size: height and width of the pictures in pixels: 64, 96 or 128.
        bands: mel bands of the sound feature, usually 128.

    Returns:
        "audio_frequency_strides", "identity_strides" and "decoder_strides".

    Raises:
        ConfigError: there are no such strides; names the nearest size or number of bands.

    Example:
        >>> lipjax.strides_for(96, 128)["decoder_strides"]
        (3, 2)
        >>> generator = lipjax.Generator(size=96, **lipjax.strides_for(96, 128))
    """
    if size not in _MAPS:
        near = min(_MAPS, key=lambda known: abs(known - size))
        raise ConfigError(f"pictures of {size} px: the nearest size that works is {near} px")
    maps, identity, decoder = _MAPS[size]
    if bands not in {maps * factor for factor in _FREQUENCY}:
        near = min((maps * factor for factor in _FREQUENCY), key=lambda known: abs(known - bands))
        raise ConfigError(
            f"{bands} mel bands with pictures of {size} px: the nearest number that works is {near}"
        )
    return {
        "identity_strides": identity,
        "audio_frequency_strides": _FREQUENCY[bands // maps],
        "decoder_strides": decoder,
    }
