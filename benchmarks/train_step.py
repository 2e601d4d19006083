# SPDX-License-Identifier: Apache-2.0
"""One step of training, or one pass of the generator: lipjax and the PyTorch twin in turns.

    python benchmarks/train_step.py [--what generator|step] [--batch 2] [--streams two|three]
        [--twin eager,eager+frames,compiled] [--rounds 5] [--out FILE.json]

Full widths of the released system, float32, made-up clips of 16 frames. Each side is a process of
its own, so that its peak memory is its own; they work in turns, one at a time, and what is compared
are medians over the rounds. CPU seconds (of all threads) are what a machine that others use too can
be judged by. PyTorch and the twin's other needs: benchmarks/torch_reference/requirements.txt.

Operations are useful ones: multiply-adds times two by the authors' layers, no padding, nothing
computed twice, whatever a side really does.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from measuring import RESULTS, ROOT, facts, spread, write

KEEP_MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_ARENA_MAX": "1",
}
"""Both sides keep freed memory, as PyTorch's guide to CPUs advises: a tenth of its step is page
faults without."""
RESULT = RESULTS / "torch_step.json"
FORWARD = {
    "generator": 140.5,
    "two": 3.2,
    "three": 3.3,
    "flow": 9.9,
    "perceptual": 64.0,
    "phi": 0.08,
}
"""10^9 operations of a forward pass for one clip; torch_reference/table.py counts them again."""


def useful_gflop(what: str, streams: str) -> float:
    """Returns the useful operations for one clip, in 10^9.

    A backward pass is twice the forward; where only the gradient in the input or only that in the
    parameters is wanted, it is once.
    """
    cost = FORWARD
    if what == "generator":
        return cost["generator"]
    players = 3 * cost["generator"] + 2 * 3 * cost["flow"] + 3 * cost["phi"]
    # Real frames forward; generated ones forward, and back to the frames.
    measure = (1 + 2) * cost["perceptual"]
    # Three clips: forward, back for its own loss, and back to the frames for the generator's.
    judge = 3 * (1 + 2 + 1) * cost[streams]
    return players + measure + judge


class Worker:
    """A side's process, asked for one run at a time."""

    def __init__(self, side: str, words: list[str]) -> None:
        """Starts it and waits for its first run.

        Args:
            side: "ours", "ours over cores", "ours remat" or "twin ...".
            words: what to run.
        """
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.torch_reference.worker", side, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **KEEP_MEMORY},
        )
        self.runs: list[dict[str, float]] = []
        self.first = self._answer()

    def run(self) -> None:
        """One more run."""
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        self.runs.append(self._answer())

    def stop(self) -> None:
        """Ends the process."""
        self.process.stdin.close()
        self.process.wait(timeout=60)

    def _answer(self) -> dict[str, float]:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a worker ended early (exit code {self.process.wait()})")
        return json.loads(line)


def measure(sides: list[str], words: list[str], rounds: int, gflop: float) -> dict[str, Any]:
    """Runs all sides in turns.

    Args:
        sides: names of the workers.
        words: what each of them runs.
        rounds: turns of each.
        gflop: useful operations of one run.
    """
    workers = {}
    found: dict[str, Any] = {}
    try:
        for side in sides:
            workers[side] = Worker(side, words)
            print(f"{side}: first run after {workers[side].first['seconds_to_first']:.0f} s",
                  flush=True)  # fmt: skip
        for _ in range(rounds):
            for worker in workers.values():
                worker.run()
    finally:
        for worker in workers.values():
            worker.stop()
    for side, worker in workers.items():
        taken = {name: [r[name] for r in worker.runs] for name in ("seconds", "cpu_seconds")}
        cores = os.cpu_count()
        found[side] = {
            "seconds": spread(taken["seconds"]),
            "cpu_seconds": spread(taken["cpu_seconds"]),
            "gflop_per_second": gflop / statistics.median(taken["seconds"]),
            "gflop_per_cpu_second_times_cores": (
                cores * gflop / statistics.median(taken["cpu_seconds"])
            ),
            "peak_bytes": max(r["peak_bytes"] for r in worker.runs),
            "peak_bytes_with_compilation": worker.first["peak_bytes"],
            "seconds_to_first": worker.first["seconds_to_first"],
            "runs": taken,
        }
    return found


def ratios(found: dict[str, Any]) -> dict[str, Any]:
    """Each other side's time over the first one's: above 1, the first is faster."""
    first, *others = found
    return {
        f"{other} / {first}": {
            kind: spread(
                [b / a for a, b in zip(*(found[s]["runs"][kind] for s in (first, other)),
                                       strict=True)]
            )
            for kind in ("seconds", "cpu_seconds")
        }
        for other in others
    }  # fmt: skip


def main() -> None:
    """Prints the table, and writes it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--what", choices=("step", "generator"), default="step")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--streams", choices=("two", "three"), default="two")
    parser.add_argument(
        "--twin",
        default="eager+frames",
        help="forms of the twin, with commas: "
        "eager or compiled, +frames with its last layer rewritten",
    )
    parser.add_argument(
        "--ours",
        default="",
        help="forms of lipjax's side, with commas: 'over cores' has a CPU device per core, 'remat' "
        "recomputes the decoder, '' neither; all sides stay in memory at once",
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    sides = [f"ours {how}".strip() for how in args.ours.split(",")]
    sides += [f"twin {how}" for how in args.twin.split(",") if how]
    known = facts("flax", "torch")
    gflop = args.batch * useful_gflop(args.what, args.streams)
    words = [args.what, args.streams, str(args.batch)]
    print(", ".join(f"{name} {value}" for name, value in known.items()), flush=True)
    forms = "".join(f", {how}" for how in args.ours.split(",") if how)
    name = f"{args.what}, batch {args.batch}, {args.streams} streams{forms}"
    print(f"{name}: {gflop:.0f} useful GFLOP", flush=True)
    found = measure(sides, words, args.rounds, gflop)
    print(f"{'':24}{'s':>9}{'quartiles':>18}{'CPU s':>9}{'GFLOP/s':>9}{'peak GB':>9}{'first s':>9}")
    for side, row in found.items():
        s = row["seconds"]
        quartiles = "{:.2f} to {:.2f}".format(*s["quartiles"])
        print(f"{side:24}{s['median']:9.2f}{quartiles:>18}{row['cpu_seconds']['median']:9.2f}"
              f"{row['gflop_per_second']:9.0f}{row['peak_bytes'] / 1e9:9.2f}"
              f"{row['seconds_to_first']:9.1f}")  # fmt: skip
    compared = ratios(found)
    for sides_of, kinds in compared.items():
        told = "; ".join("{} {:.2f} ({:.2f} to {:.2f})".format(kind, v["median"], *v["quartiles"])
                         for kind, v in kinds.items())  # fmt: skip
        print(f"{sides_of}: {told}")
    _save(args.out, name, {
        "facts": {**known, "load_after": os.getloadavg()[0]},
        "gflop": gflop, "sides": found, "ratios": compared, "rounds": args.rounds,
    })  # fmt: skip


def _save(path: Path, name: str, found: dict[str, Any]) -> None:
    """Adds a measurement to a file of measurements."""
    held = json.loads(path.read_text()) if path.is_file() else {}
    write({**held, name: found}, path)


if __name__ == "__main__":
    main()
