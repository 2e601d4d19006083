# SPDX-License-Identifier: Apache-2.0
"""Discriminators that judge sound and video streams together.

Source: Chen et al., "Lip Movements Generation at a Glance", ECCV 2018. The two- and three-stream
forms of the paper and of its code are lists of streams.
"""

import math
from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lipjax.errors import ConfigError, nearest
from lipjax.nn.blocks import ConvBlock
from lipjax.nn.layers import Conv, before_relu
from lipjax.nn.norm import make_norm

FLOW_STRIDES = ((2, 2, 2), (2, 1, 1), (2, 2, 2), (2, 1, 1))
"""From flow of 15x16x16 to a map of 1x4x4, with 3 taps or with padding None."""
DIFFERENCE_STRIDES = ((2, 2, 2), (2, 2, 2), (1, 2, 2), (1, 2, 2))
"""From differences of 15x64x64 to a map of 1x4x4, with 4 taps and padding 1 (15, 7, 3, 2, 1)."""


class SoundStream(nn.Module, kw_only=True):
    """A log-mel feature to one vector.

    Attributes:
        features: length of the vector.
        widths, strides: channels and (time, frequency) steps of the 3x3 convolutions.
        pool: None flattens their whole output; (time, frequency) averages it down to such a grid
            first, which keeps the order of events but spares most parameters.
        norm: "batch", "frame" or "none", of the convolutions.
        linear_norm: "batch" or "none", of the vector.
        negative_slope: slope of the activations below zero.
        form, dtype: see `lipjax.nn.blocks`.

    Example:
        >>> hear = functools.partial(lipjax.SoundStream(features=32).init_with_output, train=False)
        >>> vector, variables = jax.eval_shape(hear, jax.random.key(0), jnp.zeros((2, 64, 128)))
        >>> vector.shape
        (2, 32)
    """

    features: int = 256
    widths: Sequence[int] = (32, 64, 128, 256)
    strides: Sequence[Sequence[int]] = ((1, 1), (2, 2), (1, 1), (2, 2))
    pool: Sequence[int] | None = None
    norm: str = "batch"
    linear_norm: str = "none"
    negative_slope: float = 0.0
    form: str = "rewritten"
    dtype: jax.typing.DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, log_mel: Float[Array, "B C F"], *, train: bool
    ) -> Float[Array, "B {self.features}"]:
        """Returns the vector of each sound."""
        x = log_mel[..., None].astype(self.dtype)
        for number, (width, stride) in enumerate(zip(self.widths, self.strides, strict=True)):
            x = ConvBlock(
                width,
                (3, 3),
                stride,
                norm=self.norm,
                negative_slope=self.negative_slope,
                form=self.form,
                dtype=self.dtype,
                name=f"layer_{number + 1}",
            )(x, train=train)
        if self.pool is not None:
            x = _average_to(x, self.pool)
        x = nn.Dense(
            self.features,
            use_bias=self.linear_norm != "batch",
            kernel_init=before_relu,
            dtype=self.dtype,
            name="linear",
        )(x.reshape(x.shape[0], -1))
        norm = make_norm(
            self.linear_norm, train=train, leading=1, name="linear_norm", dtype=self.dtype
        )
        return nn.leaky_relu(x if norm is None else norm(x), self.negative_slope)


class VideoStream(nn.Module, kw_only=True):
    """A video (or optical flow, or differences) to a small map, by strided 3-D convolutions.

    Attributes:
        source: name of the video among the discriminator's inputs.
        widths, strides: channels and (time, height, width) steps.
        kernel_size: taps of every convolution.
        last_kernel: taps of the last one, if others.
        padding: zeros on every side of every axis; None divides every length by its stride,
            rounding up, which the paper's four taps need on flow of 16x16.
        norm: "batch", "frame" or "none".
        first_norm: whether the first layer has it too.
        negative_slope: slope of the activations below zero.
        form, dtype: see `lipjax.nn.blocks`.

    Example:
        >>> see = functools.partial(lipjax.VideoStream().init_with_output, train=False)
        >>> maps, _ = jax.eval_shape(see, jax.random.key(0), jnp.zeros((2, 16, 64, 64, 3)))
        >>> maps.shape
        (2, 1, 4, 4, 512)
    """

    source: str = "video"
    widths: Sequence[int] = (64, 128, 256, 512)
    strides: Sequence[Sequence[int]] = ((2, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2))
    kernel_size: Sequence[int] = (4, 4, 4)
    last_kernel: Sequence[int] | None = None
    padding: int | None = 1
    norm: str = "batch"
    first_norm: bool = False
    negative_slope: float = 0.0
    form: str = "rewritten"
    dtype: jax.typing.DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, video: Float[Array, "B T H W C"], *, train: bool
    ) -> Float[Array, "B t h w D"]:
        """Returns the map of each video."""
        padding = None if self.padding is None else ((self.padding, self.padding),) * 3
        x = video.astype(self.dtype)
        last = len(self.widths) - 1
        for number, (width, stride) in enumerate(zip(self.widths, self.strides, strict=True)):
            x = ConvBlock(
                width,
                (self.last_kernel if number == last else None) or self.kernel_size,
                stride,
                padding,
                norm=self.norm if number or self.first_norm else "none",
                negative_slope=self.negative_slope,
                form=self.form,
                dtype=self.dtype,
                name=f"layer_{number + 1}",
            )(x, train=train)
        return x


