# SPDX-License-Identifier: Apache-2.0
"""Adversarial losses on logits, one value per example; the caller weights and reduces them.

They are the binary cross entropies of sigmoid(logit), written with softplus so that no logit
overflows. Source: Goodfellow et al., "Generative Adversarial Nets", 2014.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def real(logits: Float[Array, "B"]) -> Float[Array, "B"]:
    """Returns -log D of each example: the discriminator's loss on what is real and matches."""
    return jax.nn.softplus(-logits.astype(jnp.float32))


def fake(logits: Float[Array, "B"]) -> Float[Array, "B"]:
    """Returns -log(1 - D) of each example: its loss on what is generated or mismatched."""
    return jax.nn.softplus(logits.astype(jnp.float32))


def generator(logits: Float[Array, "B"]) -> Float[Array, "B"]:
    """Returns -log D of each generated example: the generator's non-saturating loss."""
    return real(logits)
