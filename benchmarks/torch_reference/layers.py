# SPDX-License-Identifier: Apache-2.0
"""Blocks that the networks share, and the views between clips and their frames.

Clips are [B, C, T, H, W] in channels_last_3d memory, pictures [N, C, H, W] in channels_last
memory: both are the same bytes, so that a clip's frames as one batch of pictures cost nothing.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_NORMS = {
    nn.Conv2d: nn.BatchNorm2d,
    nn.Conv3d: nn.BatchNorm3d,
    nn.ConvTranspose2d: nn.BatchNorm2d,
    nn.ConvTranspose3d: nn.BatchNorm3d,
}


class ConvBlock(nn.Module):
    """A convolution, batch norm if it has no bias, and a (leaky) ReLU.

    Attributes:
        conv: the convolution.
        slope: of the activation below zero; 0 is ReLU, 1 none.
    """

    def __init__(self, conv: nn.Module, slope: float = 0.0) -> None:
        super().__init__()
        self.conv = conv
        norm = _NORMS[type(conv)](conv.out_channels) if conv.bias is None else None
        self.add_module("norm", norm)
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        """Returns the block's output."""
        x = self.conv(x)
        if self.norm is not None:
            x = self.norm(x)
        if self.slope == 1.0:
            return x
        return F.leaky_relu(x, self.slope, inplace=True) if self.slope else F.relu(x, inplace=True)


class ResidualBlock(nn.Module):
    """x + norm(conv(relu(norm(conv(x))))) of pictures, without an activation behind the sum.

    Attributes:
        channels: in and out.
        border: "zeros" or "reflect".
    """

    def __init__(self, channels: int, border: str = "zeros") -> None:
        super().__init__()
        fields = {"padding": 1, "bias": False, "padding_mode": border}
        self.first = ConvBlock(nn.Conv2d(channels, channels, 3, **fields))
        self.second = ConvBlock(nn.Conv2d(channels, channels, 3, **fields), slope=1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Returns x plus its change."""
        return x + self.second(self.first(x))


def named_sequence(layers: Sequence[nn.Module], name: str = "layer") -> nn.Sequential:
    """Returns layers in a row, named name_1, name_2, ..."""
    made: Mapping[str, nn.Module] = {f"{name}_{i}": layer for i, layer in enumerate(layers, 1)}
    sequence = nn.Sequential()
    for key, layer in made.items():
        sequence.add_module(key, layer)
    return sequence


def pictures_of(clips: Tensor) -> Tensor:
    """[B, C, T, H, W] -> [B * T, C, H, W], a view of channels-last clips."""
    return clips.transpose(1, 2).flatten(0, 1)


def clips_of(pictures: Tensor, batch: int) -> Tensor:
    """[B * T, C, H, W] -> [B, C, T, H, W], a view of channels-last pictures."""
    return pictures.unflatten(0, (batch, -1)).transpose(1, 2)


def at_least_float32(x: Tensor) -> Tensor:
    """Returns bfloat16 as float32, and what is wide enough as it is."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def channels_last(x: Tensor) -> Tensor:
    """Returns pictures or clips in channels-last memory, without a copy where they are already."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return x.contiguous(memory_format=formats[x.ndim])


def weights_channels_last(network: nn.Module) -> nn.Module:
    """Brings a network's kernels into channels-last memory; returns the network."""
    for parameter in network.parameters():
        if parameter.ndim in (4, 5):
            parameter.data = channels_last(parameter.data)
    return network
