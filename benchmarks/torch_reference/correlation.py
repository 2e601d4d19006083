# SPDX-License-Identifier: Apache-2.0
"""The networks of the correlation loss in PyTorch: changes of sound, and optical flow."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.torch_reference.layers import at_least_float32, channels_last


class _Encoder(nn.Module):
    """Convolutions with a bias and a batch norm each, then the mean over the places left."""

    def __init__(
        self, conv: type[nn.Module], norm: type[nn.Module], channels: int, widths: Sequence[int]
    ) -> None:
        super().__init__()
        strides = (1, 2) if conv is nn.Conv2d else (1, 2, 2)
        self.depth = len(widths)
        for number, (before, width) in enumerate(zip((channels, *widths), widths, strict=False), 1):
            self.add_module(f"layer_{number}", conv(before, width, 3, strides, padding=1))
            self.add_module(f"norm_{number}", norm(width))

    def _encoded(self, x: Tensor) -> Tensor:
        x = channels_last(x)
        for number in range(1, self.depth + 1):
            x = self.get_submodule(f"layer_{number}")(x)
            x = F.relu(self.get_submodule(f"norm_{number}")(x), inplace=True)
        return at_least_float32(x).mean(dim=tuple(range(3, x.ndim))).transpose(1, 2)


class AudioDerivativeEncoder(_Encoder):
    """phi_s: changes of the audio feature [B, D, T, frequencies] to vectors [B, T - 1, E]."""

    def __init__(self, channels: int = 256, widths: Sequence[int] = (128, 64, 32, 16)) -> None:
        super().__init__(nn.Conv2d, nn.BatchNorm2d, channels, widths)

    def forward(self, feature: Tensor) -> Tensor:
        """Returns the vectors; a change is a frame less the one after it."""
        return self._encoded(feature[:, :, :-1] - feature[:, :, 1:])


class FlowEncoder(_Encoder):
    """phi_v: flow [B, 2, T, h, w] to vectors [B, T, E]."""

    def __init__(self, widths: Sequence[int] = (4, 8, 16, 16)) -> None:
        super().__init__(nn.Conv3d, nn.BatchNorm3d, 2, widths)

    def forward(self, flow: Tensor) -> Tensor:
        """Returns the vectors."""
        return self._encoded(flow)
