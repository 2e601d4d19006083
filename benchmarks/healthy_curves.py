# SPDX-License-Identifier: Apache-2.0
"""Curves of our own training runs, healthy and ill, for docs/health.md and its tests.

    python benchmarks/healthy_curves.py NAME=WORKDIR ... [--checkpoints NAME=FOLDER ...] \
        --out benchmarks/results/healthy_curves.json
    python benchmarks/healthy_curves.py --figures docs/figures

The first reads `metrics.jsonl` of runs; the names are those of `RUNS`. Runs logged before
`sound_effect` and `motion` were scores lack them: with --checkpoints they are measured afterwards,
on the run's own held-out windows, for every checkpoint in a folder (seconds each on one core). The
second draws, from the committed file alone.
"""

import argparse
import dataclasses
import json
import types
from pathlib import Path
from typing import Any

import healthy_figures
import jax
import numpy as np
from ml_collections import ConfigDict

from lipjax import build
from lipjax.config_files import load_config
from lipjax.training.checkpoints import load_params
from lipjax.training.logging import read_metrics

RESULT = Path(__file__).parent / "results" / "healthy_curves.json"
_GRID = (
    "lipjax ablation --config configs/at_a_glance.py:grid_cpu --rows b,c,e,g --split val "
    "--workdir runs/ablation --config.data.dirs=corpus/grid --config.train.steps=1500"
)
_SMALL = (
    "lipjax train --config configs/at_a_glance.py:tiny,row=e --recipe --workdir runs/small "
    "--config.data.dirs=runs/demo/corpus --config.train.steps=1200 --config.train.log_every=50 "
    "--config.train.eval_every=400 --config.train.checkpoint_every=200 "
    "--config.stages.flow.train.steps=150 --config.stages.perceptual.train.steps=150 "
    "--config.generator.audio_widths=(16,32,32,32,32) --config.generator.identity_widths=(8,16,32) "
    "--config.generator.residual_blocks=2 --config.generator.decoder_widths=(24,12) "
    "--config.generator.fusion_width=32 --config.generator.speech_features=64 "
    "--config.motion_share=0.5 --config.optimizer.final_fraction=0.05 "
    "--config.optimizer.warmup_steps=50 --config.optimizer.b1=0.9"
)
_JUDGED = (
    "lipjax train --config configs/at_a_glance.py:tiny,row=c --workdir runs/judged "
    "--config.data.dirs=runs/demo/corpus --config.discriminator.streams=\"('video',)\" "
    "--config.data.batch_size=2 --config.train.steps=1200 --config.train.log_every=20 "
    "--config.train.eval_every=200 --config.optimizer.learning_rate=2e-5 "
    "--config.optimizer.discriminator_learning_rate=5e-3"
)
RUNS = {
    "grid_b": ("row b on GRID: pixels", _GRID),
    "grid_c": ("row c on GRID: pixels, discriminator", _GRID),
    "grid_e": ("row e on GRID: all losses", _GRID),
    "grid_long": (
        "row b on GRID for longer",
        "lipjax train --config configs/at_a_glance.py:grid_cpu --workdir runs/grid "
        "--config.data.dirs=corpus/grid",
    ),
    "flow": ("the flow network before rows c and e", _GRID),
    "perceptual": ("the perceptual network before row e", _GRID),
    "right": ("row e on the built-in corpus", _SMALL),
    "shuffled": (
        "the same with another clip's sound",
        _SMALL.replace("runs/small", "runs/shuffled") + " --config.shuffled_sound=True",
    ),
    "saturated": ("a discriminator that learns 250 times as fast as the generator", _JUDGED),
}
"""Name -> what it is, and the command that trains it."""


def rounded(value: float | None) -> float | None:
    """A number to six digits, which is more than a figure shows."""
    return None if value is None else float(f"{value:.6g}")


def curves_of(rows: list[dict[str, Any]]) -> dict[str, dict[str, list]]:
    """Returns column -> its steps and values, without what health says of them."""
    curves: dict[str, dict[str, list]] = {}
    for row in rows:
        for name, value in row.items():
            if name != "step" and not name.startswith("health/"):
                curve = curves.setdefault(name, {"step": [], "value": []})
                curve["step"].append(row["step"])
                curve["value"].append(rounded(value))
    return curves