class Discriminator(nn.Module, kw_only=True):
    """Says whether sound and videos are real and belong together.

    Attributes:
        streams: one sound stream (parameters "sound") and any number of video streams (parameters
            named as their `source`), whose maps must have the same shape.
        joint_width: channels of the first joint convolution; 0 leaves it out.
        joint_kernel: (height, width) or (time, height, width) taps of the last one, 4x4 as
            published: one value per place.
        norm, negative_slope, form, dtype: of the joint layers, see `lipjax.nn.blocks`.

    Example:
        >>> judge = lipjax.Discriminator()
        >>> sound, clips = jnp.zeros((2, 64, 128)), {"video": jnp.zeros((2, 16, 64, 64, 3))}
        >>> make = judge.init_with_output
        >>> logits, variables = jax.eval_shape(make, jax.random.key(0), sound, clips)
        >>> logits.shape
        (2,)
    """

    streams: Sequence[nn.Module] = (SoundStream(), VideoStream())
    joint_width: int = 512
    joint_kernel: Sequence[int] = (4, 4)
    norm: str = "batch"
    negative_slope: float = 0.0
    form: str = "rewritten"
    dtype: jax.typing.DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        log_mel: Float[Array, "B C F"],
        videos: Mapping[str, Float[Array, "B ..."]],
        *,
        train: bool = False,
    ) -> Float[Array, "B"]:
        """Returns one logit per example, float32; positive is "real and matching".

        Args:
            log_mel: sound feature.
            videos: name of a video stream's `source` -> video [B T H W C].
            train: whether the norm "batch" uses and updates batch statistics.

        Raises:
            ConfigError: a stream's input is missing or the maps of the streams differ in shape.
        """
        maps, vectors = {}, []
        for stream in self.streams:
            # A copy, because a module in a field would be named by its place in the list.
            if isinstance(stream, SoundStream):
                vectors.append(stream.clone(parent=self, name="sound")(log_mel, train=train))
                continue
            if stream.source not in videos:
                raise ConfigError(
                    f"the discriminator has no input {stream.source!r}"
                    f"{nearest(stream.source, videos)}"
                )
            named = stream.clone(parent=self, name=stream.source)
            maps[stream.source] = named(videos[stream.source], train=train)
        shapes = {name: x.shape[1:4] for name, x in maps.items()}
        if len(set(shapes.values())) != 1:
            raise ConfigError(f"the video streams' maps must have one shape, but are {shapes}")
        spread = [vector[:, None, None, None] for vector in vectors]
        parts = [*maps.values(), *spread]
        if self.joint_width:
            x = ConvBlock(
                self.joint_width,
                (3, 3, 3),
                norm=self.norm,
                negative_slope=self.negative_slope,
                form=self.form,
                dtype=self.dtype,
                name="joint",
            )(parts, train=train)
        else:
            shape = jnp.broadcast_shapes(*(part.shape[:4] for part in parts))
            whole = [jnp.broadcast_to(part, (*shape, part.shape[-1])) for part in parts]
            x = jnp.concatenate(whole, axis=-1)
        x = Conv(
            1,
            (1, *self.joint_kernel)[-3:],
            padding=((0, 0),) * 3,
            form=self.form,
            dtype=self.dtype,
            name="logit",
        )(x)
        return jnp.mean(x.astype(jnp.float32), axis=(1, 2, 3, 4))


def _average_to(x: Float[Array, "B C F D"], grid: Sequence[int]) -> Float[Array, "B c f D"]:
    """Averages equal cells of the two spatial axes down to a grid."""
    (columns, bands), (rows, places) = x.shape[1:3], grid
    if columns % rows or bands % places:
        raise ConfigError(
            f"pool {tuple(grid)} does not divide the sound stream's map {columns}x{bands}; "
            f"use {math.gcd(columns, rows)}x{math.gcd(bands, places)}"
        )
    cells = x.reshape(x.shape[0], rows, columns // rows, places, bands // places, x.shape[-1])
    return jnp.mean(cells, axis=(2, 4))
