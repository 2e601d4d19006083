# SPDX-License-Identifier: Apache-2.0
"""Compares every network of lipjax with its PyTorch twin: outputs, gradients, running means.

    python -m benchmarks.torch_reference.parity [--small] [--judge] [--store]

Float32, from the repository's root, with PyTorch's CPU build installed (requirements.txt beside
this). An error is ||ours - theirs|| / ||theirs|| of one array; the largest of a network must be
below 1e-4. `--judge` also tells both sides' distance from the twin in float64, which says whether
a large error is rounding. Layers, sizes and operations of the twin are compared with those written
down from the authors' networks. `--store` writes the small cases for the tests that run without
PyTorch.
"""

import argparse
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.torch_reference import cases as shared
from benchmarks.torch_reference.case_list import cases
from benchmarks.torch_reference.correlation import AudioDerivativeEncoder, FlowEncoder
from benchmarks.torch_reference.discriminators import Discriminator
from benchmarks.torch_reference.generator import Generator
from benchmarks.torch_reference.layers import channels_last
from benchmarks.torch_reference.optical_flow import FlowNet
from benchmarks.torch_reference.perceptual import PerceptualEncoder
from benchmarks.torch_reference.table import disagreements
from benchmarks.torch_reference.weights import carry, leaves

LIMIT = 1e-4
STORED = Path(__file__).parents[2] / "tests" / "models" / "torch_parity"


def twin_of(module) -> nn.Module:
    """Returns the PyTorch network of a Flax network's widths."""
    kind = type(module).__name__
    if kind == "Generator":
        fields = ("audio_widths", "identity_widths", "fusion_width", "residual_blocks")
        made = {name: getattr(module, name) for name in (*fields, "decoder_widths")}
        return Generator(**made)
    if kind == "Discriminator":
        sound, video, *flow = module.streams
        flow_widths = flow[0].widths if flow else ()
        widths = sound.widths, sound.features, video.widths, flow_widths, module.joint_width
        return Discriminator(*widths)
    if kind == "FlowNet":
        return FlowNet(module.widths, module.decoder_widths)
    if kind == "PerceptualEncoder":
        return PerceptualEncoder(module.widths, module.residual_blocks)
    raise TypeError(f"no twin of a {kind}")


def _twin(case: shared.Case) -> nn.Module:
    if case.name == "phi_s":
        return AudioDerivativeEncoder(case.inputs["feature"][-1], case.module.widths)
    if case.name == "phi_v":
        return FlowEncoder(case.module.widths)
    return twin_of(case.module)


def from_flax(array: np.ndarray) -> Tensor:
    """[B, ..., C] pictures, clips or features to [B, C, ...]; sounds stay."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor if tensor.ndim < 4 else tensor.movedim(-1, 1)


def to_flax(tensor: Tensor) -> np.ndarray:
    """The way back."""
    tensor = tensor.detach()
    return (tensor if tensor.ndim < 4 else tensor.movedim(1, -1)).numpy()


def theirs(case: shared.Case, dtype: torch.dtype = torch.float32) -> shared.Arrays:
    """Returns the same arrays as `cases.ours`, computed by the twin."""
    network = _twin(case)
    carry(case.variables, network)
    network = network.to(dtype).train(case.train)
    inputs = {name: from_flax(x).to(dtype).requires_grad_() for name, x in case.arrays().items()}
    if case.name == "flow network":
        pairs = torch.cat([inputs["first"], inputs["second"]], dim=1)
        made = {f"flow_{i}": x for i, x in enumerate(network(channels_last(pairs)))}
    else:
        made = network(*inputs.values())
        if case.name.startswith("generator"):
            made = dict(zip(("video", "audio_feature"), made, strict=True))
        else:
            made = {"result": made}
    total = 0.0
    found: shared.Arrays = {}
    for name, x in made.items():
        last = x.movedim(1, -1) if x.ndim > 3 else x
        found[f"output/{name}"] = last.detach().numpy()
        weight = torch.from_numpy(shared.cotangent(case, name, tuple(last.shape))).to(dtype)
        total = total + (last * weight).sum()
    total.backward()
    found |= {f"input/{name}": to_flax(x.grad) for name, x in inputs.items()}
    kernels = {k: x.shape for k, x in shared.flat_shapes(case).items()}
    for leaf in leaves(network):
        if leaf.name.startswith("params/"):
            found[leaf.name] = leaf.to_flax(leaf.tensor.grad).reshape(kernels[leaf.name])
        elif case.train and leaf.name.endswith("/mean"):
            found["mean/" + leaf.name.partition("/")[2]] = leaf.to_flax(leaf.tensor)
    return found


def worst(told: dict[str, float], kind: str) -> tuple[float, str]:
    """The largest error among outputs, inputs, ...; NaN is the worst."""
    mine = [(value, name) for name, value in told.items() if name.startswith(kind + "/")]
    return max(mine, key=lambda x: math.inf if math.isnan(x[0]) else x[0], default=(0.0, "-"))


def compare(case: shared.Case, *, judge: bool) -> bool:
    """Prints a network's row; returns whether it is within the limit."""
    began = time.monotonic()
    found, reference = shared.ours(case), theirs(case)
    told = shared.errors(case, found, reference)
    rows = [worst(told, kind) for kind in ("output", "input", "params", "mean")]
    fine = all(value < LIMIT for value, _ in rows)
    figures = "".join(f"{value:11.1e}" for value, _ in rows)
    words = "ok" if fine else f"WORST {max(rows)[1]}"
    print(f"{case.name:32}{figures}{time.monotonic() - began:8.1f}  {words}", flush=True)
    if judge or not fine:
        exact = theirs(case, torch.float64)
        for label, side in (("ours", found), ("twin", reference)):
            told = shared.errors(case, side, exact)
            rows = [worst(told, kind) for kind in ("output", "input", "params", "mean")]
            figures = "".join(f"{value:11.1e}" for value, _ in rows)
            print(f"{'  ' + label + ' from float64':32}{figures}", flush=True)
    return fine


def store(folder: Path) -> None:
    """Writes what the twin finds in the small cases."""
    folder.mkdir(parents=True, exist_ok=True)
    for case in cases(small=True):
        found = {name: shared.summary(name, x) for name, x in theirs(case, torch.float64).items()}
        path = folder / f"{shared.file_name(case)}.npz"
        np.savez_compressed(path, **found)
        print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


def main() -> int:
    """Prints the tables; returns 1 if anything disagrees."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="small widths only")
    parser.add_argument("--only", nargs="*", default=(), help="names of networks")
    parser.add_argument("--judge", action="store_true", help="also compare with float64")
    parser.add_argument("--store", action="store_true", help="write the tests' arrays")
    args = parser.parse_args()
    if args.store:
        store(STORED)
        return 0
    wrong = disagreements()
    print("\n".join(wrong) or "layers, sizes and operations: as the authors' networks", flush=True)
    fine = not wrong
    for small in (True,) if args.small else (True, False):
        print(f"\n{'small' if small else 'full':32}{'output':>11}{'input':>11}{'params':>11}"
              f"{'means':>11}{'s':>8}")  # fmt: skip
        for case in cases(small, tuple(args.only)):
            fine &= compare(case, judge=args.judge)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
