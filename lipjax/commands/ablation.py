# SPDX-License-Identifier: Apache-2.0
"""`lipjax ablation`: rows of the paper's Table 2, trained and measured."""

import argparse
from pathlib import Path

from lipjax.commands.jax_setup import set_up_jax
from lipjax.commands.parser import count


def add(commands) -> None:
    """Adds the command to the console command's subparsers."""
    p = commands.add_parser(
        "ablation",
        help="train and measure rows of the paper's Table 2",
        description="Trains the rows of the paper's ablation, evaluates each, and writes one "
        "table beside the paper's numbers. What is done is skipped, what stopped goes on. Any "
        "setting can be changed for all rows: --config.train.steps=5000.",
        epilog="Example: lipjax ablation --config configs/at_a_glance.py:grid_cpu --rows a,b,e,g "
        "--seeds 3 --workdir runs/ablation",
    )
    p.add_argument(
        "--config",
        required=True,
        metavar="FILE.py:VARIANT",
        help="what to train: a config file and one of its variants, without row=",
    )
    p.add_argument("--rows", required=True, metavar="a,b,...", help="rows of Table 2, a to i")
    p.add_argument("--workdir", type=Path, required=True, help="folder of all the runs")
    p.add_argument("--seeds", type=count, default=1, metavar="N", help="runs per row (default: 1)")
    p.add_argument(
        "--split",
        default="test",
        choices=("train", "val", "test"),
        help="which clips to evaluate on: test = unseen speakers (default), val = unseen sentences",
    )
    p.add_argument("--clips", type=count, metavar="N", help="evaluate on at most this many")
    p.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from lipjax import build
    from lipjax.ablation import ablation
    from lipjax.config_files import load_config
    from lipjax.training.sharding import spread_over_cores

    set_up_jax()
    config = load_config(args.config, overrides=args.overrides)
    if config.train.shards == 1 and not build.is_wide(config):
        spread_over_cores(config.data.batch_size)
    ablation(
        args.config,
        [letter for letter in args.rows.split(",") if letter],
        workdir=args.workdir,
        seeds=args.seeds,
        split=args.split,
        clips=args.clips,
        overrides=args.overrides,
    )
    return 0
