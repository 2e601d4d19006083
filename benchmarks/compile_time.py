# SPDX-License-Identifier: Apache-2.0
"""Seconds to the first training step: cold, and with compiled programs kept from another start.

    python benchmarks/compile_time.py [--config VARIANT ...] [--out FILE.json]

Each start is a process of its own: `lipjax train` on a small built-in corpus for one step. Cold
starts find an empty folder for compiled programs; warm ones what a cold one left. `--full WHICH`
adds a config whose step is compiled but not run (`--dry-run`), for full widths.
"""

import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import measuring
from corpora import corpus_or_builtin

CONFIG = "configs/at_a_glance.py"
COMPILED = "compiled the training step in "


def start(variant: str, corpus: Path, kept: Path | None, *, dry: bool = False) -> dict[str, float]:
    """Starts a training of one step and returns the seconds that its parts took.

    Args:
        variant: of the config.
        corpus: prepared.
        kept: folder of compiled programs; None keeps none.
        dry: compile only.

    Returns:
        "to_first_step" from the start of the process to the compiled step, "compile" what the
        trainer itself counts, "whole" with the step, evaluation, preview and checkpoint, and
        "whole_cpu" the CPU seconds of all that.
    """
    with tempfile.TemporaryDirectory() as workdir:
        command = [sys.executable, "-m", "lipjax.cli", "train", "--workdir", workdir]
        command += ["--config", f"{measuring.ROOT / CONFIG}:{variant}", "--config.train.steps=1"]
        command += [f"--config.data.dirs={corpus}", *(["--dry-run"] if dry else [])]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)
        if kept is None:
            environment["JAX_ENABLE_COMPILATION_CACHE"] = "false"
        else:
            environment["JAX_COMPILATION_CACHE_DIR"] = str(kept)
            environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.5"
        began, found, used = time.perf_counter(), {}, _children()
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        ) as process:
            lines = []
            for line in process.stdout:
                lines.append(line)
                if line.startswith(COMPILED):
                    found["to_first_step"] = time.perf_counter() - began
                    found["compile"] = _seconds(line[len(COMPILED) :])
            errors = process.stderr.read()
        found["whole"] = time.perf_counter() - began
        found["whole_cpu"] = _children() - used
        if process.returncode or (not dry and "compile" not in found):
            raise SystemExit(f"{' '.join(command)}\n{''.join(lines[-20:])}{errors[-2000:]}")
        return found


def _children() -> float:
    """CPU seconds of the children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _seconds(text: str) -> float:
    """Reads a duration as the trainer prints it: "12.3 s", "1 min 2 s"."""
    units = {"h": 3600, "min": 60, "s": 1, "ms": 1e-3}
    parts = re.findall(r"([\d.]+) ?(ms|min|h|s)\b", text.split(";")[0])
    return sum(float(number) * units[unit] for number, unit in parts)


def measure(variant: str, corpus: Path, *, rounds: int, dry: bool = False) -> dict[str, Any]:
    """Measures cold and warm starts in turns.

    Args:
        variant: of the config.
        corpus: prepared.
        rounds: pairs of starts.
        dry: compile only.
    """
    taken: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as kept:
            for name in taken:
                taken[name].append(start(variant, corpus, Path(kept), dry=dry))
    found: dict[str, Any] = {
        name: {part: measuring.spread([row[part] for row in rows]) for part in rows[0]}
        for name, rows in taken.items()
    }
    part = "whole" if dry else "to_first_step"
    found["cold / warm"] = measuring.spread(
        [a[part] / b[part] for a, b in zip(taken["cold"], taken["warm"], strict=True)]
    )
    return found


def line_of(variant: str, ratio: dict[str, Any]) -> dict[str, Any]:
    """Returns a line of the table; there is no target."""
    what = f"compile time: cold start over warm start, {variant}"
    return {"what": what, **ratio, "unit": "x", "target": None, "held": None}


def main() -> None:
    """Prints the figures, and writes them."""
    parser = measuring.parser(__doc__.splitlines()[0], "compile_time")
    parser.add_argument("--config", nargs="*", help="variants (default: tiny and grid_cpu)")
    parser.add_argument("--full", help="a variant to compile without running it")
    parser.add_argument("--corpus", type=Path, help="prepared; else a small built-in one")
    args = parser.parse_args()
    told = measuring.facts("flax", "optax")
    short = ["tiny"] if args.short else ["tiny", "grid_cpu"]
    variants = args.config if args.config is not None else short
    cases = {}
    with corpus_or_builtin(args.corpus, clips=4) as corpus:
        plans = [(name, False) for name in variants] + ([(args.full, True)] if args.full else [])
        for variant, dry in plans:
            rounds = 1 if args.short or dry else 2
            cases[variant] = found = measure(variant, corpus.directory, rounds=rounds, dry=dry)
            for name in ("cold", "warm"):
                print(f"{variant}, {name}: " + ", ".join(
                    f"{part} {value['median']:.1f} s" for part, value in found[name].items()
                ), flush=True)  # fmt: skip
            lines = [line_of(name, found["cold / warm"]) for name, found in cases.items()]
            print(measuring.words(lines[-1]), flush=True)
            measuring.write({"facts": told, "targets": lines, "cases": cases}, args.out)


if __name__ == "__main__":
    main()
