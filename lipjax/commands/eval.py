# SPDX-License-Identifier: Apache-2.0
"""`lipjax eval`: trained model to table."""

import argparse
from pathlib import Path

from lipjax.commands.jax_setup import set_up_jax
from lipjax.commands.parser import count, existing, share


def add(commands) -> None:
    """Adds the command to the console command's subparsers."""
    p = commands.add_parser(
        "eval",
        help="measure a trained model on held-out clips",
        description="Generates whole clips from one picture and the sound, and prints every "
        "metric beside the rows that keep it honest: ground truth through the same path, still "
        "picture, motionless mean mouth, another sentence's mouth, a linear predictor, and the "
        "model fed the wrong sound. The workdir of an earlier stage (optical flow, perceptual "
        "network) is measured by its own errors on whole clips.",
        epilog="Example: lipjax eval --workdir runs/mine --split test",
    )
    p.add_argument("--workdir", type=existing, required=True, help="folder of the trained run")
    p.add_argument(
        "--split",
        default="test",
        choices=("train", "val", "test"),
        help="which clips: test = unseen speakers (default), val = unseen sentences",
    )
    p.add_argument("--corpus", type=existing, help="another corpus than the one trained on")
    p.add_argument(
        "--clips", type=count, metavar="N", help="at most this many, spread over the speakers"
    )
    p.add_argument("--out", type=Path, help="folder of the report (default: WORKDIR/eval/SPLIT)")
    p.add_argument(
        "--as-released",
        action="store_true",
        help="a second table, by the definitions of the authors' 2018 code beside the paper's "
        "numbers: for quoting the paper only",
    )
    p.add_argument(
        "--max-bad-fraction",
        type=share,
        default=0.05,
        metavar="SHARE",
        help="share of a split's clips that may turn out to be damaged; they are left out and "
        "counted (default: %(default)s; a few always may unless it is 0)",
    )
    p.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from lipjax.jobs import evaluate_run

    set_up_jax()
    evaluate_run(
        args.workdir,
        split=args.split,
        corpus=args.corpus,
        clips=args.clips,
        out=args.out,
        as_released=args.as_released,
        max_bad_fraction=args.max_bad_fraction,
    )
    return 0
