# SPDX-License-Identifier: Apache-2.0
"""The PyTorch networks against what is written down of the authors' own: layers, sizes, cost.

The table of layers is the one that lipjax's networks are tested with, so that both engines answer
to the same source and not only to each other.
"""

import runpy
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.torch_reference.correlation import AudioDerivativeEncoder, FlowEncoder
from benchmarks.torch_reference.discriminators import Discriminator
from benchmarks.torch_reference.generator import Generator
from benchmarks.torch_reference.optical_flow import FlowNet
from benchmarks.torch_reference.perceptual import PerceptualEncoder

TABLE = Path(__file__).parents[2] / "tests" / "models" / "layer_table.py"
THREE = {"video_widths": (64, 128, 256, 256), "flow_widths": (64, 128, 256, 256)}
CLIP = (1, 3, 16, 64, 64)
COUNTED = {
    "generator": (Generator, {}, [(1, 3, 64, 64), (1, 64, 128)], 16_695_267, 140.5),
    "two streams": (Discriminator, {}, [(1, 64, 128), CLIP], 55_593_249, 3.2),
    "three streams": (
        Discriminator, THREE, [(1, 64, 128), CLIP, (1, 2, 15, 16, 16)], 54_278_881, 3.3
    ),
    "flow network": (FlowNet, {}, [(15, 6, 64, 64)], 38_676_496, 9.9),
    "perceptual encoder": (PerceptualEncoder, {}, [(16, 3, 64, 64)], 7_462_976, 64.0),
    "phi_s": (AudioDerivativeEncoder, {}, [(1, 256, 16, 16)], 392_400, 0.08),
    "phi_v": (FlowEncoder, {}, [(1, 2, 15, 16, 16)], 11_580, 0.0),
}  # fmt: skip
"""Name -> network, its fields, shapes for one clip, parameters, 10^9 operations for one clip."""


def disagreements() -> list[str]:
    """Returns what the PyTorch networks and the authors' own do not have in common."""
    table = runpy.run_path(str(TABLE))
    found = []
    with torch.device("meta"):
        for name, (kind, fields, shapes, size, cost) in COUNTED.items():
            network = kind(**fields)
            counted = sum(p.numel() for p in network.parameters())
            if counted != size:
                found.append(f"{name}: {counted} parameters, not {size}")
            flops = operations(network, shapes) / 1e9
            if abs(flops - cost) > 0.01 * cost + 0.05:
                found.append(f"{name}: {flops:.2f} GFLOP for a clip, not {cost}")
        for network, parts in (
            (Generator(), table["GENERATOR"]),
            (Discriminator(), table["TWO_STREAMS"]),
            (Discriminator(**THREE), table["THREE_STREAMS"]),
        ):
            rows = [row for part in parts.values() for row in part]
            found += _rows(network, rows)
    return found


def operations(network: nn.Module, shapes: list[tuple[int, ...]]) -> int:
    """Useful multiply-adds times two of a forward pass."""
    inputs = [torch.empty(shape, device="meta") for shape in shapes]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.to("meta").eval()(*inputs)
    return counter.get_total_flops()


def _rows(network: nn.Module, rows: list[tuple]) -> list[str]:
    wrong = []
    layers = dict(network.named_modules())
    left = {name for name, _ in network.named_parameters()}
    for path, inputs, outputs, taps, bias, norm in rows:
        place = path.replace("/", ".")
        layer, behind = layers[place], f"{place}_norm"
        if hasattr(layer, "conv"):
            layer, behind = layer.conv, f"{place}.norm"
        sizes = (
            (layer.in_features, layer.out_features)
            if isinstance(layer, nn.Linear)
            else (layer.in_channels, layer.out_channels)
        )
        kernel = tuple(getattr(layer, "kernel_size", ()))
        has_norm = layers.get(behind) is not None
        # A layer of one tap in time works on pictures.
        kernel = (1, *kernel) if len(kernel) + 1 == len(taps) else kernel
        got = (*sizes, kernel, layer.bias is not None, has_norm)
        if got != (inputs, outputs, taps, bias, norm):
            wrong.append(f"{path}: {got}, not {(inputs, outputs, taps, bias, norm)}")
        prefixes = (f"{place}.", f"{behind}.")
        left = {name for name in left if not name.startswith(prefixes)}
    return wrong + [f"{name} is in no row" for name in sorted(left)]
