# SPDX-License-Identifier: Apache-2.0
"""Runs that go wrong: they end in time, lose nothing, and say after a resume what they said."""

import dataclasses
import os
import re
import signal

import numpy as np
import pytest
from stage_tools import quick_programs, settings
from toy_training import ToyTask

from lipjax.cli import main
from lipjax.errors import TrainingError
from lipjax.tasks.symptoms import Symptom
from lipjax.training.checkpoints import Checkpoints
from lipjax.training.logging import read_metrics
from lipjax.training.loop import train


def run(task, windows, workdir, **options):
    quiet = {"steps": 60, "log_every": 10, "checkpoint_every": 5, "show": lambda _: None}
    return train(task, windows, workdir=workdir, **(quiet | options))


def kept(workdir):
    manager = Checkpoints(workdir / "checkpoints")
    steps = manager.steps
    manager.close()
    return steps


class Interrupting:
    """Sends this process a signal while the batch of one step is drawn."""

    def __init__(self, windows, step):
        self.windows, self.step = windows, step

    def batch(self, step):
        if step == self.step:
            os.kill(os.getpid(), signal.SIGINT)
        return self.windows.batch(step)


def test_a_run_of_skipped_updates_ends_it_before_the_last_good_checkpoint_goes(
    tmp_path, toy_task, toy_windows
):
    healthy = run(toy_task(), toy_windows(), tmp_path / "healthy")
    sick, lines = toy_windows(poisoned=tuple(range(23, 1000))), []
    with pytest.raises(TrainingError) as caught:
        run(toy_task(), sick, tmp_path / "sick", max_skipped=20, show=lines.append)
    # The 24th step is the first bad one, the 43rd the 20th; it is looked at every 5 steps.
    error = str(caught.value)
    for part in ("step 45", "last 22", "since step 24", "NaN or infinite: loss;", "of step 20"):
        assert part in error
    rows = read_metrics(tmp_path / "sick")
    assert [row["step"] for row in rows] == [10, 20, 30, 40, 45]
    assert [row["skipped"] for row in rows] == [0, 0, 7, 17, 22]
    assert [row["health/nonfinite"] for row in rows] == [0, 0, 1, 1, 1]
    assert sum("unwell: nonfinite" in line for line in lines) == 1
    # Those of steps 25 to 40, which would hold nothing new, have not pushed the good ones out.
    assert kept(tmp_path / "sick") == [15, 20]
    # With the data in order again, the same command ends as the run that was never ill.
    resumed = run(toy_task(), toy_windows(), tmp_path / "sick", max_skipped=20)
    w = [np.asarray(result.state.params["line"]["w"]) for result in (healthy, resumed)]
    np.testing.assert_array_equal(*w)
    assert int(resumed.state.skipped) == 0
    logs = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("healthy", "sick")]
    assert logs[0] == logs[1]


def test_it_ends_between_two_rows_of_the_log_too(tmp_path, toy_task, toy_windows):
    sick = toy_windows(poisoned=tuple(range(1000)))
    with pytest.raises(TrainingError, match=r"step 4: the last 4 .* no checkpoint yet"):
        run(toy_task(), sick, tmp_path, max_skipped=4, log_every=1000, checkpoint_every=1000)
    (row,) = read_metrics(tmp_path)
    assert (row["step"], row["skipped"], row["nonfinite/loss"]) == (4, 4, 4)


def test_updates_that_are_skipped_now_and_then_end_nothing(tmp_path, toy_task, toy_windows):
    sick = toy_windows(poisoned=tuple(range(0, 60, 2)))
    result = run(toy_task(), sick, tmp_path, max_skipped=2)
    assert int(result.state.skipped) == 30 and int(result.state.step) == 60
    # The last step is always saved, though every other one has nothing new.
    assert kept(tmp_path)[-1] == 60


@pytest.mark.parametrize("stopped", [14, 20])
def test_the_run_of_skipped_updates_is_counted_across_a_resume(
    tmp_path, toy_task, toy_windows, stopped
):
    options = {"max_skipped": 10, "log_every": 2, "checkpoint_every": 2}
    sick = toy_windows(poisoned=tuple(range(12, 22)))
    with pytest.raises(KeyboardInterrupt):
        run(toy_task(), Interrupting(sick, stopped), tmp_path, **options)
    assert kept(tmp_path)[-1] == stopped + 1, "a signal saves at once"
    # 9 bad steps, or the 10 of another order, would not end it.
    with pytest.raises(TrainingError, match=r"step 22: the last 10 updates \(since step 13\)"):
        run(toy_task(), sick, tmp_path, **options)
    shorter = toy_windows(poisoned=tuple(range(12, 21)))
    assert int(run(toy_task(), shorter, tmp_path, **options).state.step) == 60


LOSS = Symptom("high", ("train/loss",), lambda x: x > 1.0, "high", "wait", rows=2, steps=20)
ERROR = Symptom("far", ("eval/error",), lambda x: x > 1.5, "far", "wait", rows=2, steps=20)


@dataclasses.dataclass(frozen=True)
class WatchedTask(ToyTask):
    symptoms: tuple[Symptom, ...] = (LOSS, ERROR)


def test_symptoms_are_logged_once_and_alike_after_a_resume(tmp_path, toy_windows, eval_batches):
    windows = toy_windows(poisoned=(33,))
    options = {"steps": 150, "eval_batches": eval_batches, "eval_every": 10, "checkpoint_every": 7}

    def go(workdir, *stops):
        lines = []
        for stop in stops:
            with pytest.raises(KeyboardInterrupt):
                run(WatchedTask(), Interrupting(windows, stop), workdir, show=lines.append,
                    **options)  # fmt: skip
        run(WatchedTask(), windows, workdir, show=lines.append, **options)
        return [re.sub(r"^step (\d+)/150 *", r"\1 ", x) for x in lines if "well" in x]

    whole = go(tmp_path / "a")
    rows = read_metrics(tmp_path / "a")
    for name in ("high", "far"):
        flags = "".join(str(row[f"health/{name}"]) for row in rows)
        assert re.fullmatch("0+1+0+", flags), f"{name} is to begin and end: {flags}"
        assert sum(f" unwell: {name}" in line for line in whole) == 1
        assert sum(f" well again: {name}" in line for line in whole) == 1
    stops = (18, 34, 97)
    broken = go(tmp_path / "b", *stops)
    assert [line for line in broken if not line.startswith("unwell")] == [
        line for line in whole if not line.startswith("unwell")
    ]
    assert any(line.startswith("unwell: ") for line in broken), "reminded after a resume"
    texts = [(tmp_path / name / "metrics.jsonl").read_text() for name in "ab"]
    assert texts[0] == texts[1]


@pytest.mark.slow
def test_the_command_ends_with_one_line_and_code_2(tmp_path, tiny_corpus, capsys):
    words = settings(
        tiny_corpus,
        **{"train.steps": 20, "train.max_skipped": 2, "optimizer.learning_rate": 1e38},
    )
    with quick_programs(tmp_path / "compiled"):
        code = main(
            ["train", "--config", "configs/at_a_glance.py:tiny", "--workdir", str(tmp_path / "run")]
            + words
        )
    said = capsys.readouterr()
    assert code == 2
    assert said.err.count("\n") == 1 and said.err.startswith("lipjax train: error: step ")
    assert "pixel" in said.err and "learning rate" in said.err
    assert "unwell: nonfinite" in said.out
    assert "has no checkpoint yet" in said.err and not kept(tmp_path / "run")
