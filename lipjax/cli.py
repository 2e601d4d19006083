# SPDX-License-Identifier: Apache-2.0
"""The console command: which command, and what becomes of errors."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from lipjax import __version__
from lipjax.commands import (
    ablation,
    analyse,
    babble,
    demo,
    derive,
    eval,
    export,
    figure,
    generate,
    prepare,
    score,
    train,
)
from lipjax.commands.parser import Parser
from lipjax.errors import LipjaxError

_RESUMES = ("prepare", "derive", "train", "ablation")


def parsers() -> tuple[Parser, dict[str, Parser]]:
    """Returns the command line's parser, and that of each command."""
    root = Parser(
        prog="lipjax",
        description="Lip movements from speech and one picture. "
        "'lipjax COMMAND --help' tells more about each command.",
    )
    root.add_argument(
        "--version",
        action="version",
        version=f"lipjax {__version__}",
        help="show the version and exit",
    )
    commands = root.add_subparsers(
        dest="command", required=True, parser_class=Parser, metavar="COMMAND"
    )
    for command in (
        *(prepare, derive, train, ablation, eval, generate, score, figure, export),
        *(analyse, babble, demo),
    ):
        command.add(commands)
    return root, dict(commands.choices)


def _parse(words: list[str]) -> argparse.Namespace:
    """Reads the words of the command line; ends the program where they make no sense."""
    root, commands = parsers()
    if not words:
        root.print_help(sys.stderr)
        root.exit(2)
    command = commands.get(words[0])
    overrides: list[str] = []
    if command in (commands["train"], commands["ablation"]):
        overrides = [word for word in words if word.startswith("--config.")]
        words = [word for word in words if word not in overrides]
        for word in overrides:
            if "=" not in word:
                command.error(f"write {word}=VALUE, in one word")
    if command is not None:
        command.check_flags(words[1:])
    elif words[0].startswith("-"):
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
    # Names of files can hold what a terminal obeys.
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(told.splitlines()))
    print(f"lipjax {args.command}: {shown}", file=sys.stderr)
    return code


def program(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the console command and ends the program."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # names of files that are no Unicode are printed too
            stream.reconfigure(errors="backslashreplace")
    code = main(arguments)
    if code == 130:
        # After a Ctrl-C while XLA compiles, JAX crashes when Python takes itself apart.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    program()
