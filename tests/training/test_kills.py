# SPDX-License-Identifier: Apache-2.0
"""Runs killed with SIGKILL end as if nothing had happened: every bit of the state and of the log.

Three kills of a toy run at chosen places; in the slow tests twenty of a real `lipjax train`, with
its windows, networks and losses, at random moments, and five of one with all losses.
"""

import dataclasses
import json
import os
import random
import secrets
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from kill_tools import Run, contents, differences, environment, where

STEPS = 20
SMALL = {
    "train.steps": STEPS,
    "train.log_every": 3,
    "train.eval_every": 5,
    "train.checkpoint_every": 4,
    "train.preview_every": 10,
    "train.eval_windows": 12,
    "generator.residual_blocks": 0,
}


@dataclasses.dataclass
class Unbroken:
    """A run that was left alone, and how others repeat it.

    Attributes:
        words: workdir -> words that start one.
        env: of the processes.
        contents: of its workdir.
        batches: step -> checksum of the batch.
        seconds: from its start to its end.
        save_seconds: of a typical save, from the call to the complete checkpoint.
        evaluation_seconds: of a typical evaluation.
    """

    words: Callable[[Path], list[str]]
    env: dict[str, str]
    contents: dict[str, bytes]
    batches: dict[int, int]
    seconds: float
    save_seconds: float
    evaluation_seconds: float

    def start(self, workdir: Path) -> Run:
        return Run(self.words(workdir), self.env)

    def finish(self, workdir: Path) -> None:
        """Lets a run go on to its end and compares it."""
        run = self.start(workdir)
        assert run.end() == 0, run.told
        self.check(run, workdir)

    def check(self, run: Run, workdir: Path) -> None:
        self.check_batches(run)
        assert differences(workdir, self.contents) == []

    def check_batches(self, run: Run) -> None:
        """Whatever it trained on was the batch of that step."""
        assert run.batches().items() <= self.batches.items()


