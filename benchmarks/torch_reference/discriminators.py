# SPDX-License-Identifier: Apache-2.0
"""The released two- and three-stream discriminators in PyTorch."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.torch_reference.generator import sound_layers
from benchmarks.torch_reference.layers import (
    ConvBlock,
    at_least_float32,
    channels_last,
    named_sequence,
)

VIDEO_STRIDES = ((2, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2))
FLOW_STRIDES = ((2, 2, 2), (2, 1, 1), (2, 2, 2), (2, 1, 1))


class SoundStream(nn.Module):
    """A log-mel picture to one vector."""

    def __init__(self, widths: Sequence[int], places: int, features: int, norm: bool) -> None:
        super().__init__()
        self.layers = [f"layer_{i + 1}" for i in range(len(widths))]
        strides = ((1, 1), (2, 2), (1, 1), (2, 2))
        for name, layer in sound_layers(widths, strides).named_children():
            self.add_module(name, layer)
        self.linear = nn.Linear(places * widths[-1], features, bias=not norm)
        self.add_module("linear_norm", nn.BatchNorm1d(features) if norm else None)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Returns vectors [B, features] of [B, columns, bands]."""
        x = log_mel[:, None]
        for name in self.layers:
            x = self.get_submodule(name)(x)
        # Places first, channels last, as the map lies in memory.
        x = self.linear(channels_last(x).permute(0, 2, 3, 1).flatten(1))
        return F.relu(x if self.linear_norm is None else self.linear_norm(x))


class Discriminator(nn.Module):
    """Logits of sound and video (and optical flow) belonging together and being real.

    Attributes:
        sound_widths, video_widths, flow_widths, joint_width: channels; no flow_widths, no flow
            stream, and the sound's vector then has a bias in place of a norm.
        sound_features: length of the sound's vector.
        sound_places: columns * bands of a log-mel picture.
    """

    def __init__(
        self,
        sound_widths: Sequence[int] = (32, 64, 128, 256),
        sound_features: int = 256,
        video_widths: Sequence[int] = (64, 128, 256, 512),
        flow_widths: Sequence[int] = (),
        joint_width: int = 512,
        sound_places: int = 64 * 128,
    ) -> None:
        super().__init__()
        places = sound_places // 16
        self.sound = SoundStream(sound_widths, places, sound_features, norm=bool(flow_widths))
        self.video = _stream(3, video_widths, 4, VIDEO_STRIDES)
        channels = video_widths[-1] + sound_features
        if flow_widths:
            self.flow = _stream(2, flow_widths, 3, FLOW_STRIDES)
            channels += flow_widths[-1]
        else:
            self.flow = None
        self.joint = ConvBlock(nn.Conv3d(channels, joint_width, 3, padding=1, bias=False))
        self.logit = nn.Conv3d(joint_width, 1, (1, 4, 4))

    def forward(self, log_mel: Tensor, video: Tensor, flow: Tensor | None = None) -> Tensor:
        """Returns logits [B].

        Args:
            log_mel: [B, columns, bands].
            video: [B, 3, 16, 64, 64].
            flow: [B, 2, 15, 16, 16], for three streams.
        """
        maps = [self.video(channels_last(video))]
        if self.flow is not None:
            maps.append(self.flow(channels_last(flow)))
        vector = self.sound(log_mel)[:, :, None, None, None]
        maps.append(vector.expand(-1, -1, *maps[0].shape[2:]))
        joined = torch.cat([x.permute(0, 2, 3, 4, 1) for x in maps], dim=-1)
        x = self.logit(self.joint(joined.permute(0, 4, 1, 2, 3)))
        return at_least_float32(x).mean(dim=(1, 2, 3, 4))


def _stream(
    channels: int, widths: Sequence[int], taps: int, strides: Sequence[Sequence[int]]
) -> nn.Sequential:
    """Strided 3-D convolutions; the first has a bias and no norm."""
    inputs = (channels, *widths)
    return named_sequence(
        [
            ConvBlock(nn.Conv3d(before, width, taps, stride, padding=1, bias=before == channels))
            for before, width, stride in zip(inputs, widths, strides, strict=False)
        ]
    )
