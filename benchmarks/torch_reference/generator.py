# SPDX-License-Identifier: Apache-2.0
"""The released generator in PyTorch: all frames of a clip in one pass, batched as pictures."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.torch_reference.layers import (
    ConvBlock,
    ResidualBlock,
    channels_last,
    clips_of,
    named_sequence,
    pictures_of,
)


class Generator(nn.Module):
    """A picture of a mouth and its speech to a clip of it.

    Attributes:
        audio_widths, identity_widths, fusion_width, decoder_widths: channels of the layers.
        residual_blocks: number of them.
        colours_by_frame: compute the last convolution by frames, its taps in time as channels;
            an exact rewriting for the few output channels that oneDNN is slow at.
    """

    def __init__(
        self,
        audio_widths: Sequence[int] = (32, 64, 128, 256, 256),
        identity_widths: Sequence[int] = (64, 128, 256),
        fusion_width: int = 256,
        residual_blocks: int = 9,
        decoder_widths: Sequence[int] = (128, 64),
        colours_by_frame: bool = False,
    ) -> None:
        super().__init__()
        self.audio_encoder = sound_layers(
            audio_widths, ((1, 1), (2, 2), (1, 1), (2, 2), (1, 2))[: len(audio_widths)]
        )
        self.identity_encoder = picture_layers(identity_widths)
        self.fusion = nn.Module()
        both = identity_widths[-1] + audio_widths[-1]
        self.fusion.layer_1 = ConvBlock(nn.Conv3d(both, fusion_width, 3, padding=1, bias=False))
        self.decoder = Decoder(fusion_width, residual_blocks, decoder_widths, colours_by_frame)

    def forward(self, identity: Tensor, log_mel: Tensor) -> tuple[Tensor, Tensor]:
        """Generates clips.

        Args:
            identity: [B, 3, H, W] in [-1, 1].
            log_mel: [B, columns, bands], four columns per frame.

        Returns:
            The clips [B, 3, T, H, W] in (-1, 1), and the audio feature [B, D, T, frequencies].
        """
        audio = self.audio_encoder(log_mel[:, None])
        picture = self.identity_encoder(channels_last(identity))
        frames, width = audio.shape[2], picture.shape[3]
        # Joined as B T H W C: the join writes channels-last memory at once.
        parts = [
            picture.permute(0, 2, 3, 1)[:, None].expand(-1, frames, -1, -1, -1),
            audio.permute(0, 2, 3, 1)[:, :, :, None].expand(-1, -1, -1, width, -1),
        ]
        cube = torch.cat(parts, dim=-1).permute(0, 4, 1, 2, 3)
        return self.decoder(self.fusion.layer_1(cube)), audio


class Decoder(nn.Module):
    """The fused feature to a clip: blocks within each frame, then convolutions over time too."""

    def __init__(
        self, channels: int, blocks: int, widths: Sequence[int], colours_by_frame: bool
    ) -> None:
        super().__init__()
        self.blocks = [f"residual_{i + 1}" for i in range(blocks)]
        for name in self.blocks:
            self.add_module(name, ResidualBlock(channels))
        self.deconvs = [f"deconv_{i + 1}" for i in range(len(widths))]
        for name, before, width in zip(self.deconvs, (channels, *widths), widths, strict=False):
            conv = nn.ConvTranspose3d(
                before, width, 3, (1, 2, 2), padding=1, output_padding=(0, 1, 1), bias=False
            )
            self.add_module(name, ConvBlock(conv))
        self.colours = nn.Conv3d(widths[-1], 3, 7, padding=3)
        self.colours_by_frame = colours_by_frame

    def forward(self, x: Tensor) -> Tensor:
        """Returns clips in (-1, 1)."""
        batch = x.shape[0]
        x = pictures_of(x)
        for name in self.blocks:
            x = self.get_submodule(name)(x)
        x = clips_of(x, batch)
        for name in self.deconvs:
            x = self.get_submodule(name)(x)
        x = self._colours_by_frame(x) if self.colours_by_frame else self.colours(x)
        return torch.tanh(x)

    def _colours_by_frame(self, x: Tensor) -> Tensor:
        """Every frame once for all seven taps in time, whose results are shifted and added up."""
        colours, channels, taps = self.colours.weight.shape[:3]
        kernel = self.colours.weight.permute(2, 0, 1, 3, 4).flatten(0, 1)
        y = F.conv2d(pictures_of(x), channels_last(kernel), padding=self.colours.padding[1:])
        y = F.pad(clips_of(y, x.shape[0]), (0, 0, 0, 0, taps // 2, taps // 2))
        frames = x.shape[2]
        parts = [y[:, colours * k : colours * (k + 1), k : k + frames] for k in range(taps)]
        return sum(parts[1:], parts[0]) + self.colours.bias[:, None, None, None]


def sound_layers(widths: Sequence[int], strides: Sequence[Sequence[int]]) -> nn.Sequential:
    """3x3 convolutions of a log-mel picture [B, 1, columns, bands]."""
    inputs = (1, *widths)
    return named_sequence(
        [
            ConvBlock(nn.Conv2d(before, width, 3, tuple(stride), padding=1, bias=False))
            for before, width, stride in zip(inputs, widths, strides, strict=False)
        ]
    )


def picture_layers(widths: Sequence[int]) -> nn.Sequential:
    """A 7x7 convolution with reflected borders, then 3x3 ones that halve the picture."""
    layers = [
        ConvBlock(nn.Conv2d(3, widths[0], 7, padding=3, bias=False, padding_mode="reflect")),
        *(
            ConvBlock(nn.Conv2d(before, width, 3, 2, padding=1, bias=False))
            for before, width in zip(widths, widths[1:], strict=False)
        ),
    ]
    return named_sequence(layers)
