# SPDX-License-Identifier: Apache-2.0
"""Cases from seeds, a process that reads them, and the table of what became of them.

Case number n of a run is a function of (seed of the run, n): a failure can be made again alone.
"""

import collections
import dataclasses
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from fuzz import mutations
from fuzz.seeds import Seed

WALL_SECONDS, CPU_SECONDS = 180.0, 20.0
"""A case that takes longer hangs. Other work on the machine stretches the first alone."""
MEGABYTES = 400.0
"""Memory that a case may take; pictures of `readers.MAX_PIXELS` take a tenth of it."""
PAYLOAD_SHARE = 0.65
OUTCOMES = ("ok", "ours", "foreign", "crash", "hang", "memory")


@dataclasses.dataclass
class Result:
    """What became of a case."""

    seed: Seed
    number: int
    on_payload: bool
    outcome: str
    told: str = ""
    marks: dict[str, int] = dataclasses.field(default_factory=dict)
    megabytes: float = 0.0
    seconds: float = 0.0

    def __str__(self) -> str:
        where = self.seed.part or self.seed.path.name
        what = f"case {self.number}: {self.seed.reader} {where}: {self.outcome}"
        return f"{what} ({self.megabytes:.0f} MB, {self.seconds:.1f} s)\n{self.told}"


def run(
    seeds: Sequence[Seed], numbers: Sequence[int], *, run_seed: int, work: Path
) -> list[Result]:
    """Makes and reads cases; seeds of equal needs follow each other.

    Args:
        seeds: of all kinds.
        numbers: of the cases; case n takes seed n modulo their number.
        run_seed: of all random choices.
        work: an existing folder for the damaged files.
    """
    results, reader = [], Reader()
    try:
        for number in sorted(numbers, key=lambda n: (_family(seeds[n % len(seeds)]), n)):
            seed = seeds[number % len(seeds)]
            folder = work / f"case-{number}"
            path, on_payload = make(seed, folder, np.random.default_rng([run_seed, number]))
            results.append(reader.read(seed, number, on_payload, path))
            shutil.rmtree(folder)
    finally:
        reader.stop()
    return results


def _family(seed: Seed) -> int:
    from fuzz.readers import NEEDS

    return ("", "corpus", "checkpoint").index(NEEDS.get(seed.reader, ""))


def make(seed: Seed, folder: Path, rng: np.random.Generator) -> tuple[Path, bool]:
    """Writes the damaged file or folder; returns it and whether the payload was damaged."""
    folder.mkdir()
    if seed.part:
        path = folder / seed.path.name
        shutil.copytree(seed.path, path)
        target = path / seed.part
        given = path if seed.reader in ("corpus", "batches", "checkpoint", "speaker") else target
    else:
        given = target = folder / seed.path.name
        target.write_bytes(seed.path.read_bytes())
    if seed.kind == "records":
        _damage_records(target, rng)
        return given, True
    data = target.read_bytes()
    places, on_payload = [(0, len(data))], seed.kind == "payload"
    if seed.kind == "shard":
        places, on_payload = [(128, len(data))], True
    elif seed.kind == "media":
        body = mutations.payload(target.name, data)
        on_payload = rng.random() < PAYLOAD_SHARE
        places = body if on_payload else mutations.rest(body, len(data))
    damaged = mutations.mutate(data, places, rng)
    if on_payload and rng.random() < 0.8:
        damaged = mutations.repaired(target.name, damaged)
    target.write_bytes(damaged)
    return given, on_payload


def _damage_records(shard: Path, rng: np.random.Generator) -> None:
    """Damages one record and packs all anew: the shard's own checks then find nothing."""
    from array_record.python import array_record_module

    reader = array_record_module.ArrayRecordReader(str(shard))
    records = [reader.read([n])[0] for n in range(reader.num_records())]
    reader.close()
    at = int(rng.integers(len(records)))
    # The names of the fields lie all over a record; most damage is to hit what they hold.
    records[at] = mutations.mutate(records[at], [(0, len(records[at]))], rng)
    shard.unlink()
    writer = array_record_module.ArrayRecordWriter(str(shard), "group_size:1")
    for record in records:
        writer.write(record)
    writer.close()


class Reader:
    """The process that reads, started anew where it died or was stopped."""

    def __init__(self, wall_seconds: float = WALL_SECONDS) -> None:
        self._wall_seconds = wall_seconds
        self._process: subprocess.Popen | None = None
        self._folder = tempfile.TemporaryDirectory()
        self._traces = Path(self._folder.name) / "traces"

    def _started(self) -> subprocess.Popen:
        if self._process is None:
            worker = Path(__file__).with_name("worker.py")
            command = [sys.executable, str(worker), str(self._traces)]
            environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
            environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=Path(__file__).parents[2],
                env=environment,
            )
            assert self._answer(self._process, 600.0) == {"ready": True}
        return self._process

    def read(self, seed: Seed, number: int, on_payload: bool, path: Path) -> Result:
        """Has a file read and judges what happened."""
        result = Result(seed, number, on_payload, "hang")
        process = self._started()
        request = json.dumps({"reader": seed.reader, "path": str(path)})
        try:
            process.stdin.write(request.encode() + b"\n")
            process.stdin.flush()
            answer = self._answer(process, self._wall_seconds)
        except (BrokenPipeError, EOFError):
            code = process.wait()
            result.outcome, result.told = "crash", f"the process ended with code {code}"
            self.stop()
            return result
        if answer is None:
            process.send_signal(signal.SIGUSR1)
            time.sleep(2.0)
            traces = self._traces.read_text() if self._traces.exists() else ""
            state = Path(f"/proc/{process.pid}/stat").read_text().split()
            result.told = f"no answer in {self._wall_seconds:.0f} s, state {state[2]}, CPU ticks "
            result.told += f"{state[13]} and {state[14]}\n{traces[-3000:]}"
            self.stop()
            return result
        for name in ("told", "marks", "megabytes", "seconds"):
            setattr(result, name, answer[name])
        result.outcome = answer["result"]
        if result.outcome in ("ok", "ours"):
            if result.megabytes > MEGABYTES:
                result.outcome = "memory"
            elif result.seconds > CPU_SECONDS:
                result.outcome = "hang"
        return result

    @staticmethod
    def _answer(process: subprocess.Popen, seconds: float) -> dict | None:
        ready, _, _ = select.select([process.stdout], [], [], seconds)
        if not ready:
            return None
        line = process.stdout.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        return json.loads(line)

    def stop(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process.stdin.close()
            self._process.stdout.close()
            self._process = None


def table(results: Sequence[Result]) -> str:
    """The counts of outcomes, reader by reader, and how many got past opening."""
    rows: dict[str, list[Result]] = collections.defaultdict(list)
    for result in results:
        rows[result.seed.reader].append(result)
    columns = ["cases", "on payload", "of these opened", "of these decoded"]
    columns += [*OUTCOMES, "most MB", "most s"]
    lines = [["reader", *columns]]
    for name, some in [*rows.items(), ("all", list(results))]:
        on_payload = [r for r in some if r.on_payload]
        opened = [r for r in on_payload if r.marks.get("opened")]
        numbers = [len(some), len(on_payload), len(opened)]
        numbers.append(sum(bool(r.marks.get("payload")) for r in opened))
        numbers += [sum(r.outcome == outcome for r in some) for outcome in OUTCOMES]
        most = [max(r.megabytes for r in some), max(r.seconds for r in some)]
        lines.append([name, *map(str, numbers), f"{most[0]:.0f}", f"{most[1]:.1f}"])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )
