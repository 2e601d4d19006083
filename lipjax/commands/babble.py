# SPDX-License-Identifier: Apache-2.0
"""`lipjax babble`: nothing to videos."""

import argparse
import os
from pathlib import Path

from lipjax.commands.parser import count


def add(commands) -> None:
    """Adds the command to the console command's subparsers."""
    p = commands.add_parser(
        "babble",
        help="make the built-in corpus: rendered faces, synthesised speech",
        description="Writes ordinary mp4 videos of rendered talking faces, with landmark files "
        "beside them, from a seed; prepare runs on the folder like on any other.",
        epilog="Example: lipjax babble videos",
    )
    p.add_argument("out", type=Path, metavar="OUT", help="folder to fill with videos")
    for name, what in (("--speakers", "people"), ("--sentences", "sentences that each says")):
        p.add_argument(
            name, type=count, default=12, metavar="N", help=f"{what} (default: %(default)s)"
        )
    p.add_argument(
        "--seed", type=int, default=0, help="another number makes other people and sentences"
    )
    p.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from lipjax.data.babble import make_babble

    make_babble(
        args.out,
        speakers=args.speakers,
        sentences_per_speaker=args.sentences,
        seed=args.seed,
        processes=os.cpu_count() or 1,
        progress=lambda done, total: print(f"drew {done} of {total} videos", flush=True),
    )
    print(f"next: lipjax prepare {args.out} --out CORPUS")
    return 0
