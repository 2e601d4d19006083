# SPDX-License-Identifier: Apache-2.0
"""How training scales: compiled programs measured, step times of accelerators computed.

    python benchmarks/scaling.py measure [--topologies]    # minutes to hours of one CPU core
    python benchmarks/scaling.py compute                   # seconds

`measure` compiles the training step of the full-width `grid` config by `lipjax train --dry-run`,
each in a program of its own, on simulated devices and, with `--topologies` and libtpu installed,
with the TPU compiler. What is in the result file already is not compiled again. `compute` adds
what follows on paper from `PUBLISHED` and `ASSUMED`, and draws the figure.
"""

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "scaling.json"
FIGURE = ROOT / "docs" / "figures" / "scaling.png"
CONFIG = "configs/at_a_glance.py:grid"
PER_DEVICE = 8  # windows
SIMULATED = ((8, 1), (8, 8), (32, 1), (32, 8), (1, 1), (2, 1), (4, 1), (16, 1), (8, 4))
"""(devices, shards) in the order of interest."""
TOPOLOGIES = (("v5e:2x4", 1), ("v5e:2x4", 8), ("v5e:1x1", 1), ("v5e:8x8", 1))

WINDOWS = 200_000 * 24
"""Of a whole training by the config's own steps and batch."""
BETWEEN = "between_groups_bytes_per_second"

PUBLISHED = {
    "TPU v5e": {
        "flops": 197e12,
        "memory_bytes_per_second": 819e9,
        "memory_bytes": 16e9,
        "link_bytes_per_second": 200e9,
        "devices_per_group": 256,
        "arithmetic": "bfloat16 products of float32 arrays, JAX's default on TPUs",
        "source": "cloud.google.com/tpu/docs/v5e: 197 TFLOP/s bf16, 819 GB/s HBM, 16 GB, "
        "400 GB/s bidirectional inter-chip bandwidth per chip (half of it each way), 256 chips",
    },
    "H100 SXM": {
        "flops": 494.7e12,
        "memory_bytes_per_second": 3.35e12,
        "memory_bytes": 80e9,
        "link_bytes_per_second": 450e9,
        "devices_per_group": 8,
        BETWEEN: 50e9,
        "arithmetic": "TF32 products of float32 arrays, JAX's default on such GPUs",
        "source": "NVIDIA H100 data sheet: TF32 989 TFLOP/s with sparsity (half without), "
        "3.35 TB/s HBM3, 80 GB, NVLink 900 GB/s (half each way); DGX H100 data sheet: one "
        "400 Gb/s adapter per GPU between nodes of eight",
    },
}
ASSUMED = {
    "fraction_of_peak": (0.2, 0.5),
    "fraction_of_links": (0.5, 0.9),
    "seconds_per_hop": 1e-6,
}
"""Nobody has measured these for this model: (worse, better)."""


def command(devices: int, shards: int, topology: str | None) -> list[str]:
    """Words of the dry run, behind the Python that runs it."""
    where = ["--topology", topology] if topology else ["--devices", str(devices)]
    settings = {"data.batch_size": PER_DEVICE * devices, "train.shards": shards}
    return [
        *("-m", "lipjax.cli", "train", "--config", CONFIG, "--workdir", "runs/grid", "--dry-run"),
        *where,
        *(f"--config.{name}={value}" for name, value in settings.items()),
    ]


def chips(topology: str) -> int:
    """Chips of a slice."""
    sides = topology.partition(":")[2].split("x")
    return int(sides[0]) * int(sides[1])


def measure(rows: list[dict[str, Any]], *, topologies: bool, save: Any) -> None:
    """Compiles what is not in `rows` yet; each new row names its commit.

    Args:
        rows: measured so far; grows.
        topologies: whether the TPU compiler is asked too.
        save: called after each row.
    """
    wanted = [(devices, shards, None) for devices, shards in SIMULATED]
    if topologies:
        wanted += [(chips(name), shards, name) for name, shards in TOPOLOGIES]
    for devices, shards, topology in wanted:
        words = command(devices, shards, topology)
        if any(row["command"] == words for row in rows):
            continue
        row = {"command": words, "topology": topology, "commit": commit_of(ROOT)}
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "plan.json"
            run = subprocess.run(
                [sys.executable, *words, "--out", str(out)],
                cwd=ROOT,
                capture_output=True,
                text=True,
            )
            if run.returncode:
                print(f"{' '.join(words)}: {run.stderr.strip()[-400:]}", flush=True)
                if topology is None:
                    raise SystemExit(1)
                rows.append({**row, "error": run.stderr[-400:]})
            else:
                rows.append({**row, "plan": json.loads(out.read_text())})
                print(f"{devices} devices, {shards} shards, {topology or 'CPU'}: done", flush=True)
        save()


def facts() -> dict[str, Any]:
    """Where and by what the programs were compiled."""
    found = {name: version(name) for name in ("jax", "jaxlib", "libtpu")}
    return {**found, "machine": platform.machine(), "cores": os.cpu_count()}


