# SPDX-License-Identifier: Apache-2.0
"""`lipjax score`: two folders of videos to table."""

import argparse
from pathlib import Path

from lipjax.commands.parser import existing


def add(commands) -> None:
    """Adds the command to the console command's subparsers."""
    p = commands.add_parser(
        "score",
        help="score any system's videos against the real ones",
        description="Pairs the videos of two folders by name and prints the same table as eval.",
        epilog="Example: lipjax score generated/ real/",
    )
    p.add_argument(
        "generated", type=existing, metavar="GENERATED", help="folder with a system's videos"
    )
    p.add_argument(
        "real", type=existing, metavar="REAL", help="folder with the real ones, of the same names"
    )
    p.add_argument("--out", type=Path, help="folder of the report (default: GENERATED/score)")
    p.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from lipjax.score import score_folders

    score_folders(args.generated, args.real, out=args.out)
    return 0
