# SPDX-License-Identifier: Apache-2.0
"""Where the time of `lipjax eval` goes: the model, the metrics, reading landmarks, the rest.

    python benchmarks/evaluating.py WORKDIR [--corpus CORPUS] [--clips N] [--out FILE.json]

WORKDIR holds a trained model. All is done in one process. The whole evaluation runs once by
itself, and once with the functions counted that belong to each part; what none of them takes
(reading clips, drawing, videos, writing) is "the rest".
"""

import contextlib
import importlib
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import measuring

PARTS = {
    "the model": ("lipjax.speakers.chunks:speak",),
    "metrics: CPBD": ("lipjax.metrics.stage:sharpness",),
    "metrics: PSNR, SSIM, LMD, r": ("lipjax.evaluation.scoring:score",),
    "finding landmarks in mouths": ("lipjax.metrics.stage:measure",),
    "choosing the reader of landmarks": ("lipjax.evaluation.readers:choose_reader",),
    "the linear predictor": ("lipjax.evaluation.linear:fit_on",),
}


@contextlib.contextmanager
def counted(parts: dict[str, tuple[str, ...]]) -> Iterator[dict[str, float]]:
    """Adds up the CPU seconds that functions take while the block runs.

    A function is replaced wherever a module of lipjax holds it. Time within a counted call that
    another one takes is that one's alone.
    """
    seconds = dict.fromkeys(parts, 0.0)
    undo: list[tuple[Any, str, Any]] = []
    within: list[float] = [0.0]  # of each call under way, what counted calls in it took

    def wrapped(function, part: str):
        def call(*args: Any, **kwargs: Any) -> Any:
            within.append(0.0)
            began = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                took = time.process_time() - began
                seconds[part] += took - within.pop()
                within[-1] += took

        return call

    for part, names in parts.items():
        for name in names:
            module, _, function_name = name.partition(":")
            function = getattr(importlib.import_module(module), function_name, None)
            if function is None:
                print(f"no {name} here: its time counts as the rest")
                continue
            replacement = wrapped(function, part)
            for holder in list(sys.modules.values()):
                if getattr(holder, "__name__", "").startswith("lipjax"):
                    for attribute, value in list(vars(holder).items()):
                        if value is function:
                            setattr(holder, attribute, replacement)
                            undo.append((holder, attribute, function))
    try:
        yield seconds
    finally:
        for holder, attribute, function in undo:
            setattr(holder, attribute, function)


def main() -> None:
    """Prints the shares, and writes them."""
    parser = measuring.parser(__doc__.splitlines()[0], "evaluating")
    parser.add_argument("workdir", type=Path)
    parser.add_argument("--corpus", type=Path, help="another corpus than the one trained on")
    parser.add_argument("--split", default="test")
    parser.add_argument("--clips", type=int, default=4)
    args = parser.parse_args()
    from lipjax.jobs import evaluate_workdir

    told = measuring.facts("flax", "dlib-bin", "scipy")
    options = {"split": args.split, "corpus": args.corpus, "clips": args.clips}

    def whole() -> None:
        with tempfile.TemporaryDirectory() as out, mock.patch("os.cpu_count", return_value=1):
            evaluate_workdir(args.workdir, **options, out=Path(out), show=len)

    cold = measuring.cost_of(whole)  # compiles, and fits the linear predictor
    with counted(PARTS) as seconds:
        cost = measuring.cost_of(whole)
    seconds["the rest"] = cost.cpu - sum(seconds.values())
    for part, value in seconds.items():
        print(f"{value:8.2f} s {value / cost.cpu:6.1%}  {part}")
    print(f"{cost.cpu:8.2f} s CPU, {cost.wall:.1f} s by the clock; the first time {cold.cpu:.1f} s")
    measuring.write(
        {
            "facts": told,
            "clips": args.clips,
            "cpu_seconds": seconds,
            "whole": cost._asdict(),
            "first_time": cold._asdict(),
            "shares": {part: value / cost.cpu for part, value in seconds.items()},
        },
        args.out,
    )


if __name__ == "__main__":
    main()
