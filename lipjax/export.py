# SPDX-License-Identifier: Apache-2.0
"""A trained run as a small folder to give to others: description, weights and a model card."""

import json
import os
from pathlib import Path
from typing import Any

from lipjax import build
from lipjax.errors import ConfigError
from lipjax.jobs import load_speaker
from lipjax.training.logging import write_whole
from lipjax.training.weights import WEIGHTS, save_weights

CARD = "MODEL_CARD.md"


def export(workdir: str | os.PathLike, out: str | os.PathLike) -> Path:
    """Writes what others need of a trained run: no optimiser, no discriminators, no paths.

    Args:
        workdir: folder of a training run whose model talks.
        out: folder to make.

    Returns:
        The folder, which `load`, `lipjax generate`, `eval` and `figure` take like a workdir: the
        averaged generator of the best checkpoint, its description, and a model card with what
        the run knows of itself. What only its maker knows is marked "write here".

    Raises:
        ConfigError: there is no trained model that talks, or the folder is not empty.
        WorkdirError: the folder cannot be written.
    """
    workdir, out = Path(workdir), Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} is there already; choose another --out")
    _, variables = load_speaker(workdir)
    description = build.load_description(workdir)
    # Where the corpora lay is nobody's business, and would not be there.
    description["corpora"] = [Path(corpus).name for corpus in description["corpora"]]
    out.mkdir(parents=True, exist_ok=True)
    save_weights(
        out,
        {
            "params": {"generator": variables["params"]},
            "stats": {"generator": variables["batch_stats"]},
        },
    )
    build.save_description(out, description)
    write_whole(out / CARD, _card(workdir, out, description))
    return out


def _card(workdir: Path, out: Path, description: dict[str, Any]) -> str:
    size = (out / WEIGHTS).stat().st_size
    steps = _read_json(workdir / "progress.json").get("best_step", "an unknown number of")
    lines = [
        f"# Model card: {out.name}",
        "",
        f"A generator of the family `{description['family']}` for lipjax: speech and one picture "
        f"of a mouth in, {description['mouth_size']} x {description['mouth_size']} pixels at "
        f"{description['fps']:g} frames a second out. {size / 1e6:.1f} MB.",
        "",
        "**What it makes is synthetic. Say so wherever you show it, and make it only of people "
        "who agreed.**",
        "",
        "## Data and terms",
        "",
        f"Trained on: {', '.join(description['corpora'])}. Write here whose data that is, under "
        "which terms, and what to cite: a trained network carries its data's terms.",
        "",
        "## How it was trained",
        "",
        f"{steps} steps. Write here the exact command, and the versions of Python and JAX.",
        "",
        "## Measured quality",
        "",
        *_quality(workdir),
        "## Limits",
        "",
        "Write here where it fails.",
    ]
    return "\n".join(lines) + "\n"


def _quality(workdir: Path) -> list[str]:
    """Rows of each evaluation that the run holds."""
    lines = []
    for path in sorted(workdir.glob("eval/*/evaluation.json")):
        found = _read_json(path)
        try:
            facts, table = found["facts"], found["table"]
            columns = list(next(iter(table.values())))
            lines += [
                f"`lipjax eval` on {facts['split']} of {facts['corpus']}: {facts['clips']} clips "
                f"of {', '.join(map(str, facts['speakers']))}",
                "",
                f"| | {' | '.join(columns)} |",
                f"|---|{'---|' * len(columns)}",
            ]
            for row, cells in table.items():
                means = [cells[column]["all"]["mean"] for column in columns]
                told = ["" if mean is None else f"{mean:.3g}" for mean in means]
                lines.append(f"| {row} | {' | '.join(told)} |")
            lines.append("")
        except (KeyError, TypeError, ValueError, StopIteration) as error:
            raise ConfigError(f"{path} is damaged ({error!r}); run lipjax eval again") from error
    return lines or ["Not measured: run `lipjax eval`, then export again.", ""]


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is damaged: {error}") from error
    return found if isinstance(found, dict) else {}
