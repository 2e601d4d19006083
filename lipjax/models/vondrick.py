# SPDX-License-Identifier: Apache-2.0
"""The Vondrick-style baseline: noise and sound to a moving foreground before a still background.

Source: Vondrick et al., "Generating Videos with Scene Dynamics", NeurIPS 2016, in the form in which
Chen et al., "Lip Movements Generation at a Glance", ECCV 2018, rebuilt it for their comparison.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lipjax.models.baselines import WindowGenerator
from lipjax.models.discriminators import Discriminator, SoundStream, VideoStream
from lipjax.nn.blocks import ConvBlock
from lipjax.nn.layers import Conv, nearly_zero

# (taps in time, in space; factor) of the video decoder up to the split in mask and colours, and
# behind it; one sample cut on each side but for the first. Frames: 2, 2, 4, 8, 16.
_FOREGROUND = ((2, None, 1), (2, 4, 2), (4, 4, 2), (4, 4, 2), (4, 4, 2))


class VondrickGenerator(WindowGenerator, kw_only=True):
    """Sound and noise to a moving foreground, its mask, and a still background.

    It is not shown whom to animate: the picture is an argument only so that it is called like
    every generator, and is not used.

    Attributes:
        noise: length of the noise vector. It is drawn from the random stream "noise" where there
            is one (`apply(..., rngs={"noise": key})`) and is zero without, so that speaking gives
            the same frames every time.
        foreground_widths: channels of the 3-D transposed convolutions; the last number is that of
            the two that mask and colours have each for themselves.
        background_widths: channels of the 2-D transposed convolutions.
        others: as in `WindowGenerator`; `size` is a multiple of 16.

    Example:
        >>> generator = lipjax.VondrickGenerator()
        >>> picture, sound = jnp.zeros((1, 64, 64, 3)), jnp.zeros((1, 64, 128))
        >>> make = generator.init_with_output
        >>> (video, between), variables = jax.eval_shape(make, jax.random.key(0), picture, sound)
        >>> video.shape
        (1, 16, 64, 64, 3)
    """

    noise: int = 100
    foreground_widths: Sequence[int] = (512, 256, 128, 64, 64)
    background_widths: Sequence[int] = (512, 256, 128, 64, 64)

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
            identity: not used, see above.
            log_mel: sound feature of 16 frames.
            train: whether the norm "batch" uses and updates batch statistics.

        Returns:
            The video in (-1, 1), float32, and what it is made of, float32: "foreground"
            [B T H W 3], "mask" [B T H W 1] in (0, 1), "background" [B H W 3], "noise" [B N].

        Raises:
            ConfigError: the fields do not fit each other or the inputs.
        """
        layers = {"audio_widths": 4, "foreground_widths": 5, "background_widths": 5}
        self._check(identity.shape, log_mel.shape, layers, 16)
        audio = self._sound(log_mel, train)
        noise = jnp.zeros((audio.shape[0], self.noise), jnp.float32)
        if self.has_rng("noise"):
            noise = jax.random.normal(self.make_rng("noise"), noise.shape)
        code = jnp.concatenate([noise.astype(self.dtype), audio], axis=-1)

        x = code[:, None, None]
        for number in range(5):
            x = self._deconv(x, "background", number, train)
        background = jnp.tanh(self._output(x, 3, "background"))
        x = code[:, None, None, None]
        for number in range(4):
            x = self._deconv(x, "foreground", number, train)
        mask = self._deconv(x, "foreground", 4, train, name="mask_deconv")
        mask = nn.sigmoid(self._output(mask, 1, "mask"))
        colours = self._deconv(x, "foreground", 4, train)
        foreground = jnp.tanh(self._output(colours, 3, "foreground"))
        video = mask * foreground + (1.0 - mask) * background[:, None]
        return video, {
            "foreground": foreground,
            "mask": mask,
            "background": background,
            "noise": noise,
        }

    def _deconv(self, x: Array, stream: str, number: int, train: bool, name: str = "") -> Array:
        """Runs one transposed convolution; a picture's are a video's without their time."""
        first, space = (0 if x.ndim == 5 else 1), x.ndim - 2
        times, places, factor = _FOREGROUND[number]
        places = places or self.size // 16
        cut = min(number, 1)
        widths = self.foreground_widths if stream == "foreground" else self.background_widths
        return ConvBlock(
            widths[number],
            (times, places, places)[first:],
            (factor,) * space,
            ((cut, cut),) * space,
            transpose=True,
            norm=self.norm,
            leading=space - 1,
            form=self.form,
            dtype=self.dtype,
            name=name or f"{stream}_deconv_{number + 1}",
        )(x, train=train)

    def _output(self, x: Array, channels: int, stream: str) -> Array:
        conv = Conv(
            channels,
            (3,) * (x.ndim - 2),
            kernel_init=nearly_zero,
            form=self.form,
            dtype=self.dtype,
            name=f"{stream}_output",
        )
        return conv(x).astype(jnp.float32)


def vondrick_discriminator(
    sound: SoundStream | None = None,
    video_widths: Sequence[int] = (64, 128, 256, 512),
    norm: str = "batch",
    negative_slope: float = 0.0,
    form: str = "rewritten",
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> Discriminator:
    """Returns the judge of the Vondrick-style generator: sound and video, without a joint layer.

    Args:
        sound: its sound stream; None is the released one.
        video_widths: channels of the video stream's convolutions.
        norm, negative_slope, form, dtype: of the video stream, see `lipjax.nn.blocks`.
    """
    common: dict[str, Any] = {
        "norm": norm,
        "negative_slope": negative_slope,
        "form": form,
        "dtype": dtype,
    }
    video = VideoStream(
        widths=tuple(video_widths),
        strides=((2, 2, 2),) * 4,
        last_kernel=(2, 4, 4),
        first_norm=True,
        **common,
    )
    sound = SoundStream(**common) if sound is None else sound
    return Discriminator(streams=(sound, video), joint_width=0, joint_kernel=(2, 4, 4), **common)
