# SPDX-License-Identifier: Apache-2.0
"""`lipjax generate`: picture and speech to video."""

import argparse
from pathlib import Path

from lipjax.commands.jax_setup import set_up_jax
from lipjax.commands.parser import add_landmarks, add_model, existing, model_of
from lipjax.errors import ConfigError


def add(commands) -> None:
    """Adds the command to the console command's subparsers."""
    p = commands.add_parser(
        "generate",
        help="make a picture or video speak",
        description="Makes the mouth of a picture, or of a video to dub, say the given speech, "
        "and writes an mp4 with the sound.",
        epilog="Example: lipjax generate --face me.jpg --audio speech.wav --out talk.mp4",
    )
    add_model(p)
    p.add_argument("--face", type=existing, help="mouth crop, photo of a face, or video to dub")
    p.add_argument("--audio", type=existing, help="speech: any sound or video file")
    p.add_argument("--out", type=Path, help="the mp4 to write")
    p.add_argument(
        "--list", type=existing, metavar="PAIRS.CSV", help="many: columns face,audio,out"
    )
    p.add_argument(
        "--face-kind",
        default="auto",
        choices=("auto", "mouth", "face", "video"),
        help="what FACE is (default: find out)",
    )
    add_landmarks(p)
    p.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from lipjax.generate import generate, generate_many, show_progress
    from lipjax.jobs import load_speaker

    single = {"--face": args.face, "--audio": args.audio, "--out": args.out}
    given = [flag for flag, value in single.items() if value is not None]
    if args.list is not None and given:
        raise ConfigError(f"--list tells faces, sounds and videos; leave out {', '.join(given)}")
    if args.list is None and len(given) < len(single):
        missing = ", ".join(flag for flag in single if flag not in given)
        raise ConfigError(f"{missing} must be given (or --list PAIRS.CSV for many videos)")
    workdir = model_of(args)
    set_up_jax()
    speaker, params = load_speaker(workdir)
    if args.list is not None:
        many = generate_many(
            speaker, params, args.list, landmarks=args.landmarks, progress=show_progress
        )
        print(many.summary())
        return 0 if many.made else 1
    result = generate(
        speaker,
        params,
        face=args.face,
        audio=args.audio,
        out=args.out,
        face_kind=args.face_kind,
        landmarks=args.landmarks,
        progress=show_progress,
    )
    print(result.summary())
    return 0
