# SPDX-License-Identifier: Apache-2.0
"""Whether training goes well: symptoms that come and go, and the end of a hopeless run.

What is told is a pure function of the rows of the log, so that a resumed run, which reads the
earlier rows again, tells what an unbroken one tells.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from lipjax.errors import ConfigError, TrainingError
from lipjax.tasks.contract import Task
from lipjax.tasks.symptoms import Symptom
from lipjax.training.logging import read_metrics

Row = Mapping[str, float | int | None]
PAGE = "docs/health.md"
_NONFINITE = "nonfinite/"
_CALM = 1_000  # steps without a skipped update after which it is over
_NAMED = 6


class Health:
    """Watches the rows of one run.

    Args:
        symptoms: of the task.
    """

    def __init__(self, symptoms: Sequence[Symptom] = ()):
        watches = [_Watch(symptom) for symptom in symptoms]
        self._watches: tuple[_NonFinite | _Watch, ...] = (_NonFinite(), *watches)

    @classmethod
    def of_run(cls, task: Task, workdir: Path, *, step: int) -> "Health":
        """Returns the health of a run that goes on.

        Args:
            task: whose `symptoms` are watched, if it has any.
            workdir: of the run, with its earlier rows.
            step: steps done; later rows are to be overwritten and do not count.
        """
        health = cls(getattr(task, "symptoms", ()))
        health.replay(row for row in read_metrics(workdir) if row["step"] <= step)
        return health

    def replay(self, rows: Iterable[Row]) -> None:
        """Observes earlier rows, each with its "step", and tells nothing."""
        for row in rows:
            self.observe(int(row["step"] or 0), row)

    @property
    def present(self) -> tuple[str, ...]:
        """Names of the symptoms at present."""
        return tuple(watch.name for watch in self._watches if watch.present)

    def remind(self, show: Callable[[str], None]) -> None:
        """Shows a line with the symptoms at present, if there are any."""
        if self.present:
            show(f"unwell: {', '.join(self.present)}; see {PAGE}")

    def observe(self, step: int, row: Row) -> tuple[dict[str, int], list[str]]:
        """Takes in one row of the log.

        Args:
            step: steps done.
            row: name -> number, None where it is not finite; columns that no symptom reads are
                passed over.

        Returns:
            `health/NAME` -> 0 or 1 for each symptom that the row says something about, to be
            logged with it; and lines for the console, one per symptom that begins or ends here.
        """
        flags, lines = {}, []
        for watch in self._watches:
            if not watch.speaks(row):
                continue
            before = watch.present
            watch.observe(step, row)
            flags[f"health/{watch.name}"] = int(watch.present)
            if watch.present and not before:
                lines.append(f"unwell: {watch.name}: {watch.seen}. Try: {watch.advice}. See {PAGE}")
            elif before and not watch.present:
                lines.append(f"well again: {watch.name} is over ({watch.numbers})")
        return flags, lines


@dataclasses.dataclass
class _Watch:
    """One symptom of a run: it begins and ends by the means over a whole window.

    After each change the window is filled anew, so that noise about a threshold cannot make it
    come and go with every row.
    """

    symptom: Symptom
    present: bool = False

    def __post_init__(self) -> None:
        self._rows: list[tuple[int, tuple[float, ...]]] = []  # steps that a row spans, its values
        self._means: tuple[float, ...] = ()
        self._last = 0

    @property
    def name(self) -> str:
        return self.symptom.name

    @property
    def seen(self) -> str:
        return f"{self.symptom.seen} ({self.numbers})"

    @property
    def advice(self) -> str:
        return self.symptom.advice

    @property
    def numbers(self) -> str:
        pairs = zip(self.symptom.reads, self._means, strict=True)
        return ", ".join(f"{name.partition('/')[2]} {mean:.3g}" for name, mean in pairs)

    def speaks(self, row: Row) -> bool:
        return all(name in row for name in self.symptom.reads)

    def observe(self, step: int, row: Row) -> None:
        span, self._last = step - self._last, step
        values = tuple(_number(row[name]) for name in self.symptom.reads)
        if not all(map(math.isfinite, values)):
            return
        self._rows.append((span, values))
        while self._is_long(self._rows[1:]):
            self._rows.pop(0)
        if not self._is_long(self._rows):
            return
        columns = zip(*(values for _, values in self._rows), strict=True)
        self._means = tuple(math.fsum(column) / len(self._rows) for column in columns)
        if bool(self.symptom.sick(*self._means)) != self.present:
            self.present = not self.present
            self._rows = []

    def _is_long(self, rows: list[tuple[int, tuple[float, ...]]]) -> bool:
        enough = sum(span for span, _ in rows) >= self.symptom.steps
        return enough and len(rows) >= self.symptom.rows


class _NonFinite:
    """Losses or gradients that are NaN or infinite: begins at once, ends after a calm while."""

    name = "nonfinite"
    advice = "a lower learning rate, optimizer.clip_norm=1, float32, or a look at the data"

    def __init__(self) -> None:
        self.present, self.numbers, self._last, self._terms = False, "", 0, ""

    @property
    def seen(self) -> str:
        return f"NaN or infinite, so that the update was skipped: {self._terms}"

    def speaks(self, row: Row) -> bool:
        return "skipped" in row

    def observe(self, step: int, row: Row) -> None:
        bad = {name: count for name, count in row.items() if name.startswith(_NONFINITE)}
        if bad:
            self.present, self._last = True, step
            self._terms = named(
                [f"{n.removeprefix(_NONFINITE)} ({count} steps)" for n, count in bad.items()]
            )
        elif step - self._last >= _CALM:
            self.present = False
        self.numbers = f"{row['skipped']} updates skipped so far, none for {step - self._last}"


def check_patience(max_skipped: int) -> None:
    """Refuses a limit of skipped updates in a row that would end every run, or be none.

    Raises:
        ConfigError: it is not positive.
    """
    if max_skipped < 1:
        raise ConfigError(
            f"train.max_skipped {max_skipped}: how many updates in a row may be skipped; at least 1"
        )


def given_up(
    row: Row, streak: int, *, step: int, kept: Sequence[int], workdir: Path
) -> TrainingError:
    """Returns the error that ends a run whose updates are all skipped.

    Args:
        row: of the log, with the terms that were not finite.
        streak: updates skipped in a row up to here.
        step: steps done.
        kept: steps of the checkpoints, in order.
        workdir: of the run.
    """
    terms = [name.removeprefix(_NONFINITE) for name in row if name.startswith(_NONFINITE)]
    left = f"{workdir} has no checkpoint yet"
    if kept:
        left = (
            f"the checkpoint of step {kept[-1]} in {workdir} is whole, and the same command goes "
            "on from it"
        )
    if kept[:-1]:
        # The update before the first bad step may be what made the numbers overflow.
        left += f"; if that fails at once, start a new workdir --from that of step {kept[-2]}"
    return TrainingError(
        f"step {step}: the last {streak} updates (since step {step - streak + 1}) were all "
        f"skipped, because these were NaN or infinite: {named(terms)}; {left}. Try "
        f"{_NonFinite.advice}; train.max_skipped is how many in a row are borne. See {PAGE}"
    )


def named(terms: Sequence[str]) -> str:
    """Returns terms in one line, the rest counted."""
    more = f" and {len(terms) - _NAMED} more" if len(terms) > _NAMED else ""
    return ", ".join(terms[:_NAMED]) + more


def _number(value: float | int | None) -> float:
    return math.nan if value is None else float(value)
