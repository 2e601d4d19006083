# SPDX-License-Identifier: Apache-2.0
"""Symptoms on made-up curves: which begin and end, when, and what is told of them."""

import dataclasses
import math

import numpy as np
import pytest
from toy_training import ToyTask

from lipjax.errors import ConfigError
from lipjax.tasks import symptoms
from lipjax.tasks.symptoms import Symptom, told_apart
from lipjax.training.health import Health, check_patience, given_up
from lipjax.training.logging import MetricWriter

ALL = tuple(value for value in vars(symptoms).values() if isinstance(value, Symptom))
LN2 = math.log(2.0)


def run(health, curves, *, every=50, start=0, stop=3000, noise=0.0, seed=0):
    """Feeds constant curves, perhaps noisy; returns rows with their flags, and all lines."""
    rng = np.random.default_rng(seed)
    rows, lines = [], []
    for step in range(start + every, stop + 1, every):
        row = {n: v + noise * rng.normal() if noise else v for n, v in curves.items()}
        flags, told = health.observe(step, row)
        rows.append({"step": step, **row, **flags})
        lines += [(step, line) for line in told]
    return rows, lines


# Columns -> values of a healthy run, and those that make each symptom, near its threshold and not.
CASES = {
    "discriminator_saturated": [
        (dict(d_real=0.5, d_fake=0.7, adversarial=0.7), "well"),
        (dict(d_real=0.04, d_fake=0.7, adversarial=0.7), "well"),  # fooled: no saturation
        (dict(d_real=0.7, d_fake=0.04, adversarial=3.2), "well"),
        (dict(d_real=0.1, d_fake=0.1, adversarial=2.4), "well"),  # it wins, as it often does
        (dict(d_real=0.01, d_fake=0.01, adversarial=4.6), "sick"),
        (dict(d_real=0.46, d_fake=0.0015, adversarial=6.5), "sick"),  # and deaf
    ],
    "discriminator_blind": [
        (dict(d_real=0.55, d_fake=0.75, d_mismatched=0.47), "well"),
        (dict(d_real=0.7, d_fake=0.7, d_mismatched=0.4), "well"),  # fakes as good as real ones
        (dict(d_real=0.6, d_fake=0.5, d_mismatched=0.8), "well"),  # deaf, but it can see
        (dict(d_real=LN2, d_fake=LN2 + 1e-4, d_mismatched=LN2 + 1e-4), "sick"),
        (dict(d_real=math.log(1.75), d_fake=0.86, d_mismatched=0.86), "sick"),  # always 1 / 1.75
    ],
    "discriminator_deaf": [
        (dict(d_real=0.55, d_mismatched=0.47), "well"),
        (dict(d_real=0.6, d_mismatched=0.75), "well"),
        (dict(d_real=0.6, d_mismatched=0.85), "sick"),
        (dict(d_real=0.02, d_mismatched=5.0), "sick"),  # "real", whatever the sound
    ],
    "correlation_stuck": [
        (dict(r_real=0.77, r_real_wrong_sound=0.03), "well"),
        (dict(r_real=0.15, r_real_wrong_sound=0.0), "well"),
        (dict(r_real=0.955, r_real_wrong_sound=0.945), "sick"),  # the published form, trained
        (dict(r_real=0.01, r_real_wrong_sound=0.01), "sick"),
    ],
    "sound_ignored": [
        (dict(sound_effect=0.038, motion=0.034), "well"),
        (dict(sound_effect=0.01, motion=0.034), "well"),
        (dict(sound_effect=0.001, motion=0.038), "sick"),
        (dict(sound_effect=0.0, motion=0.038), "sick"),
    ],
    "sound_useless": [
        (dict(l1=0.043, l1_wrong_sound=0.059, sound_effect=0.038, motion=0.034), "well"),
        (dict(l1=0.0603, l1_wrong_sound=0.0626, sound_effect=0.0141, motion=0.0385), "well"),
        (dict(l1=0.06, l1_wrong_sound=0.06, sound_effect=0.0062, motion=0.0385), "sick"),
        (dict(l1=0.062, l1_wrong_sound=0.06, sound_effect=0.02, motion=0.0385), "sick"),
        (dict(l1=0.06, l1_wrong_sound=0.06, sound_effect=0.001, motion=0.0385), "well"),  # ignored
    ],
    "worse_than_still": [
        (dict(l1=0.046, l1_still_picture=0.0625), "well"),
        (dict(l1=0.064, l1_still_picture=0.0625), "well"),
        (dict(l1=0.07, l1_still_picture=0.0625), "sick"),
    ],
    "no_flow": [
        (dict(endpoint_error=0.14, endpoint_error_no_motion=0.45), "well"),
        (dict(endpoint_error=0.46, endpoint_error_no_motion=0.45), "sick"),
    ],
    "no_picture": [
        (dict(squared_error=0.003, squared_error_mean_colour=0.026), "well"),
        (dict(squared_error=0.03, squared_error_mean_colour=0.026), "sick"),
    ],
}


