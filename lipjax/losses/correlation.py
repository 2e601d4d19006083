# SPDX-License-Identifier: Apache-2.0
"""Correlation of sound and motion, one value per example; the caller weights and reduces them.

The published form is `cosine`. Its encoders end in ReLU, so what it compares is never negative:
unrelated sound and motion already score about 0.1, and features that are constant in time score 0.
`centred` and `contrast` are ours: a constant correlates with nothing, and agreeing with the right
sound pays only as far as it is more than agreeing with a wrong one.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def cosine(sound: Float[Array, "B T C"], motion: Float[Array, "B T C"]) -> Float[Array, "B"]:
    """Returns one minus the cosine of the two series of channel means, in [0, 2].

    Args:
        sound: encoded change of sound.
        motion: encoded motion.

    Source: Chen et al., "Lip Movements Generation at a Glance", ECCV 2018, L_corr, with the
    channel mean of the authors' code.
    """
    s = jnp.mean(sound.astype(jnp.float32), axis=-1)
    v = jnp.mean(motion.astype(jnp.float32), axis=-1)
    energies = (jnp.sum(jnp.square(x), axis=1) + 1e-12 for x in (s, v))
    lengths = [jnp.sqrt(energy) for energy in energies]
    return 1.0 - jnp.sum(s * v, axis=1) / (lengths[0] * lengths[1])


def centred(sound: Float[Array, "B T C"], motion: Float[Array, "B T C"]) -> Float[Array, "B"]:
    """Returns the correlation over time of sound and motion, in [-1, 1].

    Each channel's mean over time is taken off, then it is the cosine of all values. What does not
    change over time counts 0, with a finite gradient.

    Args:
        sound: encoded change of sound.
        motion: encoded motion.

    Source: with one channel it is Pearson's correlation coefficient.
    """
    s, s_energy = _centred(sound)
    v, v_energy = _centred(motion)
    return jnp.mean(s * v, axis=(1, 2)) * jax.lax.rsqrt(s_energy) * jax.lax.rsqrt(v_energy)


def contrast(
    right: Float[Array, "B"], wrong: Float[Array, "B"], temperature: float = 0.2
) -> Float[Array, "B"]:
    """Returns softplus((wrong - right) / temperature): log 2 for whoever cannot tell them apart.

    It is the cross entropy of picking the right one of two. A constant encoder scores log 2, and
    only telling the right sound from the wrong one brings it below.

    Args:
        right: correlation of a clip with its own sound.
        wrong: correlation of the clip with another clip's sound.
        temperature: difference of correlations that counts as one; much larger ones hardly pull.

    Source: van den Oord et al., "Representation Learning with Contrastive Predictive Coding",
    2018, eq. 4, with one negative.
    """
    difference = wrong.astype(jnp.float32) - right.astype(jnp.float32)
    return jax.nn.softplus(difference / temperature)


def _centred(x: Array) -> tuple[Array, Array]:
    """x less each channel's mean over time, and its mean square, kept above zero."""
    x = x.astype(jnp.float32)
    values = x - jnp.mean(x, axis=1, keepdims=True)
    # The mean of equal numbers is off by a rounding error, which must stay small beside this.
    floor = 1e-8 + 1e-6 * jnp.mean(jnp.square(x), axis=(1, 2))
    return values, jnp.mean(jnp.square(values), axis=(1, 2)) + floor