def commit_of(folder: Path) -> str | None:
    """Returns the commit that is checked out there, or None, which is told, where none is known.

    Args:
        folder: a checkout; "+changes" behind the commit says that what is compiled has been
            changed since.
    """
    try:
        top = Path(_git(folder, "rev-parse", "--show-toplevel").strip())
        if top.resolve() != folder.resolve():  # a copy of the files within another project
            raise OSError(f"{folder} is not the top of a git checkout")
        commit = _git(folder, "rev-parse", "--short=12", "HEAD").strip()
        changed = _git(folder, "status", "--porcelain", "--", "lipjax", "configs").strip()
    except (OSError, subprocess.CalledProcessError) as error:
        told = (getattr(error, "stderr", None) or str(error)).strip()
        print(f"no commit is named: {told}", file=sys.stderr, flush=True)
        return None
    return f"{commit}+changes" if changed else commit


def _git(folder: Path, *words: str) -> str:
    run = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True)
    return run.stdout


def version(name: str) -> str | None:
    """Of an installed package."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


# ---- On paper.


def all_reduce_seconds(size: float, devices: int, chip: dict[str, Any], fraction: float) -> float:
    """Time to sum an array over devices by rings, in groups where the chip has groups.

    Args:
        size: bytes of the array.
        devices: that hold one each.
        chip: of `PUBLISHED`.
        fraction: of the published bandwidth that is reached.
    """
    if devices == 1:
        return 0.0
    group = min(devices, chip["devices_per_group"])
    groups = devices // group
    seconds = 2 * (group - 1) / group * size / (chip["link_bytes_per_second"] * fraction)
    if groups > 1:
        # Each device of a group sums its part with the same part of the other groups.
        between = chip[BETWEEN] * fraction
        seconds += 2 * (groups - 1) / groups * (size / group) / between
    return seconds + 2 * (devices - 1) * ASSUMED["seconds_per_hop"]


def step_seconds(
    work: dict[str, float], devices: int, chip: dict[str, Any], *, better: bool
) -> dict[str, float]:
    """Time of a step, by what takes it.

    Args:
        work: "flops" and "memory_traffic" of one device, "gradients" bytes summed over all.
        devices: of the run.
        chip: of `PUBLISHED`.
        better: whether at the better end of what is assumed: then gradients travel while others
            are computed, at the worse end they wait.
    """
    compute = work["flops"] / (chip["flops"] * ASSUMED["fraction_of_peak"][better])
    memory = work["memory_traffic"] / chip["memory_bytes_per_second"]
    busy = max(compute, memory)
    fraction = ASSUMED["fraction_of_links"][better]
    sums = all_reduce_seconds(work["gradients"], devices, chip, fraction)
    total = max(busy, sums) if better else busy + sums
    return {"compute": compute, "memory": memory, "all_reduce": sums, "total": total}


def enough_windows(
    work: dict[str, float], devices: int, chip: dict[str, Any], *, better: bool
) -> int:
    """Windows per device from which summing the gradients takes under a tenth of computing.

    Args:
        work: as for `step_seconds`, with "windows" per device.
        devices: of the run.
        chip: of `PUBLISHED`.
        better: whether links are at their better end and devices at their slower one.
    """
    sums = all_reduce_seconds(
        work["gradients"], devices, chip, ASSUMED["fraction_of_links"][better]
    )
    peak = chip["flops"] * ASSUMED["fraction_of_peak"][not better]
    return max(1, math.ceil(10 * sums * peak * work["windows"] / work["flops"]))


def computed(work: dict[str, float], counts: Iterable[int]) -> list[dict[str, Any]]:
    """Step times of all chips and device counts, and how long a whole training takes."""
    rows = []
    for name, chip in PUBLISHED.items():
        for devices in counts:
            if devices > chip["devices_per_group"] and not chip.get(BETWEEN):
                continue
            row: dict[str, Any] = {"chip": name, "devices": devices}
            for end, better in (("worse", False), ("better", True)):
                seconds = step_seconds(work, devices, chip, better=better)
                rate = work["windows"] * devices / seconds["total"]
                row[end] = {
                    **seconds,
                    "windows_per_second": rate,
                    "hours": WINDOWS / rate / 3600,
                    "enough_windows": enough_windows(work, devices, chip, better=better),
                }
            rows.append(row)
    return rows


def work_of(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Work of one device per step at `PER_DEVICE` windows, by the compiler nearest to the chips."""
    plans = [row["plan"] for row in rows if "plan" in row and row["plan"]["shards"] == 1]
    best = max(plans, key=lambda plan: (plan["compiler"] == "tpu", plan["devices"] == 8))
    return {
        "flops": best["flops"],
        "memory_traffic": best["memory_traffic"],
        "gradients": sum(bytes_ for _, bytes_ in best["parameters"].values()),
        "windows": best["batch_size"] // best["devices"],
        "compiler": best["compiler"],
    }


