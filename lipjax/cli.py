# SPDX-License-Identifier: Apache-2.0
"""The console command: arguments to function calls, nothing else."""

import argparse
import contextlib
import difflib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from lipjax.errors import ConfigError, LipjaxError, nearest


class _Parser(argparse.ArgumentParser):
    """Errors in one line, with the nearest right name."""

    def error(self, message: str) -> NoReturn:
        words = message.split("'")
        if "invalid choice" in message and len(words) > 1:
            message = f"{words[1]!r} is unknown{nearest(words[1], self._choices())}"
        self.exit(2, f"{self.prog}: error: {message}; see {self.prog} --help\n")

    def _choices(self) -> list[str]:
        return [name for action in self._actions for name in (action.choices or ())]

    def check_flags(self, words: Sequence[str]) -> None:
        """Ends at a flag that does not exist; argparse alone would tell a missing one first."""
        known = [flag for action in self._actions for flag in action.option_strings]
        for word in words:
            flag = word.partition("=")[0]
            if word.startswith("--") and not any(name.startswith(flag) for name in known):
                self.error(f"{flag} is unknown{nearest(flag, known)}")


def _count(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def _existing(text: str) -> Path:
    """The path of a file or folder that is there."""
    path = missing = Path(text)
    if os.path.exists(path):
        return path
    while not os.path.exists(missing.parent):
        missing = missing.parent
    hint = ""
    with contextlib.suppress(OSError):
        beside = [file.name for file in missing.parent.iterdir()]
        close = difflib.get_close_matches(missing.name, beside, n=1)
        hint = f" (did you mean {str(missing.parent / close[0])!r}?)" if close else ""
    raise argparse.ArgumentTypeError(f"no such file or folder: {text!r}{hint}")


def _landmarks(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--landmarks",
        default="auto",
        metavar="BACKEND",
        help="what finds faces: dlib, files (NAME.landmarks.npy beside NAME.mp4), "
        "mediapipe:FILE.task, or auto (default: files where there are any, else dlib)",
    )


def _prepare(commands) -> None:
    p = commands.add_parser(
        "prepare",
        help="turn a folder of talking-face videos into a corpus",
        description="Finds the mouth in every video of a folder, aligns it, and packs pictures, "
        "landmarks and sound into a corpus that training reads. Runs on many processes, "
        "resumes by itself, and writes OUT/report.html with what was kept and what was dropped.",
        epilog="Example: lipjax prepare videos --out corpus/mine",
    )
    p.add_argument(
        "videos", type=_existing, metavar="VIDEOS", help="folder with the videos, or one video"
    )
    p.add_argument("--out", type=Path, required=True, help="folder of the corpus to make")
    p.add_argument(
        "--layout",
        default="auto",
        choices=("auto", "grid", "lrw", "folder"),
        help="how files name speakers and words (default: find out)",
    )
    _landmarks(p)
    p.add_argument(
        "--mouth-size",
        type=_count,
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
        "--processes", type=_count, metavar="N", help="worker processes (default: one per core)"
    )
    p.add_argument(
        "--strict",
        action="store_true",
        help="end at the first file that cannot be used, instead of reporting it",
    )
    p.set_defaults(run=_run_prepare)


def _run_prepare(args: argparse.Namespace) -> int:
    from lipjax.data.prepare import PrepareSettings, prepare

    names = tuple(name for name in args.test_speakers.split(",") if name)
    settings = PrepareSettings(
        layout=args.layout,
        landmarks=args.landmarks,
        mouth_size=args.mouth_size,
        offset=args.offset,
        test_speakers=names,
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


def _train(commands) -> None:
    p = commands.add_parser(
        "train",
        help="train a model on a corpus",
        description="Trains what a config describes and keeps checkpoints, curves and previews "
        "in the workdir. The same command again resumes. Any setting of the config can be "
        "changed: --config.data.dirs=corpus/mine --config.train.steps=5000.",
        epilog="Example: lipjax train --config configs/at_a_glance.py:grid_cpu "
        "--config.data.dirs=corpus/mine --workdir runs/mine",
    )
    p.add_argument(
        "--config",
        required=True,
        metavar="FILE.py:VARIANT",
        help="what to train: a config file and, behind a colon, one of its variants",
    )
    p.add_argument("--workdir", type=Path, required=True, help="folder of this run")
    p.add_argument(
        "--from",
        dest="start",
        type=_existing,
        metavar="CHECKPOINT",
        help="start from the parameters of another run's workdir (fine-tuning)",
    )
    p.set_defaults(run=_run_train)


def _run_train(args: argparse.Namespace) -> int:
    from lipjax.config_files import load_config
    from lipjax.jobs import train

    config = load_config(args.config, args.overrides)
    train(config, args.workdir, start=args.start)
    return 0


def _eval(commands) -> None:
    p = commands.add_parser(
        "eval",
        help="measure a trained model on held-out clips",
        description="Generates whole clips from one picture and the sound, and prints every "
        "metric beside the rows that keep it honest: ground truth through the same path, still "
        "picture, motionless mean mouth, another sentence's mouth, a linear predictor, and the "
        "model fed the wrong sound.",
        epilog="Example: lipjax eval --workdir runs/mine --split test",
    )
    p.add_argument("--workdir", type=_existing, required=True, help="folder of the trained run")
    p.add_argument(
        "--split",
        default="test",
        choices=("train", "val", "test"),
        help="which clips: test = unseen speakers (default), val = unseen sentences",
    )
    p.add_argument("--corpus", type=_existing, help="another corpus than the one trained on")
    p.add_argument(
        "--clips", type=_count, metavar="N", help="at most this many, spread over the speakers"
    )
    p.add_argument("--out", type=Path, help="folder of the report (default: WORKDIR/eval/SPLIT)")
    p.set_defaults(run=_run_eval)


def _run_eval(args: argparse.Namespace) -> int:
    from lipjax.jobs import evaluate_workdir

    evaluate_workdir(
        args.workdir, split=args.split, corpus=args.corpus, clips=args.clips, out=args.out
    )
    return 0


def _generate(commands) -> None:
    p = commands.add_parser(
        "generate",
        help="make a picture or video speak",
        description="Makes the mouth of a picture, or of a video to dub, say the given speech, "
        "and writes an mp4 with the sound.",
        epilog="Example: lipjax generate --workdir runs/mine --face me.jpg --audio speech.wav "
        "--out talk.mp4",
    )
    p.add_argument("--workdir", type=_existing, required=True, help="folder of the trained run")
    p.add_argument("--face", type=_existing, help="mouth crop, photo of a face, or video to dub")
    p.add_argument("--audio", type=_existing, help="speech: any sound or video file")
    p.add_argument("--out", type=Path, help="the mp4 to write")
    p.add_argument(
        "--list", type=_existing, metavar="PAIRS.CSV", help="many: columns face,audio,out"
    )
    p.add_argument(
        "--face-kind",
        default="auto",
        choices=("auto", "mouth", "face", "video"),
        help="what FACE is (default: find out)",
    )
    _landmarks(p)
    p.set_defaults(run=_run_generate)


def _run_generate(args: argparse.Namespace) -> int:
    from lipjax.generate import generate, generate_many, show_progress
    from lipjax.jobs import load_speaker

    single = {"--face": args.face, "--audio": args.audio, "--out": args.out}
    given = [flag for flag, value in single.items() if value is not None]
    if args.list is not None and given:
        raise ConfigError(f"--list tells faces, sounds and videos; leave out {', '.join(given)}")
    if args.list is None and len(given) < len(single):
        missing = ", ".join(flag for flag in single if flag not in given)
        raise ConfigError(f"{missing} must be given (or --list PAIRS.CSV for many videos)")
    speaker, params = load_speaker(args.workdir)
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


def _score(commands) -> None:
    p = commands.add_parser(
        "score",
        help="score any system's videos against the real ones",
        description="Pairs the videos of two folders by name and prints the same table as eval.",
        epilog="Example: lipjax score generated/ real/",
    )
    p.add_argument(
        "generated", type=_existing, metavar="GENERATED", help="folder with a system's videos"
    )
    p.add_argument(
        "real", type=_existing, metavar="REAL", help="folder with the real ones, of the same names"
    )
    p.add_argument("--out", type=Path, help="folder of the report (default: GENERATED/score)")
    p.set_defaults(run=_run_score)


def _run_score(args: argparse.Namespace) -> int:
    from lipjax.score import score_folders

    score_folders(args.generated, args.real, out=args.out)
    return 0


def _babble(commands) -> None:
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
            name, type=_count, default=12, metavar="N", help=f"{what} (default: %(default)s)"
        )
    p.add_argument(
        "--seed", type=int, default=0, help="another number makes other people and sentences"
    )
    p.set_defaults(run=_run_babble)


def _run_babble(args: argparse.Namespace) -> int:
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


_RESUMES = ("prepare", "train")


def parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """Returns the command line's parser, and that of each command."""
    root = _Parser(
        prog="lipjax",
        description="Lip movements from speech and one picture. "
        "'lipjax COMMAND --help' tells more about each command.",
    )
    commands = root.add_subparsers(
        dest="command", required=True, parser_class=_Parser, metavar="COMMAND"
    )
    for add in (_prepare, _train, _eval, _generate, _score, _babble):
        add(commands)
    return root, dict(commands.choices)


def _parse(words: list[str]) -> argparse.Namespace:
    """Reads the words of the command line; ends the program where they make no sense."""
    root, commands = parsers()
    command = commands.get(words[0]) if words else None
    overrides: list[str] = []
    if command is commands["train"]:
        overrides = [word for word in words if word.startswith("--config.")]
        words = [word for word in words if word not in overrides]
        for word in overrides:
            if "=" not in word:
                command.error(f"write {word}=VALUE, in one word")
    if command is not None:
        command.check_flags(words[1:])
    elif words and words[0].startswith("-"):
        root.check_flags(words[:1])
    args, extra = root.parse_known_args(words)
    if extra:
        commands[args.command].error(f"{extra[0]!r} is one word too many")
    args.overrides = overrides
    return args


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the console command; errors are one line on standard error, exit code 2."""
    args = _parse(list(sys.argv[1:] if arguments is None else arguments))
    try:
        return args.run(args)
    except LipjaxError as error:
        told, code = f"error: {error}", 2
    except OSError as error:
        # No folder to write to, no permission, a full disk: nothing that a traceback explains.
        place = "" if error.filename is None else f"{error.filename}: "
        told, code = f"error: {place}{error.strerror or error}", 2
    except KeyboardInterrupt:
        goes_on = "; the same command goes on from here" if args.command in _RESUMES else ""
        told, code = f"stopped{goes_on}", 130
    print(f"lipjax {args.command}: {' '.join(told.splitlines())}", file=sys.stderr)
    return code


def program(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the console command and ends the program."""
    code = main(arguments)
    if code == 130:
        # After a Ctrl-C while XLA compiles, JAX crashes when Python takes itself apart.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    program()
