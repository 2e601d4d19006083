# SPDX-License-Identifier: Apache-2.0
"""`lipjax derive`: corpus to side corpus."""

import argparse

from lipjax.commands.parser import count, existing

NAMES = ("flow",)


def add(commands) -> None:
    """Adds the command to the console command's subparsers."""
    p = commands.add_parser(
        "derive",
        help="compute optical flow from a corpus, beside it",
        description="Computes something from every clip of a corpus and keeps it in "
        "CORPUS/derived/NAME, in the same order; training that asks for it reads both. The "
        "corpus itself stays as it is. Runs on many processes and resumes by itself.",
        epilog="Example: lipjax derive flow corpus/mine",
    )
    p.add_argument(
        "name",
        choices=NAMES,
        metavar="NAME",
        help="what to compute: flow (optical flow of the mouth crops by Farnebäck's method)",
    )
    p.add_argument("corpus", type=existing, metavar="CORPUS", help="folder of the corpus")
    p.add_argument(
        "--size",
        type=count,
        default=64,
        metavar="PIXELS",
        help="side of the pictures that it is computed on (default: %(default)s)",
    )
    p.add_argument(
        "--processes", type=count, metavar="N", help="worker processes (default: one per core)"
    )
    p.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from lipjax.data.derive import derive

    report = derive(args.name, args.corpus, size=args.size, processes=args.processes)
    print(report.summary())
    return 0