def plain_task(config: ConfigDict) -> Any:
    """The run's task without the networks that evaluation does not need."""
    with config.unlocked():
        for loss in ("adversarial", "perceptual", "correlation"):
            config.weights[loss] = 0.0
    return build.task_of(config, {})


def tuples(value: Any) -> Any:
    """JSON's lists as the tuples that configs hold."""
    if isinstance(value, dict):
        return {name: tuples(inner) for name, inner in value.items()}
    return tuple(map(tuples, value)) if isinstance(value, list) else value


def measured(workdir: Path, folder: Path, windows: int) -> list[dict[str, Any]]:
    """Evaluates every checkpoint in a folder by today's `eval_step`; one row each.

    Args:
        workdir: of the run, for its config.
        folder: of checkpoints, which training would have deleted.
        windows: held-out windows to take.
    """
    config = load_config("configs/at_a_glance.py:grid_cpu")  # for settings added since
    with config.unlocked():
        config.update(ConfigDict(tuples(json.loads((workdir / "config.json").read_text()))))
    task, corpora = plain_task(config), build.corpora_of(config)
    split = next(s for s in ("val", "test") if all(s in c.splits for c in corpora))
    batches = build.windows_of(config, task, corpora, split).examples(windows)

    @jax.jit
    def evaluate(ema: Any, batch: Any) -> Any:
        return task.eval_step(types.SimpleNamespace(ema=ema), batch)

    rows = []
    for checkpoint in sorted((p for p in folder.iterdir() if p.name.isdigit()), key=by_number):
        loaded = load_params(checkpoint)
        ema = {k: {"generator": loaded[k]["generator"]} for k in ("params", "stats")}
        scores: dict[str, list[float]] = {}
        for batch in batches:
            for name, values in evaluate(ema, batch).items():
                scores.setdefault(name, []).extend(np.asarray(values).tolist())
        means = {f"measured/{name}": float(np.mean(values)) for name, values in scores.items()}
        rows.append({"step": by_number(checkpoint), **means})
        print(checkpoint.name, {name: round(value, 4) for name, value in means.items()}, flush=True)
    return rows


def by_number(path: Path) -> int:
    """The step in a checkpoint's name."""
    return int(path.name)


@dataclasses.dataclass(frozen=True)
class Named:
    """What stands on both sides of NAME=PATH."""

    name: str
    path: Path

    @classmethod
    def parse(cls, word: str) -> "Named":
        """Reads one word of the command line."""
        name, _, path = word.partition("=")
        if name not in RUNS or not path:
            raise argparse.ArgumentTypeError(f"{word!r}: NAME=PATH, NAME of {', '.join(RUNS)}")
        return cls(name, Path(path))


def main() -> None:
    """Collects curves, or draws what was collected."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", type=Named.parse, metavar="NAME=WORKDIR")
    parser.add_argument("--checkpoints", nargs="*", type=Named.parse, default=[])
    parser.add_argument("--windows", type=int, default=64, help="to measure (default: 64)")
    parser.add_argument("--out", type=Path, default=RESULT, help="JSON file")
    parser.add_argument("--figures", type=Path, help="folder for the figures")
    args = parser.parse_args()
    found = json.loads(args.out.read_text()) if args.out.is_file() else {"runs": {}}
    found["what"] = __doc__.splitlines()[0]
    folders = {named.name: named.path for named in args.checkpoints}
    for named in args.runs:
        title, command = RUNS[named.name]
        rows = read_metrics(named.path)
        if named.name in folders:
            rows = rows + measured(named.path, folders[named.name], args.windows)
        curves = curves_of(rows)
        found["runs"][named.name] = {"title": title, "command": command, "curves": curves}
        print(f"{named.name}: {len(rows)} rows, {len(curves)} columns")
    if args.runs:
        found["runs"] = {name: found["runs"][name] for name in RUNS if name in found["runs"]}
        args.out.write_text(dumped(found))
    if args.figures:
        for path in healthy_figures.draw(found["runs"], args.figures):
            print(path)


def dumped(found: dict[str, Any]) -> str:
    """JSON with a line for each list of numbers."""
    text = json.dumps(found, indent=1)
    lines, inside = [], False
    for line in text.splitlines():
        word = line.strip()
        if inside:
            lines[-1] += ("" if lines[-1].endswith("[") or word.startswith("]") else " ") + word
            inside = not word.startswith("]")
        else:
            lines.append(line)
            inside = line.endswith("[")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
