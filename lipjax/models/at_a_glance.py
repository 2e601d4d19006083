# SPDX-License-Identifier: Apache-2.0
"""The generator of "Lip Movements Generation at a Glance" (Chen et al., ECCV 2018).

Speech and one picture of a mouth become all frames of a clip in one pass. The sound's map
(time x frequency) is laid over the picture's map (height x width): frequency runs along the
height and is repeated along the width, the picture is repeated along time, so the maps must have
F = H = W. The widths of the paper, of the authors' code and ours are different fields of these
same modules.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lipjax.errors import ConfigError
from lipjax.models.decoders import Decoder, Fusion
from lipjax.models.encoders import AudioEncoder, IdentityEncoder, SpeechEncoder


class Generator(nn.Module, kw_only=True):
    """Speech and one picture to a talking mouth.

    Attributes:
        size: height and width of the pictures in pixels.
        bands: mel bands of the sound feature.
        audio_widths, audio_pool: see `AudioEncoder`.
        audio_time_strides: their product is the number of log-mel columns per video frame.
        audio_frequency_strides, identity_strides, decoder_strides: from `map_sizes.strides_for`.
        identity_widths: see `IdentityEncoder`.
        fusion_width: channels of the fused feature and of the residual blocks.
        speech_features: length of a vector that a `SpeechEncoder` hears in each frame and that is
            laid over every place of the fused map; 0 is none, as published. Without it a place
            hears the frequencies of its own height, and as far as the convolutions behind the
            fusion reach, and learns to hear late.
        speech_blocks: residual blocks of the `SpeechEncoder`.
        residual_blocks, residual_kernel, decoder_widths, decoder_kernel, final_kernel,
            paint_on_picture, remat: see `Decoder`.
        norm: "batch" (as published) or "frame" (no frame knows of another, see `FrameNorm`).
        audio_norm: another norm for the audio encoder; "frame" would take the loudness out of every
            column before anything has seen it, so "none" belongs to the norm "frame".
        audio_context: frames of real sound that are given beyond the window on both sides; their
            rows are cut off behind the encoders, so that they see no border.
        form: how convolutions are computed, see `lipjax.nn.convolution`.
        dtype: type of the computation; parameters and norm statistics are float32.

    Example:
        >>> generator = lipjax.Generator()
        >>> picture, sound = jnp.zeros((1, 64, 64, 3)), jnp.zeros((1, 64, 128))
        >>> make = generator.init_with_output
        >>> (video, between), variables = jax.eval_shape(make, jax.random.key(0), picture, sound)
        >>> video.shape, sorted(between)
        ((1, 16, 64, 64, 3), ['audio_feature', 'fused', 'identity_feature'])
    """

    size: int = 64
    bands: int = 128
    audio_widths: Sequence[int] = (32, 64, 128, 256, 256)
    audio_pool: str = "conv"
    audio_time_strides: Sequence[int] = (1, 2, 1, 2, 1)
    audio_frequency_strides: Sequence[int] = (1, 2, 1, 2, 2)
    identity_widths: Sequence[int] = (64, 128, 256)
    identity_strides: Sequence[int] = (1, 2, 2)
    fusion_width: int = 256
    speech_features: int = 0
    speech_blocks: int = 2
    residual_blocks: int = 9
    residual_kernel: Sequence[int] = (1, 3, 3)
    decoder_widths: Sequence[int] = (128, 64)
    decoder_strides: Sequence[int] = (2, 2)
    decoder_kernel: Sequence[int] = (3, 3, 3)
    final_kernel: Sequence[int] = (7, 7, 7)
    paint_on_picture: bool = False
    remat: bool = False
    norm: str = "batch"
    audio_norm: str | None = None
    audio_context: int = 0
    form: str = "rewritten"
    dtype: jax.typing.DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        identity: Float[Array, "B H W 3"],
        log_mel: Float[Array, "B C F"],
        *,
        train: bool = False,
    ) -> tuple[Float[Array, "B T H W 3"], dict[str, Array]]:
        """Generates a clip.

        Args:
            identity: one picture of the mouth, in [-1, 1].
            log_mel: sound feature, C = (T + 2 * audio_context) * columns_per_frame.
            train: whether the norm "batch" uses and updates batch statistics.

        Returns:
            The video in (-1, 1), float32, and what lies between: "audio_feature" [B T f D],
            "identity_feature" [B h w D], "fused" [B T h w D], in `dtype`.

        Raises:
            ConfigError: the fields do not fit each other or the inputs.
        """
        self._check(identity.shape, log_mel.shape)
        common: dict[str, Any] = {"norm": self.norm, "form": self.form, "dtype": self.dtype}
        audio = AudioEncoder(
            self.audio_widths,
            self.audio_time_strides,
            self.audio_frequency_strides,
            self.audio_pool,
            **{**common, "norm": self.audio_norm or self.norm},
            name="audio_encoder",
        )(log_mel.astype(self.dtype), train=train)
        audio = self._without_context(audio)
        picture = IdentityEncoder(
            self.identity_widths, self.identity_strides, **common, name="identity_encoder"
        )(identity.astype(self.dtype), train=train)
        everywhere = None
        if self.speech_features:
            everywhere = self._speech_encoder(name="speech_encoder")(log_mel.astype(self.dtype))
            everywhere = self._without_context(everywhere)
        fused = Fusion(self.fusion_width, **common, name="fusion")(
            picture, audio, everywhere, train=train
        )
        video = Decoder(
            self.residual_blocks,
            self.residual_kernel,
            self.decoder_widths,
            self.decoder_strides,
            self.decoder_kernel,
            self.final_kernel,
            self.paint_on_picture,
            self.remat,
            **common,
            name="decoder",
        )(fused, identity, train=train)
        return video, {"audio_feature": audio, "identity_feature": picture, "fused": fused}

    @property
    def columns_per_frame(self) -> int:
        """Log-mel columns per video frame."""
        return math.prod(self.audio_time_strides)

    @property
    def audio_reach(self) -> int:
        """Frames of sound beyond its own that a row of the audio features sees at most."""
        first = last = 0
        convolutions = len(self.audio_widths)
        for number in reversed(range(len(self.audio_time_strides))):
            stride = self.audio_time_strides[number]
            # A 3-tap convolution starts one before its column; a pooling window on it.
            before, after = (1, 1) if number < convolutions else (0, stride - 1)
            first, last = first * stride - before, last * stride + after
        spoken = self._speech_encoder(parent=None).reach if self.speech_features else 0
        return max(-(first // self.columns_per_frame), last // self.columns_per_frame, spoken)

    @property
    def video_reach(self) -> int:
        """Rows of the audio feature beyond its own frame that a frame of the video sees."""
        taps = [
            3,
            *[self.residual_kernel[0]] * 2 * self.residual_blocks,
            *[self.decoder_kernel[0]] * len(self.decoder_widths),
            self.final_kernel[0],
        ]
        return sum(taken // 2 for taken in taps)

    @property
    def reach(self) -> int:
        """Frames beyond which the sound cannot change a frame of the video."""
        return self.audio_reach + self.video_reach

    @property
    def margin(self) -> int:
        """Frames at each inner border of a chunk that a neighbouring chunk would change."""
        return self.video_reach + max(0, self.audio_reach - self.audio_context)

    def _speech_encoder(self, **fields: Any) -> SpeechEncoder:
        # At one column per frame there is nothing to stride over, but still bands to take in.
        strides = [stride for stride in self.audio_time_strides if stride > 1] or [1]
        parts = self.speech_features, strides, self.speech_blocks
        return SpeechEncoder(*parts, dtype=self.dtype, **fields)

    def _without_context(self, feature: Float[Array, "B T ..."]) -> Float[Array, "B t ..."]:
        return feature[:, self.audio_context : feature.shape[1] - self.audio_context]

    def _check(self, picture: Sequence[int], sound: Sequence[int]) -> None:
        layers = len(self.audio_widths) + (self.audio_pool == "max")
        pairs: Mapping[str, tuple[int, int]] = {
            "audio_time_strides": (len(self.audio_time_strides), layers),
            "audio_frequency_strides": (len(self.audio_frequency_strides), layers),
            "identity_strides": (len(self.identity_strides), len(self.identity_widths)),
            "decoder_strides": (len(self.decoder_strides), len(self.decoder_widths)),
        }
        if self.audio_pool not in ("conv", "max"):
            raise ConfigError(f"audio_pool {self.audio_pool!r}: use 'conv' or 'max'")
        for name, (given, needed) in pairs.items():
            if given != needed:
                raise ConfigError(f"{name} has {given} entries, the layers need {needed}")
        kernels = (self.residual_kernel, self.decoder_kernel, self.final_kernel)
        if any(len(kernel) != 3 or any(k % 2 == 0 for k in kernel) for kernel in kernels):
            raise ConfigError(f"kernels need three odd numbers of taps, but are {kernels}")
        maps = {
            "H = W": self.size / math.prod(self.identity_strides),
            "F": self.bands / math.prod(self.audio_frequency_strides),
            "the decoder's": self.size / math.prod(self.decoder_strides),
        }
        if len(set(maps.values())) > 1:
            found = ", ".join(f"{name} = {value:g}" for name, value in maps.items())
            raise ConfigError(f"the maps must be equal, but {found}; use strides_for(size, bands)")
        if tuple(picture[1:3]) != (self.size, self.size):
            raise ConfigError(f"the picture is {picture[1]}x{picture[2]}, size is {self.size}")
        if sound[2] != self.bands:
            raise ConfigError(f"the sound feature has {sound[2]} bands, bands is {self.bands}")
        frames, rest = divmod(sound[1], self.columns_per_frame)
        if rest or frames <= 2 * self.audio_context:
            raise ConfigError(
                f"{sound[1]} columns are not a whole number of frames of {self.columns_per_frame}"
                f" columns and more than 2 * {self.audio_context} frames of context"
            )
