# SPDX-License-Identifier: Apache-2.0
"""Runs every benchmark, and draws what came out beside the targets.

    python benchmarks/run.py [--corpus CORPUS] [--videos VIDEOS] [--torch-python PYTHON]
        [--only NAME ...]

Each benchmark is a program of its own that writes `results/NAME.json`; here they are started one
after another, so that they do not disturb each other, and their lines become one table and
`results/targets.png`. Those that need PyTorch run by --torch-python where this Python has none,
else they are skipped and said to be. `--short` runs a few seconds of each to see that they work,
and judges no speed; `--table` runs nothing and shows what is stored.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import measuring
from corpora import corpus_or_builtin

HERE = Path(__file__).parent
FIGURE = "targets.png"
TWIN = "torch_step"
SHORT_SECONDS = 300


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """One program.

    Attributes:
        name: of its result file.
        script: file beside this one.
        needs: modules without which it cannot run.
        takes: what is handed on to it where it is given: "corpus" or "videos".
        words: further words of its command line.
        short: words of its short form; None where it has none of a few seconds.
        result: name of its result file, if another.
    """

    name: str
    script: str
    needs: tuple[str, ...] = ()
    takes: str | None = None
    words: tuple[str, ...] = ()
    short: tuple[str, ...] | None = ("--short",)
    result: str = ""

    @property
    def file(self) -> str:
        """Name of its result file."""
        return f"{self.result or self.name}.json"


BENCHMARKS = (
    Benchmark("windows", "windows.py", ("torch", "cv2"), "corpus"),
    Benchmark("cpbd", "cpbd.py", ("cpbd", "skimage"), "corpus"),
    Benchmark("preparing", "preparing.py", ("av", "dlib"), "videos", ("--profile",)),
    Benchmark("compile_time", "compile_time.py", short=None),
    Benchmark("evaluating", "evaluating.py", ("av",), "corpus", short=None),
    Benchmark("convolutions", "convolutions.py", short=None),
    Benchmark("step", "train_step.py", ("torch",), None, ("--what", "step"), None, result=TWIN),
    Benchmark("step_4", "train_step.py", ("torch",), None, ("--batch", "4"), None, result=TWIN),
    Benchmark(
        *("step_8", "train_step.py", ("torch",), None),
        ("--batch", "8", "--twin", "", "--rounds", "1"),
        short=None,
        result=TWIN,
    ),
    Benchmark(
        *("step_remat", "train_step.py", ("torch",), None),
        ("--ours", "remat", "--twin", "", "--rounds", "3"),
        short=None,
        result=TWIN,
    ),
    Benchmark(
        "generator", "train_step.py", ("torch",), None, ("--what", "generator"), None, result=TWIN
    ),
    Benchmark("generating", "generating.py"),
)


def has(python: str, modules: Sequence[str]) -> bool:
    """Whether a Python finds all modules; nothing is imported."""
    code = f"import importlib.util as u, sys; sys.exit(any(not u.find_spec(m) for m in {modules}))"
    return subprocess.run([python, "-c", code], capture_output=True).returncode == 0


def run_one(benchmark: Benchmark, args: argparse.Namespace, given: dict[str, Path | None]) -> str:
    """Runs a benchmark; returns "done", or why not."""
    if not (HERE / benchmark.script).is_file():
        return "skipped: not here"
    if args.short and benchmark.short is None:
        return "skipped: has no short form"
    handed = given.get(benchmark.takes or "")
    pythons = [sys.executable, *([args.torch_python] if args.torch_python else [])]
    python = next((p for p in pythons if has(p, list(benchmark.needs))), None)
    if python is None:
        return f"skipped: needs {' and '.join(benchmark.needs)} (see README.md)"
    command = [python, str(HERE / benchmark.script)]
    command += [str(handed)] if handed else []
    command += benchmark.short if args.short else benchmark.words
    command += ["--out", str(args.results / benchmark.file)]
    print(f"== {benchmark.name}: {' '.join(command[1:])}", flush=True)
    try:
        limit = SHORT_SECONDS if args.short else None
        code = subprocess.run(command, timeout=limit).returncode
    except subprocess.TimeoutExpired:
        return f"failed: took more than {SHORT_SECONDS} s"
    return "done" if code == 0 else f"failed: exit code {code}"


def lines_of(results: Path) -> list[dict[str, Any]]:
    """Returns what results say beside their targets, in the order of the benchmarks."""
    lines = []
    for benchmark in BENCHMARKS:
        path = results / benchmark.file
        if path.is_file():
            stored = json.loads(path.read_text(encoding="utf-8"))
            lines += stored.get("targets", ())
            if benchmark.result == TWIN:
                lines += _beside_the_twin(stored, f"{benchmark.name},")
    return lines


def _beside_the_twin(stored: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """Lines of `train_step.py`'s file, which holds a measurement for each kind and batch."""
    lines = []
    for name, found in stored.items():
        for sides, ratio in found.get("ratios", {}).items() if name.startswith(kind) else ():
            if sides.startswith("twin") and "seconds" in ratio:
                value, what = ratio["seconds"], f"{name}: {sides}, by the clock"
                lines.append(
                    {
                        "what": what,
                        "median": value["median"],
                        "quartiles": value["quartiles"],
                        "unit": "x",
                        "target": 1.0,
                        "held": value["median"] >= 1.0,
                    }
                )
    return lines  # fmt: skip


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Returns lines as a table in Markdown."""
    rows = ["| what | measured | quartiles | target | |", "|---|---|---|---|---|"]
    for line in lines:
        low, high = line["quartiles"]
        aim = "-" if line["target"] is None else f"{line['target']:g} {line['unit']}"
        held = {True: "held", False: "missed", None: ""}[line["held"]]
        rows.append(
            f"| {line['what']} | {line['median']:.3g} {line['unit']} "
            f"| {low:.3g} to {high:.3g} | {aim} | {held} |"
        )
    return "\n".join(rows)


def draw(lines: Sequence[dict[str, Any]], path: Path) -> None:
    """Draws ratios as bars with quartiles, and targets as lines across them."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    colours = {True: "tab:green", False: "tab:orange", None: "tab:gray"}
    figure, axes = pyplot.subplots(figsize=(9, 1.2 + 0.42 * max(len(lines), 1)))
    for row, line in enumerate(lines):
        low, high = line["quartiles"]
        axes.barh(row, line["median"] - 1, left=1, color=colours[line["held"]], height=0.6)
        axes.plot([low, high], [row, row], color="black", linewidth=1.5)
        if line["target"] is not None:
            aim = [line["target"]] * 2
            axes.plot(aim, [row - 0.42, row + 0.42], color="tab:red", linewidth=2.5)
        axes.annotate(f" {line['median']:.3g}", (max(high, line["median"]), row), va="center")
    axes.axvline(1.0, color="black", linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(lines)), [line["what"] for line in lines], fontsize=8)
    axes.set(xscale="log", xlabel="times the other side, or times real time; red: target")
    axes.invert_yaxis()
    axes.margins(x=0.15)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, bbox_inches="tight")
    pyplot.close(figure)


