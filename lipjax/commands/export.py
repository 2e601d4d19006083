# SPDX-License-Identifier: Apache-2.0
"""`lipjax export`: a trained run as a small folder to give to others."""

import argparse
from pathlib import Path

from lipjax.commands.parser import existing


def add(commands) -> None:
    """Adds the command to the console command's subparsers."""
    p = commands.add_parser(
        "export",
        help="make a small folder of a trained run, to give to others",
        description="Writes the generator of a trained run, its description and a model card to "
        "complete, without optimiser, discriminators and paths. The folder is taken wherever a "
        "workdir is.",
        epilog="Example: lipjax export --workdir runs/mine --out my_model",
    )
    p.add_argument("--workdir", type=existing, required=True, help="folder of the trained run")
    p.add_argument("--out", type=Path, required=True, help="folder to make")
    p.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from lipjax.export import CARD, export

    out = export(args.workdir, args.out)
    size = sum(file.stat().st_size for file in out.iterdir())
    print(f"{out}: {size / 1e6:.1f} MB; complete {out / CARD}")
    return 0
