# SPDX-License-Identifier: Apache-2.0
"""From an audio and an identity feature to a video: fusion and decoder.

Source: Chen et al., "Lip Movements Generation at a Glance", ECCV 2018, and the authors' code.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lipjax.nn.blocks import ConvBlock, ResidualBlock
from lipjax.nn.layers import Conv, nearly_zero


class Fusion(nn.Module):
    """Audio-identity fusion: both features in one video-shaped map.

    Attributes:
        width: channels of the 3x3x3 convolution.
        norm, form, dtype: see `lipjax.nn.blocks`.
    """

    width: int = 256
    norm: str = "batch"
    form: str = "rewritten"
    dtype: jax.typing.DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        identity: Float[Array, "B h w D"],
        audio: Float[Array, "B T h E"],
        everywhere: Float[Array, "B T R"] | None = None,
        *,
        train: bool,
    ) -> Float[Array, "B T h w {self.width}"]:
        """Returns the fused feature.

        The audio's frequency axis lies along the height; `everywhere` is laid over every place.
        """
        parts = [identity[:, None], audio[:, :, :, None]]
        if everywhere is not None:
            parts.append(everywhere[:, :, None, None])
        return ConvBlock(
            self.width,
            (3, 3, 3),
            norm=self.norm,
            form=self.form,
            dtype=self.dtype,
            name="layer_1",
        )(parts, train=train)


class Decoder(nn.Module):
    """The fused feature to a video.

    Attributes:
        residual_blocks, residual_kernel: number and (time, height, width) taps of the blocks.
        widths, strides: channels and spatial factors of the transposed convolutions.
        kernel: (time, height, width) taps of the transposed convolutions.
        final_kernel: (time, height, width) taps of the last convolution.
        paint_on_picture: the last convolution sees the picture too, and its output is added to
            it, instead of being squashed to colours; so a face does not have to be learned.
        remat: in training keep of each residual block and transposed convolution the input alone
            and compute the rest again on the way back: less memory, more time, the same values.
        norm, form, dtype: see `lipjax.nn.blocks`.
    """

    residual_blocks: int = 9
    residual_kernel: Sequence[int] = (1, 3, 3)
    widths: Sequence[int] = (128, 64)
    strides: Sequence[int] = (2, 2)
    kernel: Sequence[int] = (3, 3, 3)
    final_kernel: Sequence[int] = (7, 7, 7)
    paint_on_picture: bool = False
    remat: bool = False
    norm: str = "batch"
    form: str = "rewritten"
    dtype: jax.typing.DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "B T h w D"], picture: Float[Array, "B H W 3"], *, train: bool
    ) -> Float[Array, "B T H W 3"]:
        """Returns the video, float32, in (-1, 1) or, painted on a picture, about there."""
        common: dict[str, Any] = {"norm": self.norm, "form": self.form, "dtype": self.dtype}
        for number in range(self.residual_blocks):
            name = f"residual_{number + 1}"
            x = self._applied(ResidualBlock(self.residual_kernel, **common, name=name), x, train)
        for number, (width, stride) in enumerate(zip(self.widths, self.strides, strict=True)):
            block = ConvBlock(
                width,
                self.kernel,
                (1, stride, stride),
                transpose=True,
                **common,
                name=f"deconv_{number + 1}",
            )
            x = self._applied(block, x, train)
        still = jnp.broadcast_to(picture[:, None], (*x.shape[:-1], 3))
        if self.paint_on_picture:
            x = jnp.concatenate([x, still.astype(x.dtype)], axis=-1)
        x = Conv(
            3,
            self.final_kernel,
            kernel_init=nearly_zero,
            form=self.form,
            dtype=self.dtype,
            name="colours",
        )(x).astype(jnp.float32)
        # A sum, not a blend by a learned share: the share goes to the picture early, where the
        # still mouth is the better guess, and its gradient dies with it.
        return still.astype(jnp.float32) + x if self.paint_on_picture else jnp.tanh(x)

    def _applied(self, block: nn.Module, x: Array, train: bool) -> Array:
        if not (self.remat and train):
            return block(x, train=train)
        return nn.remat(lambda inner, x: inner(x, train=True))(block, x)
