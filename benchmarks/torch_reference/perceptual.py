# SPDX-License-Identifier: Apache-2.0
"""The perceptual network's encoder in PyTorch, which is all of it that training needs."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from benchmarks.torch_reference.generator import picture_layers
from benchmarks.torch_reference.layers import ConvBlock, ResidualBlock, channels_last


class PerceptualEncoder(nn.Module):
    """Pictures [N, 3, H, W] to features [N, D, H / 4, W / 4].

    Attributes:
        widths: channels of the convolutions.
        residual_blocks: blocks at the last width, with reflected borders.
    """

    def __init__(self, widths: Sequence[int] = (64, 128, 256), residual_blocks: int = 6) -> None:
        super().__init__()
        self.down = picture_layers(widths)
        self.blocks = [f"residual_{i + 1}" for i in range(residual_blocks)]
        for name in self.blocks:
            self.add_module(name, ResidualBlock(widths[-1], border="reflect"))

    def forward(self, pictures: Tensor) -> Tensor:
        """Returns the features."""
        x = self.down(channels_last(pictures))
        for name in self.blocks:
            x = self.get_submodule(name)(x)
        return x


def frozen(encoder: PerceptualEncoder) -> PerceptualEncoder:
    """Makes an encoder a fixed measure: running statistics, folded into the convolutions."""
    encoder.eval().requires_grad_(False)
    for module in encoder.modules():
        if isinstance(module, ConvBlock) and module.norm is not None:
            module.conv = fuse_conv_bn_eval(module.conv, module.norm)
            module.norm = None
    return encoder.requires_grad_(False)
