# SPDX-License-Identifier: Apache-2.0
"""What "Lip Movements Generation at a Glance" is compared with in its Table 3.

Both baselines hear 16 frames of sound as one vector and make those 16 frames from it, so a longer
talk is windows side by side that know nothing of each other. The Chung-style one is here, the
Vondrick-style one in `lipjax.models.vondrick`.

Source: Chung et al., "You Said That?", BMVC 2017, in the form in which Chen et al., ECCV 2018,
rebuilt it for their comparison.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lipjax.errors import ConfigError
from lipjax.models.discriminators import SoundStream
from lipjax.nn.blocks import ConvBlock
from lipjax.nn.layers import Conv, before_relu, nearly_zero
from lipjax.nn.norm import make_norm

FRAMES = 16
"""Frames of a window, for both systems."""

# (taps, step, zeros on each side) of the picture encoder's convolutions.
_PICTURE = ((7, 2, 1), (5, 2, 1), (3, 1, 0), (3, 1, 1), (3, 1, 1), (3, 1, 1))
# (taps, factor) of the picture decoder, one sample cut on each side. The first one (0) spreads
# one vector: its taps are as many as the encoder's last map is wide and the two that are cut.
_DECODER = ((0, 2), (6, 2), (6, 2), (5, 1), (5, 1), (6, 2), (5, 1))


class _Linear(nn.Module):
    """Linear layer, norm and ReLU: `ConvBlock` for vectors."""

    features: int
    norm: str = "batch"
    dtype: jax.typing.DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B I"], *, train: bool) -> Float[Array, "B {self.features}"]:
        bias = self.norm != "batch"
        x = nn.Dense(
            self.features, use_bias=bias, kernel_init=before_relu, dtype=self.dtype, name="linear"
        )(x)
        norm = make_norm(self.norm, train=train, leading=1, name="norm", dtype=self.dtype)
        return nn.relu(x if norm is None else norm(x))


class WindowGenerator(nn.Module, kw_only=True):
    """What both have in common: the sound of one window as one vector.

    Attributes:
        size: height and width of the pictures in pixels.
        bands: mel bands of the sound feature.
        audio_widths, audio_features, audio_pool: channels of the convolutions over the sound,
            length of its vector, and `pool` of `SoundStream`; None flattens, as published.
        norm: "batch" (as published), "frame" (a frame's statistics are its own; a vector's too) or
            "none".
        audio_norm: another norm for the sound, see `lipjax.models.at_a_glance.Generator`.
        form: how convolutions are computed, see `lipjax.nn.convolution`.
        dtype: type of the computation; parameters and norm statistics are float32.
    """

    size: int = 64
    bands: int = 128
    audio_widths: Sequence[int] = (32, 64, 128, 128)
    audio_features: int = 256
    audio_pool: Sequence[int] | None = None
    norm: str = "batch"
    audio_norm: str | None = None
    form: str = "rewritten"
    dtype: jax.typing.DTypeLike = jnp.float32

    frames: ClassVar[int] = FRAMES
    columns_per_frame: ClassVar[int] = 4
    # Nothing outside a window is heard, and every window is made by itself.
    audio_context: ClassVar[int] = 0
    reach: ClassVar[int] = 0
    margin: ClassVar[int] = 0

    def _sound(self, log_mel: Float[Array, "B C F"], train: bool) -> Float[Array, "B D"]:
        norm = self.audio_norm or self.norm
        return SoundStream(
            features=self.audio_features,
            widths=self.audio_widths,
            pool=self.audio_pool or None,
            norm=norm,
            linear_norm=norm,
            form=self.form,
            dtype=self.dtype,
            name="audio_encoder",
        )(log_mel, train=train)

    def _check(
        self, picture: Sequence[int], sound: Sequence[int], layers: dict[str, int], unit: int
    ) -> None:
        for name, needed in layers.items():
            given = len(getattr(self, name))
            if given != needed:
                raise ConfigError(f"{name} has {given} entries, the layers need {needed}")
        if self.size % unit:
            near = max(1, round(self.size / unit)) * unit
            raise ConfigError(f"pictures of {self.size} px: use a multiple of {unit}, as {near}")
        if tuple(picture[1:3]) != (self.size, self.size):
            raise ConfigError(f"the picture is {picture[1]}x{picture[2]}, size is {self.size}")
        if sound[2] != self.bands:
            raise ConfigError(f"the sound feature has {sound[2]} bands, bands is {self.bands}")
        columns = self.frames * self.columns_per_frame
        if sound[1] != columns:
            raise ConfigError(
                f"the sound feature has {sound[1]} columns; this generator makes windows of "
                f"{self.frames} frames from {columns} columns, no others"
            )


class ChungGenerator(WindowGenerator, kw_only=True):
    """Sound and picture as one vector each, joined, and decoded to the colours of all frames.

    The picture's maps of two sizes go to the decoder around the joint vector. Time is nowhere an
    axis: the last convolution makes 48 channels, and channel 16 * colour + frame is that colour of
    that frame. At 64 px the released code has 38,778,992 parameters, 299,136 of them in two
    convolutions that it never runs; they are left out here. Of the first transposed convolution's
    7x7 taps it cuts off the outer ones, which is kept, though they learn nothing.

    Attributes:
        picture_widths: channels of the convolutions over the picture.
        picture_features: lengths of its vectors.
        joint_features: length of the joint vector.
        decoder_widths: channels of the transposed convolutions.
        others: as in `WindowGenerator`; `size` is a multiple of 8 from 32 on.

    Example:
        >>> generator = lipjax.ChungGenerator()
        >>> picture, sound = jnp.zeros((1, 64, 64, 3)), jnp.zeros((1, 64, 128))
        >>> make = generator.init_with_output
        >>> (video, between), variables = jax.eval_shape(make, jax.random.key(0), picture, sound)
        >>> video.shape
        (1, 16, 64, 64, 3)
    """

    picture_widths: Sequence[int] = (96, 256, 256, 512, 256, 128)
    picture_features: Sequence[int] = (512, 256)
    joint_features: int = 128
    decoder_widths: Sequence[int] = (512, 256, 256, 256, 96, 96, 64)

    @nn.compact
    def __call__(
        self,
        identity: Float[Array, "B H W 3"],
        log_mel: Float[Array, "B C F"],
        *,
        train: bool = False,
    ) -> tuple[Float[Array, "B T H W 3"], dict[str, Array]]:
        """Generates 16 frames.

        Args:
            identity: one picture of the mouth, in [-1, 1].
            log_mel: sound feature of 16 frames.
            train: whether the norm "batch" uses and updates batch statistics.

        Returns:
            The video in (-1, 1), float32, and what lies between: "audio_vector" [B D],
            "identity_vector" [B E] and "joint_vector" [B J], in `dtype`.

        Raises:
            ConfigError: the fields do not fit each other or the inputs.
        """
        layers = {"audio_widths": 4, "picture_widths": 6, "decoder_widths": 7}
        self._check(identity.shape, log_mel.shape, layers, 8)
        if self.size < 32:
            raise ConfigError(f"pictures of {self.size} px are too small, use 32 or more")
        common: dict[str, Any] = {"norm": self.norm, "dtype": self.dtype}
        block: dict[str, Any] = {**common, "leading": 1, "form": self.form}
        audio = self._sound(log_mel, train)
        x, maps = identity.astype(self.dtype), []
        for number, (taps, step, zeros) in enumerate(_PICTURE):
            if number in (1, 3):
                maps.append(x)
            if number == 3:
                x = nn.max_pool(x, (3, 3), (2, 2))
            x = ConvBlock(
                self.picture_widths[number],
                (taps, taps),
                (step, step),
                ((zeros, zeros),) * 2,
                **block,
                name=f"picture_{number + 1}",
            )(x, train=train)
        side = x.shape[1]
        picture = x.reshape(x.shape[0], -1)
        for number, features in enumerate(self.picture_features):
            name = f"picture_linear_{number + 1}"
            picture = _Linear(features, **common, name=name)(picture, train=train)
        joint = jnp.concatenate([audio, picture], axis=-1)
        joint = _Linear(self.joint_features, **common, name="joint")(joint, train=train)
        x = joint[:, None, None]
        for number, (taps, factor) in enumerate(_DECODER):
            if number in (2, 5):
                x = jnp.concatenate([maps.pop(), x], axis=-1)
            x = ConvBlock(
                self.decoder_widths[number],
                (taps or side + 2,) * 2,
                (factor, factor),
                ((1, 1), (1, 1)),
                transpose=True,
                **block,
                name=f"deconv_{number + 1}",
            )(x, train=train)
        x = Conv(
            3 * self.frames,
            (3, 3),
            kernel_init=nearly_zero,
            form=self.form,
            dtype=self.dtype,
            name="colours",
        )(x)
        video = jnp.tanh(frames_of_channels(x.astype(jnp.float32), self.frames))
        between = {"audio_vector": audio, "identity_vector": picture, "joint_vector": joint}
        return video, between


def frames_of_channels(x: Float[Array, "B H W _"], frames: int) -> Float[Array, "B T H W _"]:
    """Returns a video from a map whose channel `frames * colour + frame` is a frame's colour."""
    x = x.reshape(*x.shape[:3], -1, frames)
    return jnp.moveaxis(x, -1, 1)
