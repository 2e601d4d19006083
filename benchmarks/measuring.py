# SPDX-License-Identifier: Apache-2.0
"""What every benchmark shares: clocks, turns, medians with quartiles, facts of the machine, files.

Two sides of a ratio are measured in turns in one run, so that whatever else the machine does
falls on both. CPU seconds are counted beside wall seconds: they are the fairer measure where
others use the machine, and they see worker processes.
"""

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
_PACKAGES = ("lipjax", "jax", "jaxlib", "numpy")


class Cost(NamedTuple):
    """Seconds that a piece of work took: by the clock, and of CPU in all its processes."""

    wall: float
    cpu: float


def cpu_seconds(children: Iterable[int] = ()) -> float:
    """CPU seconds so far of this process and of processes that still run, by their numbers.

    Children are read from /proc to a hundredth of a second; where there is none they count as 0.
    """
    total = time.process_time()
    for child in children:
        with contextlib.suppress(OSError, ValueError):
            words = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            total += (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
    return total


def cost_of(work: Callable[[], Any], children: Iterable[int] = ()) -> Cost:
    """Does a piece of work and returns what it took, child processes named included."""
    children = tuple(children)
    wall, cpu = time.perf_counter(), cpu_seconds(children)
    work()
    return Cost(time.perf_counter() - wall, cpu_seconds(children) - cpu)


def in_turns(
    sides: Mapping[str, Callable[[], Cost]], *, rounds: int, seconds: float = 0.0
) -> dict[str, list[Cost]]:
    """Measures sides in turns, A B C A B C, at least `rounds` times and for at least `seconds`."""
    taken: dict[str, list[Cost]] = {name: [] for name in sides}
    end = time.monotonic() + seconds
    count = 0
    while count < rounds or time.monotonic() < end:
        for name, side in sides.items():
            taken[name].append(side())
        count += 1
    return taken


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Median, quartiles and number of values."""
    if len(values) < 2:
        return {"median": values[0], "quartiles": [values[0], values[0]], "count": len(values)}
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": middle, "quartiles": [low, high], "count": len(values)}


def ratios(slow: Sequence[Cost], fast: Sequence[Cost], by: str = "cpu") -> dict[str, Any]:
    """Spread of slow / fast over the turns that were measured beside each other."""
    pairs = zip(slow, fast, strict=True)
    return spread([getattr(a, by) / max(getattr(b, by), 1e-9) for a, b in pairs])


def version(name: str) -> str | None:
    """Of an installed package; None if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def facts(*packages: str, **more: Any) -> dict[str, Any]:
    """Where, with what and beside how much other work the figures were measured.

    Args:
        packages: whose versions are told besides the usual ones.
        more: further facts.
    """
    cpu = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), cpu)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    )
    return {
        "cpu": cpu,
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "python": platform.python_version(),
        "commit": commit.stdout.strip() or None,
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        **{name: version(name) for name in (*_PACKAGES, *packages)},
        **more,
    }


def target(
    measured: Mapping[str, Any] | float, aim: float, *, what: str, unit: str = "x"
) -> dict[str, Any]:
    """One line of the table: what was measured, what it should be, and whether it is.

    Args:
        measured: a spread, or one number; higher is better.
        aim: value that the median should reach.
        what: in words.
        unit: of both numbers; "x" for ratios.
    """
    value = measured if isinstance(measured, Mapping) else spread([float(measured)])
    return {"what": what, **value, "unit": unit, "target": aim, "held": value["median"] >= aim}


def words(line: Mapping[str, Any]) -> str:
    """Returns a line of `target` as text."""
    low, high = line["quartiles"]
    held = "" if line["target"] is None else f"; target {line['target']:g}: " + (
        "held" if line["held"] else "missed"
    )  # fmt: skip
    return f"{line['what']}: {line['median']:.3g} {line['unit']} ({low:.3g} to {high:.3g}){held}"


def write(result: Mapping[str, Any], path: Path | None) -> None:
    """Writes a result as JSON, whole or not at all."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    part.replace(path)


def parser(description: str, name: str) -> argparse.ArgumentParser:
    """Returns a parser with what every benchmark takes: `--out FILE.json` and `--short`."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument(
        "--out", type=Path, default=RESULTS / f"{name}.json", help="(default: %(default)s)"
    )
    made.add_argument(
        "--short", action="store_true", help="seconds of work: does it run? No speed is judged"
    )
    return made


@contextlib.contextmanager
def environment(**settings: str) -> Iterator[None]:
    """Sets environment variables, and puts the old ones back."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
