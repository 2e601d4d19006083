# SPDX-License-Identifier: Apache-2.0
"""Where the time of `lipjax eval` goes: the model, the metrics, reading landmarks, the rest.

    python benchmarks/evaluating.py [CORPUS] [--workdir WORKDIR] [--clips N] [--out FILE.json]

Without WORKDIR an untrained model of the published widths is evaluated, which takes as long as a
trained one. All is done in one process. The whole evaluation runs once by
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

import jax
import measuring
import numpy as np
from corpora import corpus_or_builtin

from lipjax import build
from lipjax.config_files import load_config
from lipjax.data.reading import Corpus
from lipjax.jobs import evaluate_workdir
from lipjax.training.weights import save_weights

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


LANDMARKS = ("finding landmarks in mouths", "choosing the reader of landmarks")


def published_widths(corpus: Corpus, folder: Path) -> Path:
    """Writes an untrained generator of the published widths, as an exported model.

    What it makes is noise; how long it takes, and how long noise takes to measure, is the same.
    """
    description = build.describe(load_config("at_a_glance.py:grid"), [corpus])
    build.save_description(folder, description)
    needs = build.speaker_of(description).needs
    size, bands = needs.mouth_size, needs.log_mel.bands
    generator = build.generator_of(description["network"], size=size, bands=bands)
    sound = np.zeros((1, needs.columns_in(description["frames"]), bands), np.float32)
    made = jax.jit(generator.init)(
        jax.random.key(0), np.zeros((1, size, size, 3), np.float32), sound
    )
    networks = {
        kind: {"generator": jax.tree.map(np.asarray, dict(made.get(name, {})))}
        for kind, name in (("params", "params"), ("stats", "batch_stats"))
    }
    save_weights(folder, networks)
    return folder


def main() -> None:
    """Prints the shares, and writes them."""
    parser = measuring.parser(__doc__.splitlines()[0], "evaluating")
    parser.add_argument("corpus", type=Path, nargs="?", help="a built-in one if not given")
    parser.add_argument("--workdir", type=Path, help="a trained run; else published widths")
    parser.add_argument("--clips", type=int, default=2)
    args = parser.parse_args()
    told = measuring.facts("flax", "dlib-bin", "scipy")
    with (
        tempfile.TemporaryDirectory() as scratch,
        corpus_or_builtin(args.corpus, clips=4) as corpus,
        mock.patch("os.cpu_count", return_value=1),
    ):
        workdir = args.workdir or published_widths(corpus, Path(scratch))
        split = next(name for name in ("test", "val", "train") if name in corpus.splits)
        options = {"split": split, "corpus": corpus.directory, "clips": args.clips}

        def whole() -> None:
            evaluate_workdir(workdir, **options, out=Path(scratch) / "eval", show=len)

        cold = measuring.cost_of(whole)  # compiles, and fits the linear predictor
        with counted(PARTS) as seconds:
            cost = measuring.cost_of(whole)
    seconds["the rest"] = cost.cpu - sum(seconds.values())
    for part, value in seconds.items():
        print(f"{value:8.2f} s {value / cost.cpu:6.1%}  {part}")
    print(f"{cost.cpu:8.2f} s CPU, {cost.wall:.1f} s by the clock; the first time {cold.cpu:.1f} s")
    name = "published widths" if args.workdir is None else args.workdir.name
    measured = [part for part in PARTS if part.startswith("metrics") or part in LANDMARKS]
    ratio = seconds["the model"] / sum(seconds[part] for part in measured)
    line = measuring.target(
        measuring.spread([ratio]), 1.0, what=f"evaluation, {name}: model / metrics and landmarks"
    )
    print(measuring.words(line))
    measuring.write(
        {
            "facts": told,
            "targets": [line],
            "model": name,
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
