# SPDX-License-Identifier: Apache-2.0
"""How fast lipjax's forms of convolutions are beside plain `jax.lax`, in one run.

    python benchmarks/convolutions.py [--full] [--out FILE.json]

Forward and backward, medians over alternating calls. Parameters and results are the same; the
ratio is time of `form="lax"` over time of `form="rewritten"`: above 1, ours is faster.
"""

import argparse
import dataclasses
import functools
import statistics
import time
from pathlib import Path

import jax
import jax.numpy as jnp
from measuring import facts, spread, write

from lipjax.nn.broadcasting import conv_of_broadcasts
from lipjax.nn.convolution import conv, conv_transpose, enlarging_padding, same_padding


@dataclasses.dataclass(frozen=True)
class Case:
    """One layer: its input [B T H W C], its taps, and what it does."""

    name: str
    shape: tuple[int, ...]
    taps: tuple[int, int, int]
    features: int
    strides: tuple[int, int, int] = (1, 1, 1)
    transpose: bool = False


CASES = (
    Case("residual 1x3x3", (1, 16, 16, 16, 64), (1, 3, 3), 64),
    Case("residual 3x3x3", (1, 16, 16, 16, 64), (3, 3, 3), 64),
    Case("colours 7x7x7", (1, 16, 64, 64, 16), (7, 7, 7), 3),
    Case("discriminator 4x4x4, stride 2", (1, 16, 64, 64, 16), (4, 4, 4), 32, (2, 2, 2)),
    Case("transposed 3x3x3, factor 2", (1, 16, 16, 16, 64), (3, 3, 3), 32, (1, 2, 2), True),
)
# The released generator's own layers, one clip; plain lax needs minutes for the transposed ones.
FULL = (
    Case("residual 1x3x3, 256 channels", (1, 16, 16, 16, 256), (1, 3, 3), 256),
    Case("residual 3x3x3, 256 channels", (1, 16, 16, 16, 256), (3, 3, 3), 256),
    Case("colours 7x7x7, 64 channels", (1, 16, 64, 64, 64), (7, 7, 7), 3),
    Case("transposed, 256 to 128", (1, 16, 16, 16, 256), (3, 3, 3), 128, (1, 2, 2), True),
    Case("transposed, 128 to 64", (1, 16, 32, 32, 128), (3, 3, 3), 64, (1, 2, 2), True),
)
FUSION = "fusion of picture, sound and speech vector, 3x3x3"


def layer(case: Case, x, kernel, form: str):
    """Computes one case."""
    if case.transpose:
        padding = enlarging_padding(case.taps, case.strides)
        return conv_transpose(x, kernel, strides=case.strides, padding=padding, form=form)
    padding = same_padding(case.taps)
    if case.strides != (1, 1, 1):
        padding = ((1, 1),) * 3
    return conv(x, kernel, strides=case.strides, padding=padding, form=form)


def problems(*, full: bool = False):
    """Yields name, function (inputs, kernel, form) -> output, inputs and kernel of each case."""
    for case in FULL if full else CASES:
        x = jax.random.normal(jax.random.key(0), case.shape)
        kernel = jax.random.normal(jax.random.key(1), (*case.taps, case.shape[-1], case.features))
        yield case.name, functools.partial(layer, case), x, kernel
    if full:
        return
    sizes = ((1, 16, 16, 64), (16, 16, 1, 64), (16, 1, 1, 64))
    parts = [jax.random.normal(jax.random.key(n), (1, *size)) for n, size in enumerate(sizes)]
    kernel = jax.random.normal(jax.random.key(9), (3, 3, 3, 192, 64))
    yield FUSION, lambda x, k, form: conv_of_broadcasts(x, k, form=form), parts, kernel


def measure(function, x, kernel, *, seconds: float) -> dict[str, float | list[float]]:
    """Times both forms in turns until `seconds` have passed for each case."""

    def program(form: str):
        def loss(x, kernel):
            return jnp.sum(jnp.square(function(x, kernel, form)))

        compiled = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
        jax.block_until_ready(compiled(x, kernel))
        return compiled

    programs = {form: program(form) for form in ("lax", "rewritten")}
    taken: dict[str, list[float]] = {form: [] for form in programs}
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(taken["rewritten"]) < 5:
        for form, compiled in programs.items():
            began = time.perf_counter()
            jax.block_until_ready(compiled(x, kernel))
            taken[form].append(time.perf_counter() - began)
    ratios = [a / b for a, b in zip(*taken.values(), strict=True)]
    found = spread(ratios)
    return {
        "lax_ms": 1e3 * statistics.median(taken["lax"]),
        "rewritten_ms": 1e3 * statistics.median(taken["rewritten"]),
        "ratio": found["median"],
        "ratio_quartiles": found["quartiles"],
        "calls": found["count"],
    }


def main() -> None:
    """Prints the table, and writes it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--seconds", type=float, default=4.0, help="per case (default: 4)")
    parser.add_argument("--full", action="store_true", help="the released generator's widths")
    args = parser.parse_args()
    device = jax.devices()[0]
    known = facts(device=f"{device.platform} {device.device_kind}")
    print(", ".join(f"{name} {value}" for name, value in known.items()))
    print(f"{'forward and backward':52}{'lax ms':>10}{'ours ms':>10}{'ratio':>8}{'quartiles':>16}")
    cases = {}
    for name, function, x, kernel in problems(full=args.full):
        cases[name] = found = measure(function, x, kernel, seconds=args.seconds)
        low, high = found["ratio_quartiles"]
        print(
            f"{name:52}{found['lax_ms']:10.1f}{found['rewritten_ms']:10.1f}"
            f"{found['ratio']:8.1f}{f'{low:.1f} to {high:.1f}':>16}",
            flush=True,
        )
    write({"facts": known, "cases": cases}, args.out)


if __name__ == "__main__":
    main()
