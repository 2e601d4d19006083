# SPDX-License-Identifier: Apache-2.0
"""Encoders of the correlation loss: how sound changes and how lips move, in one space.

Source: Chen et al., "Lip Movements Generation at a Glance", ECCV 2018, and the authors' code; the
`SpeechDerivativeEncoder` is ours.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lipjax.models.encoders import SpeechEncoder
from lipjax.nn.layers import Conv
from lipjax.nn.norm import make_norm


class AudioDerivativeEncoder(nn.Module):
    """The change of the generator's audio feature to one vector per step from frame to frame.

    Attributes:
        widths: channels of the 3x3 convolutions, each of which halves the frequency axis; what is
            left of it is averaged.
        derivative: encode the differences of consecutive frames; otherwise the feature itself
            (the paper's ablation), one vector per frame.
        norm: "batch", "frame" or "none". "frame" divides each frame's level out, so that strong
            and weak changes look nearly alike.
        last_activation: as published, the last layer has norm and ReLU; without them it is linear
            and its values have both signs, as a centred loss needs.
        form, dtype: see `lipjax.nn.blocks`.
    """

    widths: Sequence[int] = (128, 64, 32, 16)
    derivative: bool = True
    norm: str = "batch"
    last_activation: bool = True
    form: str = "rewritten"
    dtype: jax.typing.DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, audio: Float[Array, "B T f D"], *, train: bool = False
    ) -> Float[Array, "B _t E"]:
        """Returns the vectors [B T-1 E] (or [B T E] without `derivative`), float32."""
        x = derivative(audio.astype(jnp.float32)) if self.derivative else audio
        return _encoded(self, x, (3, 3), (1, 2), train=train)


class FlowEncoder(nn.Module, kw_only=True):
    """Optical flow (or video) to one vector per flow (or frame).

    Attributes:
        widths: channels of the 3x3x3 convolutions, each of which halves height and width; what is
            left of them is averaged. Four bring flow of 16x16 to one place, six 64x64 video.
        norm, last_activation, form, dtype: as in `AudioDerivativeEncoder`.

    Example:
        >>> make = lipjax.FlowEncoder().init_with_output
        >>> vectors, _ = jax.eval_shape(make, jax.random.key(0), jnp.zeros((1, 15, 16, 16, 2)))
        >>> vectors.shape
        (1, 15, 16)
    """

    widths: Sequence[int] = (4, 8, 16, 16)
    norm: str = "batch"
    last_activation: bool = True
    form: str = "rewritten"
    dtype: jax.typing.DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, flow: Float[Array, "B T h w C"], *, train: bool = False
    ) -> Float[Array, "B T E"]:
        """Returns the vectors, float32."""
        return _encoded(self, flow, (3, 3, 3), (1, 2, 2), train=train)


class SpeechDerivativeEncoder(nn.Module, kw_only=True):
    """Log-mel columns to one vector per step from frame to frame, with ears of its own.

    The generator's audio feature is what the correlation loss would teach; an encoder of the
    sound itself can be given any sound and compare right with wrong.

    Attributes:
        features, strides, blocks: of the `SpeechEncoder`.
        outputs: length of the vectors.
        derivative: encode the differences of consecutive frames' features; otherwise themselves.
        dtype: type of the computation.

    Example:
        >>> make = lipjax.SpeechDerivativeEncoder().init_with_output
        >>> vectors, _ = jax.eval_shape(make, jax.random.key(0), jnp.zeros((1, 64, 128)))
        >>> vectors.shape
        (1, 15, 16)
    """

    features: int = 128
    strides: Sequence[int] = (2, 2)
    blocks: int = 2
    outputs: int = 16
    derivative: bool = True
    dtype: jax.typing.DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, log_mel: Float[Array, "B C F"], *, train: bool = False
    ) -> Float[Array, "B _t {self.outputs}"]:
        """Returns the vectors [B T-1 E], float32, T = C / columns per frame.

        Args:
            log_mel: sound feature.
            train: has no effect; there are no batch statistics.
        """
        del train
        encoder = SpeechEncoder(
            self.features, self.strides, self.blocks, dtype=self.dtype, name="speech"
        )
        x = encoder(log_mel).astype(jnp.float32)
        x = derivative(x) if self.derivative else x
        return nn.Dense(self.outputs, dtype=self.dtype, name="linear")(x).astype(jnp.float32)


def derivative(feature: Float[Array, "B T *axes"]) -> Float[Array, "B _t *axes"]:
    """Returns each frame less the one after it, T - 1 of them; the sign is the published one."""
    return feature[:, :-1] - feature[:, 1:]


def _encoded(
    encoder: AudioDerivativeEncoder | FlowEncoder,
    x: Array,
    taps: Sequence[int],
    strides: Sequence[int],
    *,
    train: bool,
) -> Float[Array, "B T E"]:
    """The convolutions that both encoders have, and the mean over the places left."""
    dtype = encoder.dtype
    for number, width in enumerate(encoder.widths, 1):
        # Not a ConvBlock: as released there is a bias even before a batch norm.
        conv = Conv(width, taps, strides, form=encoder.form, dtype=dtype, name=f"layer_{number}")
        x = conv(x)
        if number == len(encoder.widths) and not encoder.last_activation:
            break
        norm = make_norm(encoder.norm, train=train, leading=2, name=f"norm_{number}", dtype=dtype)
        x = nn.relu(x if norm is None else norm(x))
    return jnp.mean(x.astype(jnp.float32), axis=tuple(range(2, x.ndim - 1)))
