# SPDX-License-Identifier: Apache-2.0
"""FlowNetS (without batch norm) in PyTorch, all pairs of frames in one batch."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from benchmarks.torch_reference.layers import (
    ConvBlock,
    at_least_float32,
    channels_last,
    clips_of,
    pictures_of,
)

SCALE = 20.0
"""Pixels of the full size that a raw output of 1 means."""


class FlowNet(nn.Module):
    """Pairs of pictures to the flow from the first to the second, at several scales.

    Attributes:
        widths: channels of the encoder's levels, finest first.
        decoder_widths: channels of the decoder's levels, coarsest first.
    """

    def __init__(
        self,
        widths: Sequence[int] = (64, 128, 256, 512, 512, 1024),
        decoder_widths: Sequence[int] = (512, 256, 128, 64),
    ) -> None:
        super().__init__()
        self.depth, self.levels = len(widths), len(decoder_widths)
        before = 6
        for number, width in enumerate(widths, 1):
            taps = 7 if number == 1 else 5 if number < 4 else 3
            self._add(f"conv_{number}", nn.Conv2d(before, width, taps, 2, padding=taps // 2))
            if number >= 3:
                self._add(f"conv_{number}_1", nn.Conv2d(width, width, 3, padding=1))
            before = width
        level = len(widths)
        for width in (None, *decoder_widths):
            if width is not None:
                level -= 1
                self._add(f"deconv_{level}", nn.ConvTranspose2d(before, width, 4, 2, padding=1))
                up = nn.ConvTranspose2d(2, 2, 4, 2, padding=1, bias=False)
                self.add_module(f"up_{level + 1}", up)
                before = widths[level - 1] + width + 2
            self.add_module(f"predict_{level}", nn.Conv2d(before, 2, 3, padding=1, bias=False))

    def _add(self, name: str, conv: nn.Module) -> None:
        self.add_module(name, ConvBlock(conv, slope=0.1))

    def forward(self, pairs: Tensor) -> tuple[Tensor, ...]:
        """Returns flows [N, 2, h, w], finest first, (x, y) in pixels of their own grids.

        Args:
            pairs: [N, 6, H, W]: the first picture's colours, then the second's.
        """
        skips, x = [], pairs
        for number in range(1, self.depth + 1):
            x = self.get_submodule(f"conv_{number}")(x)
            if number >= 3:
                x = self.get_submodule(f"conv_{number}_1")(x)
            skips.append(x)
        x, raw, flows = skips.pop(), None, []
        for level in range(self.depth, self.depth - self.levels - 1, -1):
            if raw is not None:
                up = self.get_submodule(f"up_{level + 1}")(raw)
                x = torch.cat([skips.pop(), self.get_submodule(f"deconv_{level}")(x), up], dim=1)
            raw = self.get_submodule(f"predict_{level}")(x)
            flows.append(at_least_float32(raw) * (SCALE / 2**level))
        return tuple(reversed(flows))


def video_flow(network: nn.Module, clips: Tensor) -> Tensor:
    """Returns the finest flow [B, 2, T - 1, h, w] between consecutive frames of [B, 3, T, H, W]."""
    pairs = torch.cat([clips[:, :, :-1], clips[:, :, 1:]], dim=1)
    return clips_of(network(pictures_of(channels_last(pairs)))[0], len(clips))