def unbroken(words: Callable[[Path], list[str]], env: dict[str, str], folder: Path) -> Unbroken:
    """Trains without interruption and watches how long things take."""
    workdir, complete = folder / "whole", {}
    run = Run(words(workdir), env)

    def watch() -> None:
        while run.process.poll() is None:
            for step in range(1, STEPS + 1):
                if step not in complete and (workdir / "checkpoints" / str(step)).is_dir():
                    complete[step] = time.monotonic()
            time.sleep(0.002)

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    assert run.end() == 0, run.told
    watching.join()
    saves = [complete[m.number] - m.time for m in run.marks if m.name == "save"]
    begun = [mark.time for mark in run.marks if mark.name == "evaluation"]
    ended = [mark.time for mark in run.marks if mark.name == "evaluated"]
    assert len(saves) >= 3 and len(begun) == len(ended) == len(run.batches()) // 5 > 1
    return Unbroken(
        words=words,
        env=env,
        contents=contents(workdir),
        batches=run.batches(),
        seconds=run.marks[-1].time - run.began,
        save_seconds=sorted(saves)[len(saves) // 2],
        evaluation_seconds=sorted(b - a for a, b in zip(begun, ended, strict=True))[-2],
    )


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> Unbroken:
    folder = tmp_path_factory.mktemp("toy")
    options = json.dumps({"steps": STEPS})
    env = environment(folder / "xla", devices=8)
    return unbroken(lambda workdir: ["toy", str(workdir), options], env, folder)


def test_killed_in_a_save_in_an_evaluation_and_in_a_step(toy, tmp_path):
    workdir, seen = tmp_path / "run", []
    for name, number, delay in (
        ("saving", 8, 0.0),
        ("evaluation", None, 0.3 * toy.evaluation_seconds),
        ("step", 13, 0.0),
    ):
        run = toy.start(workdir)
        assert run.until(name, number)
        time.sleep(delay)
        assert run.kill(), run.told
        toy.check_batches(run)
        seen.append(where(run, workdir))
    print("\nkilled in:", seen)
    assert "save" in seen[0] and "evaluation" in seen[1] and "step" in seen[2]
    toy.finish(workdir)


def test_sigterm_saves_and_ends_with_its_code(toy, tmp_path):
    """In an evaluation, in a save (twice at once), and while compiling, where nothing is new."""
    workdir = tmp_path / "run"
    run = toy.start(workdir)
    assert run.until("evaluation")
    run.process.send_signal(signal.SIGTERM)
    assert run.end() == 143, run.told
    assert "stopped at step 5; saving" in run.told[0]
    run = toy.start(workdir)
    assert run.until("save")
    run.process.send_signal(signal.SIGTERM)
    run.process.send_signal(signal.SIGTERM)
    assert run.end() == 143, run.told
    assert run.resumed == 5 and "stopped at step" in run.told[0]
    run = toy.start(workdir)
    assert run.until("compile")
    run.process.send_signal(signal.SIGTERM)
    assert run.end() in (143, -signal.SIGTERM), run.told  # a shell shows 143 for both
    assert run.resumed in (8, 9)
    run = toy.start(workdir)
    assert run.end() == 0, run.told
    toy.check_batches(run)
    # The checkpoints before the last are others; what counts is the same.
    here, there = contents(workdir), toy.contents
    last = [n for n in there if n.startswith((f"{STEPS}/", "metrics", "previews", "progress"))]
    assert len(last) > 15 and [name for name in last if here[name] != there[name]] == []


@dataclasses.dataclass
class Killer:
    """Kills at random moments of three kinds, and keeps a table of what became of it."""

    whole: Unbroken
    folder: Path
    draw: random.Random
    table: list[str] = dataclasses.field(default_factory=list)
    places: Counter = dataclasses.field(default_factory=Counter)
    kills: int = 0
    wanted: int = 20
    least: int = 4

    def once(self, kind: str, workdir: Path) -> bool:
        """Runs until the kill, or until the end if that comes first; returns whether it ended."""
        run = self.whole.start(workdir)
        if kind == "any":
            moment = self.draw.uniform(0.0, self.whole.seconds)
            told = f"{moment:5.1f} s after the start"
            time.sleep(moment)
        else:
            count = self.draw.randint(1, 2)
            span = self.whole.save_seconds if kind == "save" else self.whole.evaluation_seconds
            moment = self.draw.uniform(0.0, span)
            told = f"{1000 * moment:5.0f} ms into {kind} {count}"
            if run.until(kind, count=count):
                time.sleep(moment)
        if not run.kill():
            assert run.process.returncode == 0, run.told
            self.whole.check(run, workdir)
            self.table.append(f"{told:26}  it had ended: equal")
            return True
        self.whole.check_batches(run)
        places = where(run, workdir)
        self.places.update(places.keys())
        self.kills += 1
        doing = ", ".join(n if s is None else f"{n} ({s})" for n, s in places.items())
        self.table.append(f"{told:26}  resumed at {run.resumed:2}; killed in: {doing}")
        return False

    def chain(self, kinds: list[str]) -> None:
        """One run killed as often as there are kinds, then left to end, and compared."""
        workdir = self.folder / f"run-{len(self.table)}"
        for kind in kinds:
            if self.once(kind, workdir):
                return
        self.whole.finish(workdir)
        self.table.append(f"{'':26}  left to end: equal")

    def missing(self) -> list[str]:
        """What is still to be done: `least` kills inside a save, as many in an evaluation."""
        kinds = [k for k in ("save", "evaluation") for _ in range(self.least - self.places[k])]
        return kinds + ["any"] * (self.wanted - self.kills - len(kinds))

    def run(self, plan: list[str]) -> None:
        """Kills at moments of these kinds, and more until there are enough; prints the table."""
        began = time.monotonic()
        self.draw.shuffle(plan)
        try:
            while plan:
                self.chain(plan[:5])
                plan = plan[5:] or self.missing()
        finally:
            print(*self.table, sep="\n")
            spent = time.monotonic() - began
            print(f"{self.kills} kills in {spent:.0f} s: {dict(self.places)}")
        assert self.kills >= self.wanted
        assert self.places["save"] >= self.least and self.places["evaluation"] >= self.least


def killer_of(whole: Unbroken, folder: Path, **options: int) -> Killer:
    seed = secrets.randbits(32)
    print(
        f"\nseed {seed}; unbroken {whole.seconds:.1f} s, a save {1000 * whole.save_seconds:.0f} "
        f"ms, an evaluation {1000 * whole.evaluation_seconds:.0f} ms"
    )
    return Killer(whole, folder, random.Random(seed), **options)


TWENTY = ["save"] * 6 + ["evaluation"] * 5 + ["any"] * 9


def real(words: list[str], corpus: str, folder: Path, changes: dict | None = None) -> Unbroken:
    """An unbroken run of `lipjax train`, after another that fills the cache of programs."""
    settings = {**SMALL, "data.dirs": corpus, **(changes or {})}
    changed = [f"--config.{name}={value}" for name, value in settings.items()]
    env = environment(folder / "xla")

    def words_of(workdir: Path) -> list[str]:
        return ["train", "--config", *words, *changed, "--workdir", str(workdir)]

    once = Run(words_of(folder / "first"), env)
    assert once.end() == 0, once.told
    whole = unbroken(words_of, env, folder)
    # Compiled there, taken from the cache here: unless the two agree, nothing below means much.
    assert differences(folder / "first", whole.contents) == []
    return whole


@pytest.mark.slow
def test_twenty_kills_at_random_moments(tmp_path, tiny_corpus):
    whole = real(["configs/at_a_glance.py:tiny"], tiny_corpus.directory, tmp_path)
    killer_of(whole, tmp_path).run([*TWENTY])


@pytest.mark.slow
def test_twenty_kills_of_the_toy_run(toy, tmp_path):
    killer_of(toy, tmp_path).run([*TWENTY])


@pytest.mark.slow
def test_five_kills_of_a_run_with_all_losses(tmp_path, tiny_corpus):
    """Row e: generator, discriminator and correlation networks, frozen earlier stages."""
    words = ["configs/at_a_glance.py:tiny,row=e"]
    settings = {**SMALL, "data.dirs": tiny_corpus.directory, "train.steps": 1}
    changed = [f"--config.{name}={value}" for name, value in settings.items()]
    recipe = ["train", "--config", *words, *changed, "--recipe", "--workdir", str(tmp_path / "r")]
    stages = Run(recipe, environment(tmp_path / "xla"))
    assert stages.end(600) == 0, stages.told
    changes = {f"given.{n}": tmp_path / "r" / "stages" / n for n in ("flow", "perceptual")}
    whole = real(words, tiny_corpus.directory, tmp_path, changes | {"train.steps": 10})
    killer_of(whole, tmp_path, wanted=5, least=1).run(["save", "save", "evaluation", "any", "any"])


@pytest.mark.slow
def test_what_a_signal_does_to_a_run_with_data_workers(tmp_path, tiny_corpus):
    """Preemption reaches every process of a job, and a kill only one; no lock outlives it."""
    whole = real(
        ["configs/at_a_glance.py:tiny", "--config.data.workers=1"], tiny_corpus.directory, tmp_path
    )
    workdir = tmp_path / "run"
    run = whole.start(workdir)
    assert run.until("step", 6)
    os.killpg(run.process.pid, signal.SIGTERM)
    assert run.end() == 143, run.told
    assert "stopped at step" in run.told[0]
    run = whole.start(workdir)
    assert run.until("step", 13)
    run.process.kill()  # alone: its worker is left behind for a moment
    run.process.communicate()
    again = whole.start(workdir)
    assert again.end() == 0, again.told
    assert again.resumed >= 8
    whole.check_batches(again)
    here = contents(workdir)
    assert here["metrics.jsonl"] == whole.contents["metrics.jsonl"]
    last = [name for name in here if name.startswith(f"{STEPS}/")]
    assert len(last) > 100 and all(here[name] == whole.contents[name] for name in last)
