# SPDX-License-Identifier: Apache-2.0
"""A network that sees optical flow, at several scales at once.

Source: Dosovitskiy et al., "FlowNet: Learning Optical Flow with Convolutional Networks", ICCV 2015
(the simple form, FlowNetS, without batch norm).
"""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lipjax.errors import ConfigError
from lipjax.nn.blocks import ConvBlock
from lipjax.nn.layers import Conv, ConvTranspose, nearly_zero

PYRAMID_WIDTHS = (64, 128, 256, 512, 512, 1024)


class FlowNet(nn.Module, kw_only=True):
    """FlowNetS: two pictures to the flow from the first to the second.

    Each encoder level halves the picture; the decoder goes back up, one level per decoder width,
    and predicts the flow at each. With n widths and d decoder widths there are d + 1 predictions,
    on grids of 1 / 2^(n-d) (a quarter as published) to 1 / 2^n of the picture. Other widths make
    a light network; with other numbers of them it has fewer levels.

    Attributes:
        widths: channels of the encoder's levels, finest first.
        decoder_widths: channels of the decoder's levels, coarsest first; fewer than `widths`.
        scale: full-size pixels that a raw output of 1 means. The published networks put out
            pixels / 20.
        form, dtype: see `lipjax.nn.blocks`.

    Example:
        >>> network = lipjax.FlowNet(widths=(8, 16, 16), decoder_widths=(8,))
        >>> first, second = jnp.zeros((1, 64, 64, 3)), jnp.zeros((1, 64, 64, 3))
        >>> make = network.init_with_output
        >>> flows, variables = jax.eval_shape(make, jax.random.key(0), first, second)
        >>> [flow.shape for flow in flows]
        [(1, 16, 16, 2), (1, 8, 8, 2)]
    """

    widths: Sequence[int] = PYRAMID_WIDTHS
    decoder_widths: Sequence[int] = (512, 256, 128, 64)
    scale: float = 20.0
    form: str = "rewritten"
    dtype: jax.typing.DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, first: Float[Array, "B H W C"], second: Float[Array, "B H W C"]
    ) -> tuple[Float[Array, "B _h _w 2"], ...]:
        """Returns the flow predictions, finest first.

        Args:
            first: pictures in [-1, 1].
            second: the pictures after them.

        Returns:
            Float32 displacements (x, y), each in pixels of its own grid: `first` at p looks like
            `second` at p + flow(p).

        Raises:
            ConfigError: the decoder has as many levels as the encoder, or more.
        """
        if not 0 <= len(self.decoder_widths) < len(self.widths):
            raise ConfigError(
                f"a flow network of {len(self.widths)} widths has at most {len(self.widths) - 1} "
                f"decoder_widths, not {len(self.decoder_widths)}"
            )
        skips = self._encode(jnp.concatenate([first, second], axis=-1))
        level = len(self.widths)
        x, raw = skips.pop(), None
        predictions = []
        for width in (None, *self.decoder_widths):
            if width is not None:
                level -= 1
                skip = skips.pop()
                parts = [
                    self._block(width, 4, 2, f"deconv_{level}", transpose=True)(x, train=False),
                    self._layer(ConvTranspose, 4, f"up_{level + 1}", strides=(2, 2))(raw),
                ]
                # A level of odd size was rounded up when it was halved.
                parts = [part[:, : skip.shape[1], : skip.shape[2]] for part in parts]
                x = jnp.concatenate([skip, *parts], axis=-1)
            # Near zero, so that training starts from no motion.
            raw = self._layer(Conv, 3, f"predict_{level}", kernel_init=nearly_zero)(x)
            predictions.append(raw.astype(jnp.float32) * (self.scale / 2**level))
        return tuple(reversed(predictions))

    def _encode(self, x: Array) -> list[Array]:
        """The features of all levels, finest first."""
        levels = []
        for number, width in enumerate(self.widths):
            taps = 7 if number == 0 else 5 if number < 3 else 3
            x = self._block(width, taps, 2, f"conv_{number + 1}")(x, train=False)
            if number >= 2:
                x = self._block(width, 3, 1, f"conv_{number + 1}_1")(x, train=False)
            levels.append(x)
        return levels

    def _block(
        self, width: int, taps: int, stride: int, name: str, *, transpose: bool = False
    ) -> ConvBlock:
        return ConvBlock(
            width,
            (taps, taps),
            (stride, stride),
            transpose=transpose,
            norm="none",
            negative_slope=0.1,
            form=self.form,
            dtype=self.dtype,
            name=name,
        )

    def _layer(self, kind: type[nn.Module], taps: int, name: str, **fields: object) -> nn.Module:
        """A layer to the two components of a flow, without activation or bias."""
        common = {"use_bias": False, "form": self.form, "dtype": self.dtype, "name": name}
        return kind(2, (taps, taps), **common, **fields)


def video_flow(
    apply_fn: Callable[[Array, Array], Sequence[Float[Array, "N h w 2"]]],
    video: Float[Array, "B T H W C"],
) -> Float[Array, "B _t h w 2"]:
    """Returns the finest flow between all consecutive frames, computed in one batch.

    Args:
        apply_fn: from first and second pictures [N H W C] to predictions, finest first; a
            `FlowNet` with its parameters.
        video: clips in [-1, 1].

    Returns:
        Flow [B T-1 h w 2] in pixels of its own grid; flow t goes from frame t to frame t + 1.
    """
    first, second = pairs(video)
    finest = apply_fn(first, second)[0]
    return finest.reshape(len(video), -1, *finest.shape[1:])


def pairs(
    video: Float[Array, "B T H W C"],
) -> tuple[Float[Array, "N H W C"], Float[Array, "N H W C"]]:
    """Returns the first and the second frame of all consecutive pairs, N = B (T - 1)."""
    shape = (-1, *video.shape[2:])
    return video[:, :-1].reshape(shape), video[:, 1:].reshape(shape)