@contextlib.contextmanager
def inputs(args: argparse.Namespace) -> Iterator[dict[str, Path | None]]:
    """What benchmarks are given: the folders named; the short form shares one built-in corpus."""
    given = {"corpus": args.corpus, "videos": args.videos}
    if args.short and args.corpus is None:
        with corpus_or_builtin(None, clips=2) as corpus:
            yield {**given, "corpus": corpus.directory}
    else:
        yield given


def main() -> int:
    """Runs, and tells; the exit code is 1 if a benchmark failed, whatever its speed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [benchmark.name for benchmark in BENCHMARKS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--corpus", type=Path, help="prepared corpus; else built-in ones are made")
    parser.add_argument("--videos", type=Path, help="videos for prepare; else built-in ones")
    parser.add_argument("--torch-python", metavar="PYTHON", help="a Python with PyTorch and lipjax")
    parser.add_argument("--results", type=Path, default=measuring.RESULTS, help="folder to write")
    parser.add_argument("--short", action="store_true", help="seconds of each: do they run?")
    parser.add_argument("--table", action="store_true", help="show stored results; run nothing")
    args = parser.parse_args()
    if args.short and args.results == measuring.RESULTS:
        parser.error("--short measures nothing worth keeping: name another folder by --results")
    args.results.mkdir(parents=True, exist_ok=True)
    outcome = {}
    if not args.table:
        with inputs(args) as given:
            for benchmark in BENCHMARKS:
                if benchmark.name in args.only:
                    began, load = time.monotonic(), os.getloadavg()[0]
                    outcome[benchmark.name] = run_one(benchmark, args, given)
                    print(f"== {benchmark.name}: {outcome[benchmark.name]} "
                          f"({time.monotonic() - began:.0f} s, load before {load:.1f})",
                          flush=True)  # fmt: skip
    lines = lines_of(args.results)
    draw(lines, args.results / FIGURE)
    print(table(lines))
    return int(any(how.startswith("failed") for how in outcome.values()))


if __name__ == "__main__":
    sys.exit(main())
