# SPDX-License-Identifier: Apache-2.0
"""The console command: arguments to function calls, nothing else."""

import argparse
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

    def flags(self) -> list[str]:
        """All flags of this parser."""
        return [flag for action in self._actions for flag in action.option_strings]


def _prepare(commands) -> None:
    p = commands.add_parser(
        "prepare",
        help="turn a folder of talking-face videos into a corpus",
        description="Finds the mouth in every video of a folder, aligns it, and packs pictures, "
        "landmarks and sound into a corpus that training reads. Runs on many processes, "
        "resumes by itself, and writes OUT/report.html with what was kept and what was dropped.",
    )
    p.add_argument("videos", type=Path, metavar="VIDEOS", help="folder with the videos")
    p.add_argument("--out", type=Path, required=True, help="folder of the corpus to make")
    p.add_argument(
        "--layout",
        default="auto",
        choices=("auto", "grid", "lrw", "folder"),
        help="how files name speakers and words (default: find out)",
    )
    p.add_argument("--landmarks", default="auto", help="auto, dlib, files, or mediapipe:FILE.task")
    p.add_argument("--mouth-size", type=int, default=96, help="side of the mouth crops, pixels")
    p.add_argument(
        "--offset",
        default="report",
        choices=("report", "shift", "drop"),
        help="what to do where sound and lips are out of step",
    )
    p.add_argument(
        "--test-speakers", default="", help="comma-separated names to keep for the test split"
    )
    p.add_argument("--limit-minutes", type=float, help="use at most this much video")
    p.add_argument("--processes", type=int, help="worker processes (default: one per core)")
    p.add_argument("--strict", action="store_true", help="stop at the first bad file")
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
    )
    p.add_argument("--config", required=True, help="configs/at_a_glance.py:grid_cpu")
    p.add_argument("--workdir", type=Path, required=True, help="folder of this run")
    p.add_argument(
        "--from",
        dest="start",
        type=Path,
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
    )
    p.add_argument("--workdir", type=Path, required=True, help="folder of the trained run")
    p.add_argument("--split", default="test", choices=("train", "val", "test"))
    p.add_argument("--corpus", type=Path, help="another corpus than the one trained on")
    p.add_argument("--clips", type=int, help="at most this many clips, spread over the speakers")
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
    )
    p.add_argument("--workdir", type=Path, required=True, help="folder of the trained run")
    p.add_argument("--face", type=Path, help="mouth crop, photo of a face, or video to dub")
    p.add_argument("--audio", type=Path, help="speech: any sound or video file")
    p.add_argument("--out", type=Path, help="the mp4 to write")
    p.add_argument("--list", type=Path, metavar="PAIRS.CSV", help="many: columns face,audio,out")
    p.add_argument(
        "--face-kind",
        default="auto",
        choices=("auto", "mouth", "face", "video"),
        help="what FACE is (default: find out)",
    )
    p.add_argument("--landmarks", default="auto", help="auto, dlib, files, or mediapipe:FILE.task")
    p.set_defaults(run=_run_generate)


def _run_generate(args: argparse.Namespace) -> int:
    from lipjax.generate import generate, generate_many, show_progress
    from lipjax.jobs import load_speaker

    single = (args.face, args.audio, args.out)
    if (args.list is None) == any(value is None for value in single):
        raise ConfigError("give --face, --audio and --out, or --list PAIRS.CSV alone")
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
    )
    p.add_argument("generated", type=Path, metavar="GENERATED")
    p.add_argument("real", type=Path, metavar="REAL")
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
    )
    p.add_argument("out", type=Path, metavar="OUT", help="folder to fill with videos")
    p.add_argument("--speakers", type=int, default=12)
    p.add_argument("--sentences", type=int, default=12, help="sentences per speaker")
    p.add_argument("--seed", type=int, default=0)
    p.set_defaults(run=_run_babble)


def _run_babble(args: argparse.Namespace) -> int:
    from lipjax.data.babble import make_babble

    make_babble(
        args.out, speakers=args.speakers, sentences_per_speaker=args.sentences, seed=args.seed
    )
    return 0


def parser() -> argparse.ArgumentParser:
    """Returns the command line's parser."""
    root = _Parser(prog="lipjax", description="Lip movements from speech and one picture.")
    commands = root.add_subparsers(dest="command", required=True, parser_class=_Parser)
    for add in (_prepare, _train, _eval, _generate, _score, _babble):
        add(commands)
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the console command; errors are one line on standard error, exit code 2."""
    root = parser()
    args, extra = root.parse_known_args(arguments)
    args.overrides = [word for word in extra if word.startswith("--config.")]
    unknown = [word for word in extra if word not in args.overrides]
    if args.command != "train" and args.overrides:
        unknown = extra
    if unknown:
        # parse_known_args leaves what no flag took; name the flag that was probably meant.
        command = next(a for a in root._actions if a.dest == "command").choices[args.command]
        word = unknown[0].split("=")[0]
        root.exit(
            2, f"lipjax {args.command}: error: {word} is unknown{nearest(word, command.flags())}\n"
        )
    try:
        return args.run(args)
    except LipjaxError as error:
        print(f"lipjax {args.command}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            f"lipjax {args.command}: stopped; the same command goes on from here", file=sys.stderr
        )
        return 130


if __name__ == "__main__":
    sys.exit(main())
