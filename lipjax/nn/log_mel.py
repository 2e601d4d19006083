# SPDX-License-Identifier: Apache-2.0
"""The log-mel feature in JAX: twin of `lipjax.media.log_mel`, for sound already on the device."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lipjax.media.log_mel import LogMel


def log_mel(
    samples: Float[Array, "*B n"],
    settings: LogMel,
    filters: Float[Array, "bands bins"] | Float[np.ndarray, "bands bins"],
) -> Float[Array, "*B columns bands"]:
    """Computes the log-mel feature of sounds; differentiable, and static in everything but sound.

    Column j is centred on sample (j + 1/2) * hop, with zeros outside the sound; `floor_db` maps to
    -1 and 0 dB of full scale to +1.

    Args:
        samples: mono at `settings.rate`, full scale 1.
        settings: of the feature, shared with the NumPy form.
        filters: `settings.filters()`, or other rows of weights over the n_fft // 2 + 1 bins.

    Returns:
        n // hop columns.

    Example:
        >>> settings = lipjax.LogMel(rate=16_000)
        >>> lipjax.log_mel(jnp.zeros((2, 8_000)), settings, settings.filters()).shape
        (2, 50, 128)
    """
    count, bands = samples.shape[-1] // settings.hop, filters.shape[0]
    if not count:
        return jnp.zeros((*samples.shape[:-1], 0, bands), samples.dtype)
    before = settings.n_fft // 2 - settings.hop // 2
    length = (count - 1) * settings.hop + settings.n_fft
    after = length - before - samples.shape[-1]  # negative: the last samples are seen by no column
    config = [(0, 0, 0)] * (samples.ndim - 1) + [(before, after, 0)]
    padded = jax.lax.pad(samples, jnp.zeros((), samples.dtype), config)
    index = np.arange(count)[:, None] * settings.hop + np.arange(settings.n_fft)
    frames = padded[..., index] * settings.taper().astype(samples.dtype)
    spectrum = jnp.fft.rfft(frames)
    power = spectrum.real**2 + spectrum.imag**2
    mel = jnp.einsum(
        "...k,fk->...f", power, jnp.asarray(filters, power.dtype), precision="highest"
    ) * jnp.asarray(settings.scale, power.dtype)
    decibels = 10 * jnp.log10(jnp.maximum(mel, 10 ** (settings.floor_db / 10)))
    return jnp.maximum(1 - decibels * (2 / settings.floor_db), -1)