def tables(result: dict[str, Any]) -> list[str]:
    """The rows of the tables in docs/scale.md."""
    rows = []
    for row in result["measured"]:
        if "plan" not in row:
            continue
        plan, memory = row["plan"], row["plan"]["memory"]
        moved: dict[str, list[float]] = {}
        for found in plan["traffic"]["collectives"]:
            sums = moved.setdefault(found["kind"], [0, 0, 0])
            for i, name in enumerate(("count", "bytes", "sent")):
                sums[i] += found[name]
        kinds = ", ".join(
            f"{kind} {count} x, {size / 1e6:.0f} MB" for kind, (count, size, _) in moved.items()
        )
        sent = sum(sums[2] for sums in moved.values()) / 1e6
        state = sum(part for _, part in plan["state"].values()) / 1e6
        rows.append(
            f"| {row['topology'] or 'simulated'} | {plan['devices']} | {plan['shards']} | "
            f"{state:.0f} MB | {memory['temporaries'] / 1e9:.1f} GB | {kinds or 'none'} | "
            f"{sent:.0f} MB | {plan['flops'] / 1e12:.2f} T |"
        )
    for row in result["computed"]:
        ends = row["better"], row["worse"]
        span = lambda name, unit, digits, ends=ends: (  # noqa: E731
            " to ".join(f"{end[name] * unit:.{digits}f}" for end in ends)
        )
        rows.append(
            f"| {row['chip']} | {row['devices']} | {span('total', 1e3, 0)} | "
            f"{span('all_reduce', 1e3, 1)} | {rounded([end['windows_per_second'] for end in ends])}"
            f" | {span('hours', 1, 1)} | {span('enough_windows', 1, 0)} |"
        )
    return rows


def rounded(values: list[float]) -> str:
    """From the lower to the higher, two digits each."""
    two = [int(float(f"{value:.1e}")) for value in sorted(values)]
    return " to ".join(f"{value:,}" for value in two)


def draw(result: dict[str, Any], path: Path) -> None:
    """Draws what was measured beside what was computed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    plans = [row["plan"] for row in result["measured"] if "plan" in row]
    gradients = result["work"]["gradients"]
    counts = [1, 2, 4, 8, 16, 32]
    left.plot(counts, [2 * (n - 1) / n * gradients / 1e6 for n in counts], color="0.6",
              label="2 (n - 1) / n x 4 bytes x parameters")  # fmt: skip
    for compiler, marker in (("cpu", "o"), ("tpu", "^")):
        for shards, colour in ((False, "C0"), (True, "C3")):
            points = [
                (plan["devices"], sum(c["sent"] for c in plan["traffic"]["collectives"]) / 1e6)
                for plan in plans
                if plan["compiler"] == compiler and (plan["shards"] > 1) == shards
            ]
            if points:
                name = f"{compiler.upper()} compiler, {'sharded' if shards else 'replicated'}"
                left.scatter(*zip(*points, strict=True), marker=marker, color=colour, label=name)
    left.set(xscale="log", xlabel="devices", ylabel="MB sent per device and step",
             title="Measured: compiled programs")  # fmt: skip
    left.legend(fontsize=8)
    for colour, name in zip(("C1", "C2"), PUBLISHED, strict=True):
        rows = [row for row in result["computed"] if row["chip"] == name]
        x = [row["devices"] for row in rows]
        ends = [[1e3 * row[end]["total"] for row in rows] for end in ("better", "worse")]
        right.fill_between(x, *ends, color=colour, alpha=0.3, label=f"{name}, step")
        sums = [[1e3 * row[end]["all_reduce"] for row in rows] for end in ("better", "worse")]
        right.fill_between(x[1:], *(values[1:] for values in sums), color=colour, alpha=0.3,
                           hatch="//", label=f"{name}, all-reduce")  # fmt: skip
    right.set(xscale="log", yscale="log", xlabel="devices", ylabel="ms per step",
              title=f"Computed: {result['work']['windows']} windows per device")  # fmt: skip
    right.legend(fontsize=8)
    for axes, last in ((left, 32), (right, 256)):
        ticks = [2**n for n in range(last.bit_length())]
        axes.grid(alpha=0.3)
        axes.set_xticks(ticks, [str(n) for n in ticks])
        axes.minorticks_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def main() -> None:
    """Measures or computes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("job", choices=("measure", "compute"))
    parser.add_argument("--topologies", action="store_true", help="ask the TPU compiler too")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--figure", type=Path, default=FIGURE)
    args = parser.parse_args()
    result = json.loads(args.out.read_text()) if args.out.is_file() else {"measured": []}

    def save() -> None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=1) + "\n")

    if args.job == "measure":
        result["facts"] = facts()
        measure(result["measured"], topologies=args.topologies, save=save)
        return
    result["published"], result["assumed"] = PUBLISHED, ASSUMED
    result["work"] = work_of(result["measured"])
    result["computed"] = computed(result["work"], [1, 2, 4, 8, 16, 32, 64, 128, 256])
    save()
    draw(result, args.figure)
    print("\n".join(tables(result)))


if __name__ == "__main__":
    main()
