# SPDX-License-Identifier: Apache-2.0
"""Does the full model learn from the sound? Row (e) with right against shuffled sound.

    python benchmarks/right_sound.py --workdir runs/right_sound --seeds 3

On the built-in corpus, at small widths; evaluated on speakers that no training has seen. The two
kinds of run differ in nothing but `shuffled_sound`: there every video is trained with another
clip's sound. Two cores, two hours; what is done is not done again. Writes
benchmarks/results/right_sound.json, the table in docs/ablation.md.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from lipjax import build
from lipjax.config_files import load_config
from lipjax.data.babble import make_babble
from lipjax.data.prepare import PrepareSettings, prepare
from lipjax.train import train_stage
from lipjax.training.logging import read_metrics

STEPS = 1200
SETTINGS = {
    # The generator of the demo; judge, flow and perceptual network of the smallest size.
    "generator.audio_widths": (16, 32, 32, 32, 32),
    "generator.identity_widths": (8, 16, 32),
    "generator.residual_blocks": 2,
    "generator.decoder_widths": (24, 12),
    "generator.fusion_width": 32,
    "generator.speech_features": 64,
    "motion_share": 0.5,
    "optimizer.final_fraction": 0.05,
    "optimizer.warmup_steps": 50,
    "optimizer.b1": 0.9,
    "train.steps": STEPS,
    "train.log_every": 50,
    "train.eval_every": 400,
    "train.checkpoint_every": 200,
    "train.preview_every": STEPS,
}
SHORT = {"steps": 150, "eval_every": 75}
KINDS = {"right": False, "shuffled": True}
RESULT = Path(__file__).parent / "results" / "right_sound.json"


def overrides(workdir: Path) -> list[str]:
    """The settings that all runs share, as words of the command line."""
    words = [f"--config.{name}={value}" for name, value in SETTINGS.items()]
    words += [
        f"--config.given.{name}={workdir / 'stages' / name}" for name in ("flow", "perceptual")
    ]
    return [*words, f"--config.data.dirs={workdir / 'corpus'}"]


def prepared(workdir: Path, *, speakers: int, sentences: int) -> None:
    """Makes the corpus, two of its speakers unseen, and trains the two earlier stages."""
    if not (workdir / "corpus" / "corpus.json").is_file():
        make_babble(
            workdir / "videos", speakers=speakers, sentences_per_speaker=sentences, processes=2
        )
        people = sorted(path.name for path in (workdir / "videos").iterdir() if path.is_dir())
        settings = PrepareSettings(test_speakers=tuple(people[-2:]))
        prepare(workdir / "videos", workdir / "corpus", settings=settings)
    config = load_config("at_a_glance.py:tiny,row=e", overrides=overrides(workdir))
    for name in ("flow", "perceptual"):
        stage = build.stage_of(config, name)
        stage.train.update(SHORT)
        train_stage(stage, workdir / "stages" / name, title=name)


def trained(workdir: Path, seeds: int) -> None:
    """Trains and evaluates both kinds side by side, each in a process with one device."""
    flags = os.environ.get("XLA_FLAGS", "").split()
    flags = [flag for flag in flags if "device_count" not in flag]
    flags.append("--xla_force_host_platform_device_count=1")
    processes = {}
    for kind, shuffled in KINDS.items():
        words = ["ablation", "--config", "configs/at_a_glance.py:tiny", "--rows", "e"]
        words += ["--seeds", str(seeds), "--workdir", str(workdir / kind)]
        words += [*overrides(workdir), f"--config.shuffled_sound={shuffled}"]
        processes[kind] = subprocess.Popen(
            [sys.executable, "-m", "lipjax.cli", *words],
            env={**os.environ, "XLA_FLAGS": " ".join(flags)},
        )
    codes = {kind: process.wait() for kind, process in processes.items()}
    if any(codes.values()):
        raise SystemExit(f"training ended with {codes}")


def measured(workdir: Path, seeds: int) -> dict[str, list[dict]]:
    """Kind -> per seed: means with 95 % intervals over clips, and the terms of the log."""
    found: dict[str, list[dict]] = {kind: [] for kind in KINDS}
    for kind, seed in ((kind, seed) for kind in KINDS for seed in range(seeds)):
        run = workdir / kind / "e" / str(seed)
        file = run / "eval" / "test" / "evaluation.json"
        evaluation = json.loads(file.read_text(encoding="utf-8"))
        table = evaluation["table"]
        rows = [row for row in read_metrics(run) if "train/pixel" in row]
        found[kind].append(
            {
                "seed": seed,
                "clips": evaluation["facts"]["clips"],
                "lmd": _interval(table["model"]["lmd"]),
                "r": _interval(table["model"]["r"]),
                "psnr": _interval(table["model"]["psnr"]),
                "lmd_mean_mouth": _interval(table["motionless mean mouth"]["lmd"]),
                "lmd_linear": _interval(table["linear predictor"]["lmd"]),
                "opening_deviation": evaluation["opening"]["model, deviation"]["mean"],
                "opening_deviation_truth": evaluation["opening"]["ground truth, deviation"]["mean"],
                "first_terms": {n: v for n, v in rows[0].items() if n.startswith("train/")},
                "last_terms": {n: v for n, v in rows[-1].items() if n.startswith("train/")},
            }
        )
    return found


def _interval(cell: dict) -> dict[str, float]:
    """The mean over all frames of all clips, and its 95 % interval."""
    return {name: cell["all"][name] for name in ("mean", "low", "high")}


def main() -> None:
    """Runs all of it and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    workdir = args.workdir.resolve()
    prepared(workdir, speakers=14, sentences=10)
    trained(workdir, args.seeds)
    result = {
        "command": "python benchmarks/right_sound.py --workdir runs/right_sound "
        f"--seeds {args.seeds}",
        "date": time.strftime("%Y-%m-%d"),
        "steps": STEPS,
        "settings": {name: str(value) for name, value in SETTINGS.items()},
        **measured(workdir, args.seeds),
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for kind in KINDS:
        for run in result[kind]:
            told = ", ".join(
                "{name} {mean:.3f} ({low:.3f} to {high:.3f})".format(name=name, **run[name])
                for name in ("lmd", "r")
            )
            print(f"{kind} sound, seed {run['seed']}: {told}")


if __name__ == "__main__":
    main()
