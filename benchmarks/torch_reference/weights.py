# SPDX-License-Identifier: Apache-2.0
"""Carries Flax variables into the PyTorch networks, and gradients back under their Flax names.

The networks here name their parts as lipjax does, so a leaf's place follows from its path; which
axes go where is written down per kind of layer. Every leaf is used exactly once, or an error.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclasses.dataclass(frozen=True)
class Leaf:
    """One array under both its names.

    Attributes:
        name: "params/..." or "batch_stats/...", as in Flax.
        tensor: the PyTorch one.
        axes: order that brings the PyTorch axes into Flax's.
    """

    name: str
    tensor: Tensor
    axes: tuple[int, ...]

    def to_flax(self, tensor: Tensor) -> np.ndarray:
        """Returns a tensor of this leaf's shape with Flax's axes."""
        return tensor.detach().permute(self.axes).cpu().numpy()

    def load(self, array: np.ndarray) -> None:
        """Sets the tensor to a Flax array; a kernel of one tap in time may serve a 2-D layer.

        Raises:
            ValueError: the shapes differ.
        """
        shape = tuple(self.tensor.shape[axis] for axis in self.axes)
        if array.shape != shape:
            if array.shape != (1, *shape):
                raise ValueError(f"{self.name}: {array.shape} in Flax, {shape} in PyTorch")
            array = array[0]
        value = torch.from_numpy(np.array(array)).permute(tuple(np.argsort(self.axes)))
        with torch.no_grad():
            self.tensor.copy_(value)


def leaves(network: nn.Module) -> Iterator[Leaf]:
    """Yields every parameter and statistic of a network.

    Raises:
        TypeError: a layer has parameters but is of no known kind.
    """
    for path, layer in network.named_modules():
        place = path.replace(".", "/")
        if isinstance(layer, _CONVOLUTIONS):
            # out, in, taps -> taps, in, out
            found = {"kernel": (layer.weight, (*range(2, layer.weight.ndim), 1, 0))}
        elif isinstance(layer, _TRANSPOSED):
            # in, out, taps -> taps, in, out; both let tap k of sample i land on i * stride + k
            found = {"kernel": (layer.weight, (*range(2, layer.weight.ndim), 0, 1))}
        elif isinstance(layer, nn.Linear):
            found = {"kernel": (layer.weight, (1, 0))}
        elif isinstance(layer, _NORMS):
            found = {"scale": (layer.weight, (0,))}
            yield Leaf(f"batch_stats/{place}/mean", layer.running_mean, (0,))
            yield Leaf(f"batch_stats/{place}/var", layer.running_var, (0,))
        elif any(True for _ in layer.parameters(recurse=False)):
            raise TypeError(f"{path}: no rule for a {type(layer).__name__}")
        else:
            continue
        if layer.bias is not None:
            found["bias"] = (layer.bias, (0,))
        for name, (tensor, axes) in found.items():
            yield Leaf(f"params/{place}/{name}", tensor, axes)


def carry(variables: Mapping[str, Any], network: nn.Module) -> None:
    """Sets a network's parameters and statistics from Flax variables.

    Args:
        variables: {"params": tree, "batch_stats": tree}, nested mappings of arrays.
        network: receives them.

    Raises:
        ValueError: a leaf is missing, left over or of another shape.
    """
    kinds = {kind: variables.get(kind, {}) for kind in ("params", "batch_stats")}
    given = dict(flat(kinds))
    for leaf in leaves(network):
        if leaf.name not in given:
            raise ValueError(f"{leaf.name} is not among the Flax variables")
        leaf.load(np.asarray(given.pop(leaf.name)))
    if given:
        raise ValueError(f"nothing in the PyTorch network for {', '.join(sorted(given))}")


def flat(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the leaves of nested mappings by their paths."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{above}{name}/")
        else:
            yield f"{above}{name}", value
