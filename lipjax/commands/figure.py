# SPDX-License-Identifier: Apache-2.0
"""`lipjax figure`: trained models to pictures for a paper."""

import argparse
from pathlib import Path
from typing import Any

from lipjax.commands.jax_setup import set_up_jax
from lipjax.commands.parser import add_landmarks, count, existing
from lipjax.errors import ConfigError

_ONLY: dict[str, dict[str, Any]] = {
    "rows": {"split": "test", "corpus": None, "clips": 4},
    "identities": {"faces": None, "audio": None, "face_kind": "auto", "landmarks": "auto"},
}
"""Flags that belong to one figure, with what holds where they are not given."""


def add(commands) -> None:
    """Adds the command to the console command's subparsers."""
    p = commands.add_parser(
        "figure",
        help="draw what trained models make, as papers print it",
        description="rows: generated frames under the real ones, for clips of a corpus, taken in "
        "turn from all speakers. identities: pictures of anybody, saying any sound; a row per "
        "model, and the same as video.",
        epilog="Example: lipjax figure rows --workdir runs/mine --out rows.png",
    )
    p.add_argument(
        "figure", choices=tuple(_ONLY), metavar="FIGURE", help="which: rows or identities"
    )
    p.add_argument(
        "--workdir",
        type=existing,
        required=True,
        action="append",
        help="folder of the trained run; again for another model beside it",
    )
    p.add_argument("--out", type=Path, required=True, help="the PNG to write")
    p.add_argument(
        "--frames", type=count, default=16, metavar="N", help="per row (default: %(default)s)"
    )
    rows = p.add_argument_group("rows")
    rows.add_argument(
        "--split",
        choices=("train", "val", "test"),
        help="which clips: test = unseen speakers (default), val = unseen sentences",
    )
    rows.add_argument("--corpus", type=existing, help="another corpus than the one trained on")
    rows.add_argument("--clips", type=count, metavar="N", help="how many (default: 4)")
    identities = p.add_argument_group("identities")
    identities.add_argument(
        "--faces",
        type=existing,
        nargs="+",
        metavar="PICTURE",
        help="mouth crops or photos of faces",
    )
    identities.add_argument(
        "--audio", type=existing, nargs="+", metavar="SPEECH", help="sound or video files"
    )
    identities.add_argument(
        "--face-kind",
        choices=("auto", "mouth", "face"),
        help="what the pictures are (default: find out)",
    )
    add_landmarks(identities)
    p.set_defaults(run=_run, landmarks=None)


def _run(args: argparse.Namespace) -> int:
    other = next(name for name in _ONLY if name != args.figure)
    for name in _ONLY[other]:
        if getattr(args, name) is not None:
            flag = f"--{name.replace('_', '-')}"
            raise ConfigError(f"{flag} belongs to 'figure {other}', not to {args.figure!r}")
    given = {
        name: default if getattr(args, name) is None else getattr(args, name)
        for name, default in _ONLY[args.figure].items()
    }
    common = {"frames": args.frames}
    set_up_jax()
    if args.figure == "rows":
        from lipjax.figures.clips import rows_figure

        rows_figure(args.workdir, args.out, **given, **common)
        return 0
    missing = [f"--{name}" for name in ("faces", "audio") if given[name] is None]
    if missing:
        raise ConfigError(f"{', '.join(missing)} must be given for 'figure identities'")
    from lipjax.figures.identities import identities_figure

    faces, audio = given.pop("faces"), given.pop("audio")
    identities_figure(args.workdir, faces, audio, args.out, **given, **common)
    return 0
