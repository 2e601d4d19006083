# SPDX-License-Identifier: Apache-2.0
"""`lipjax train`: corpus to trained model."""

import argparse
from pathlib import Path

from lipjax.commands.parser import existing


def add(commands) -> None:
    """Adds the command to the console command's subparsers."""
    p = commands.add_parser(
        "train",
        help="train a model on a corpus",
        description="Trains what a config describes and keeps checkpoints, curves and previews "
        "in the workdir. The same command again resumes. Any setting of the config can be "
        "changed: --config.data.dirs=corpus/mine --config.train.steps=5000.",
        epilog="Example: lipjax train --config configs/at_a_glance.py:grid_cpu "
        "--config.data.dirs=corpus/mine --workdir runs/mine",
    )
    p.add_argument(
        "--config",
        required=True,
        metavar="FILE.py:VARIANT",
        help="what to train: a config file and, behind a colon, one of its variants",
    )
    p.add_argument("--workdir", type=Path, required=True, help="folder of this run")
    p.add_argument(
        "--from",
        dest="start",
        type=existing,
        metavar="CHECKPOINT",
        help="start from the parameters of another run's workdir (fine-tuning)",
    )
    p.add_argument(
        "--recipe",
        action="store_true",
        help="train first, in order, the stages that the losses need (optical flow, perceptual "
        "network), in WORKDIR/stages; what is done is skipped",
    )
    p.add_argument(
        "--stage",
        metavar="NAME",
        help="train one of the config's earlier stages alone, in WORKDIR: flow or perceptual",
    )
    p.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from lipjax import build
    from lipjax.config_files import load_config
    from lipjax.errors import ConfigError
    from lipjax.train import train, train_recipe
    from lipjax.training.sharding import spread_over_cores

    if args.recipe and args.stage:
        raise ConfigError("--recipe trains all stages, --stage one of them; choose")
    config = load_config(args.config, args.overrides)
    if args.stage:
        config = build.stage_of(config, args.stage)
    if config.train.shards == 1:
        spread_over_cores(config.data.batch_size)
    (train_recipe if args.recipe else train)(config, args.workdir, start=args.start)
    return 0