def columns(symptom, values):
    assert len(values) >= len(symptom.reads) - 1
    return {name: values.get(name.partition("/")[2], 1.0) for name in symptom.reads}


def test_every_symptom_has_its_cases():
    assert {symptom.name for symptom in ALL} == set(CASES)
    assert len({symptom.name for symptom in ALL}) == len(ALL)


@pytest.mark.parametrize(
    ("name", "values", "state"),
    [(name, values, state) for name, cases in CASES.items() for values, state in cases],
)
def test_a_symptom_tells_sick_curves_from_healthy_ones(name, values, state):
    symptom = next(s for s in ALL if s.name == name)
    health = Health([symptom])
    rows, lines = run(health, columns(symptom, values), stop=2 * symptom.steps)
    flags = {row["step"]: row[f"health/{name}"] for row in rows}
    if state == "well":
        assert not lines and set(flags.values()) == {0}
        return
    # It begins when its time is full, not before, and once.
    assert [step for step, _ in lines] == [symptom.steps]
    assert flags == {step: int(step >= symptom.steps) for step in flags}
    assert health.present == (name,)
    text = lines[0][1]
    assert text.startswith(f"unwell: {name}: {symptom.seen} (") and symptom.advice in text
    for column in symptom.reads:
        assert f"{column.partition('/')[2]} {columns(symptom, values)[column]:.3g}" in text


LEVEL = Symptom("high", ("train/x",), lambda x: x > 1.0, "x is high", "lower it", rows=3, steps=200)


def test_it_ends_once_when_a_whole_window_is_well():
    health = Health([LEVEL])
    run(health, {"train/x": 2.0}, stop=1000)
    rows, lines = run(health, {"train/x": 0.5}, start=1000, stop=2000)
    # The mean over 1050 to 1200 and before is high for a while yet.
    assert lines == [(1150, "well again: high is over (x 0.875)")]
    assert [row["health/high"] for row in rows[:4]] == [1, 1, 0, 0]
    assert health.present == ()


def test_noise_about_the_threshold_changes_it_at_most_once_a_window():
    health = Health([LEVEL])
    _, lines = run(health, {"train/x": 1.0}, every=10, stop=20_000, noise=0.5)
    steps = [step for step, _ in lines]
    assert len(steps) > 10, "a mean that is at the threshold crosses it"
    assert min(np.diff(steps)) >= 200


def test_a_window_is_rows_and_steps_whichever_is_longer():
    for every, begins in ((10, 200), (50, 200), (100, 300), (1000, 3000)):
        _, lines = run(Health([LEVEL]), {"train/x": 2.0}, every=every, stop=5000)
        assert [step for step, _ in lines] == [begins]


def test_rows_without_its_columns_say_nothing_and_do_not_count():
    health = Health([LEVEL])
    assert health.observe(50, {"eval/y": 1.0}) == ({}, [])
    for step in range(100, 2000, 50):  # never a number
        flags, lines = health.observe(step, {"train/x": None})
        assert flags == {"health/high": 0} and not lines
    flags, _ = health.observe(2000, {"train/x": math.nan})
    assert flags == {"health/high": 0}
    _, lines = run(health, {"train/x": 2.0}, start=2000, stop=3000)
    assert [step for step, _ in lines] == [2200]


