# SPDX-License-Identifier: Apache-2.0
"""`lipjax analyse`: a corpus to findings about its data."""

import argparse
from pathlib import Path

from lipjax.commands.parser import count, existing


def add(commands) -> None:
    """Adds the command to the console command's subparsers."""
    p = commands.add_parser(
        "analyse",
        help="ask what a corpus itself shows of the paper's claims",
        description="correlation: does the change of the sound go together with the motion of the "
        "lips, and at which offset? As the paper has it, and by whole clips without leaving any "
        "out, each beside shuffled pairs. Writes OUT/correlation.json and OUT/correlation.png.",
        epilog="Example: lipjax analyse correlation corpus/grid",
    )
    p.add_argument(
        "analysis",
        choices=("correlation",),
        metavar="ANALYSIS",
        help="which: correlation (the paper's Fig. 4)",
    )
    p.add_argument("corpus", type=existing, metavar="CORPUS", help="folder of a prepared corpus")
    p.add_argument("--split", default="all", help="which clips (default: %(default)s)")
    p.add_argument("--out", type=Path, help="folder of the results (default: runs/ANALYSIS-CORPUS)")
    p.add_argument(
        "--shufflings",
        type=count,
        default=1000,
        metavar="N",
        help="random pairs of sound and motion behind bands and p (default: %(default)s)",
    )
    p.add_argument("--seed", type=int, default=0, help="of the shufflings (default: %(default)s)")
    p.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from lipjax.analysis.job import analyse_correlation

    analyse_correlation(
        args.corpus,
        split=args.split,
        out=args.out,
        shufflings=args.shufflings,
        seed=args.seed,
    )
    return 0
