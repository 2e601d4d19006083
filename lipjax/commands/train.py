# SPDX-License-Identifier: Apache-2.0
"""`lipjax train`: corpus to trained model."""

import argparse
from pathlib import Path

from lipjax.commands import dry_run
from lipjax.commands.jax_setup import set_up_jax
from lipjax.commands.parser import count, existing


def add(commands) -> None:
    """Adds the command to the console command's subparsers."""
    p = commands.add_parser(
        "train",
        help="train a model on a corpus",
        description="Trains what a config describes and keeps checkpoints, curves and previews "
        "in the workdir. The same command again resumes. Any setting of the config can be "
        "changed: --config.data.dirs=corpus/mine --config.train.steps=5000. Ctrl-C and SIGTERM "
        "(preemption) save the state after the step and end. Exit codes: 0 all steps are done; 2 "
        "it cannot go on, one line says why; 130 stopped by Ctrl-C; 143 stopped by SIGTERM. After "
        "130 and 143 the same command goes on with the next step.",
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
    many = p.add_argument_group(
        "several processes",
        "One run of many hosts, or of many processes on one: start the same command in each. "
        "All must see the same --workdir.",
    )
    many.add_argument(
        "--distributed",
        action="store_true",
        help="join the others that Slurm, Open MPI or Cloud TPU have started",
    )
    many.add_argument("--coordinator", metavar="HOST:PORT", help="where process 0 listens")
    many.add_argument("--processes", type=count, metavar="N", help="how many there are")
    many.add_argument("--process", type=int, metavar="I", help="number of this one, from 0")
    dry_run.add(p)
    p.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from lipjax import build
    from lipjax.config_files import load_config
    from lipjax.errors import ConfigError
    from lipjax.train import train, train_recipe
    from lipjax.training.processes import end_if_one_of_several, join
    from lipjax.training.sharding import spread_over_cores

    if args.recipe and args.stage:
        raise ConfigError("--recipe trains all stages, --stage one of them; choose")
    dry_run.check(args)
    config = load_config(args.config, overrides=args.overrides)
    if args.stage:
        config = build.stage_of(config, args.stage)
    if dry_run.elsewhere(args):
        return dry_run.run(args, config)
    set_up_jax()
    named = (args.coordinator, args.processes, args.process)
    if args.distributed or any(value is not None for value in named):
        join(coordinator=args.coordinator, processes=args.processes, process=args.process)
    elif config.train.shards == 1 and not build.is_wide(config):
        spread_over_cores(config.data.batch_size)
    if args.dry_run:
        return dry_run.run(args, config)
    try:
        (train_recipe if args.recipe else train)(config, args.workdir, start=args.start)
    except Exception as error:
        end_if_one_of_several(error)
        raise
    return 0