def test_told_apart_is_at_most_one_for_whoever_cannot():
    rng = np.random.default_rng(0)
    real = lambda x: np.logaddexp(0.0, -x).mean()  # noqa: E731
    fake = lambda x: np.logaddexp(0.0, x).mean()  # noqa: E731
    for scale in (0.0, 0.1, 1.0, 5.0):
        for shift in (-3.0, 0.0, 2.0):
            logits = shift + scale * rng.normal(size=20_000)
            assert told_apart(real(logits), fake(logits)) <= 1.0 + 1e-9  # the same clips
            assert told_apart(real(logits + 2.0), fake(logits)) > told_apart(
                real(logits), fake(logits)
            )
    assert told_apart(real(np.ones(9)), fake(-np.ones(9))) > 1.4


def test_non_finite_terms_begin_at_once_and_end_after_a_calm_while():
    health = Health()
    good = {"train/loss": 1.0, "skipped": 0}
    assert health.observe(50, good) == ({"health/nonfinite": 0}, [])
    bad = {"train/loss": None, "skipped": 7, "nonfinite/loss": 7, "nonfinite/grad": 2}
    flags, lines = health.observe(100, bad)
    assert flags == {"health/nonfinite": 1}
    assert len(lines) == 1 and "loss (7 steps), grad (2 steps)" in lines[0]
    assert health.observe(150, bad)[1] == []  # told once
    assert health.observe(200, {"eval/l1": 1.0}) == ({}, [])
    rows, lines = run(health, {**good, "skipped": 14}, start=200, stop=2000)
    assert [row["step"] for row in rows if row["health/nonfinite"]] == list(range(250, 1150, 50))
    assert [step for step, _ in lines] == [1150] and "14 updates" in lines[0][1]


def test_a_resumed_health_goes_on_as_the_unbroken_one(tmp_path):
    rng = np.random.default_rng(1)
    task = ToyTask()

    class Watched(ToyTask):
        symptoms = (LEVEL, dataclasses.replace(LEVEL, name="evaluated", reads=("eval/x",)))

    def row(step):
        made = {"train/x": float(1 + 0.5 * np.sin(step / 300) + 0.2 * rng.normal()), "skipped": 0}
        made |= {"nonfinite/x": 1} if step == 700 else {}
        return made | ({"eval/x": float(made["train/x"])} if step % 100 == 0 else {})

    rows = {step: row(step) for step in range(50, 6001, 50)}
    whole = Health(Watched.symptoms)
    writer = MetricWriter(tmp_path)
    told = {}
    for step, values in rows.items():
        told[step] = whole.observe(step, values)
        writer.row(step, values | told[step][0])
    writer.close()
    assert sum(len(lines) for _, lines in told.values()) > 6
    for stop in (50, 650, 700, 3050, 5950):
        resumed = Health.of_run(Watched(), tmp_path, step=stop)
        for step in range(stop + 50, 6001, 50):
            assert resumed.observe(step, rows[step]) == told[step]
    # A task that names no symptoms, and a run that has not begun.
    assert Health.of_run(task, tmp_path / "new", step=0).observe(1, {"train/x": 9.0}) == ({}, [])


def test_reminders_name_what_is_there():
    lines = []
    health = Health([LEVEL])
    health.remind(lines.append)
    assert not lines
    run(health, {"train/x": 2.0})
    health.remind(lines.append)
    assert lines == ["unwell: high; see docs/health.md"]


def test_the_last_word_names_terms_step_checkpoint_and_way_out(tmp_path):
    row = {"train/loss": None, **{f"nonfinite/t{i}": 3 for i in range(9)}}
    error = str(given_up(row, 50, step=120, kept=[40, 60], workdir=tmp_path))
    for part in (
        "step 120",
        "last 50",
        "step 71",
        "t0, t1",
        "and 3 more",
        "step 60",
        "--from that of step 40",
        "Try",
    ):
        assert part in error
    error = str(given_up(row, 9, step=9, kept=[], workdir=tmp_path))
    assert f"{tmp_path} has no checkpoint yet" in error
    with pytest.raises(ConfigError, match="train.max_skipped 0"):
        check_patience(0)
