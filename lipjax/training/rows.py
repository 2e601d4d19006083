# SPDX-License-Identifier: Apache-2.0
"""From the terms of single steps to a row of the log."""

import math
from collections.abc import Mapping, Sequence
from typing import Any


def summary(metrics: Sequence[Mapping[str, Any]], *, skipped: int) -> dict[str, float | int | None]:
    """Returns means over the finite steps, and names and counts the terms that were not finite."""
    row: dict[str, float | int | None] = {}
    bad: dict[str, float | int | None] = {}
    for name in metrics[0]:
        # The missing value of a resumed row stands for a number that JSON cannot hold.
        values = [float("nan") if m.get(name) is None else float(m[name]) for m in metrics]
        finite = [value for value in values if math.isfinite(value)]
        row[f"train/{name}"] = math.fsum(finite) / len(finite) if finite else None
        if len(finite) < len(values):
            bad[f"nonfinite/{name}"] = len(values) - len(finite)
    return row | {"skipped": skipped} | bad


def shown_terms(row: Mapping[str, float | int | None]) -> dict[str, float | int | None]:
    """What of a row the console shows: the terms, and what is wrong if anything is."""
    shown = {n.removeprefix("train/"): v for n, v in row.items() if n.startswith("train/")}
    if row.get("skipped"):
        shown["skipped"] = row["skipped"]
    return shown | {n: v for n, v in row.items() if n.startswith("nonfinite/")}


def plain(metrics: Sequence[Mapping[str, Any]]) -> list[dict[str, float | int | None]]:
    """Returns the numbers as JSON holds them; a float32 survives this exactly."""
    finite = lambda value: value is not None and math.isfinite(value)  # noqa: E731
    return [{n: float(v) if finite(v) else None for n, v in m.items()} for m in metrics]
