# SPDX-License-Identifier: Apache-2.0
"""`lipjax prepare`: videos to corpus."""

import argparse
from pathlib import Path

from lipjax.commands.parser import add_landmarks, count, existing


def add(commands) -> None:
    """Adds the command to the console command's subparsers."""
    p = commands.add_parser(
        "prepare",
        help="turn a folder of talking-face videos into a corpus",
        description="Finds the mouth in every video of a folder, aligns it, and packs pictures, "
        "landmarks and sound into a corpus that training reads. Runs on many processes, "
        "resumes by itself, and writes OUT/report.html with what was kept and what was dropped.",
        epilog="Example: lipjax prepare videos --out corpus/mine",
    )
    p.add_argument(
        "videos", type=existing, metavar="VIDEOS", help="folder with the videos, or one video"
    )
    p.add_argument("--out", type=Path, required=True, help="folder of the corpus to make")
    p.add_argument(
        "--layout",
        default="auto",
        choices=("auto", "grid", "lrw", "ldc", "folder"),
        help="how files name speakers and words; lrw and ldc have official splits "
        "(default: find out)",
    )
    add_landmarks(p)
    p.add_argument(
        "--mouth-size",
        type=count,
        default=96,
        metavar="PIXELS",
        help="side of the mouth crops (default: %(default)s)",
    )
    p.add_argument(
        "--offset",
        default="report",
        choices=("report", "shift", "drop"),
        help="where sound and lips are out of step: report it (default), shift the sound, or "
        "drop the clip",
    )
    p.add_argument(
        "--test-speakers",
        default="",
        metavar="NAMES",
        help="comma-separated speakers to hold out for testing (default: about a tenth)",
    )
    p.add_argument(
        "--limit-minutes", type=float, metavar="MINUTES", help="use at most this much video"
    )
    p.add_argument(
        "--max-hours",
        type=float,
        default=4.0,
        metavar="HOURS",
        help="report longer videos instead of reading them (default: %(default)g)",
    )
    p.add_argument(
        "--processes", type=count, metavar="N", help="worker processes (default: one per core)"
    )
    p.add_argument(
        "--strict",
        action="store_true",
        help="end at the first file that cannot be used, instead of reporting it",
    )
    p.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from lipjax.data.prepare import PrepareSettings, prepare

    names = tuple(name for name in args.test_speakers.split(",") if name)
    settings = PrepareSettings(
        layout=args.layout,
        landmarks=args.landmarks,
        mouth_size=args.mouth_size,
        offset=args.offset,
        test_speakers=names,
        max_video_seconds=3600.0 * args.max_hours,
    )
    limit = None if args.limit_minutes is None else 60.0 * args.limit_minutes
    report = prepare(
        args.videos,
        args.out,
        settings=settings,
        processes=args.processes,
        strict=args.strict,
        limit_seconds=limit,
        progress=print,
    )
    print(report.summary())
    return 0
