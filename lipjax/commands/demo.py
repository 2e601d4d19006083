# SPDX-License-Identifier: Apache-2.0
"""`lipjax demo`: a page in the browser."""

import argparse
import os
import sys
from pathlib import Path

from lipjax.commands.jax_setup import set_up_jax
from lipjax.commands.parser import add_landmarks, add_model, count, model_of
from lipjax.pretrained import installed_models


def add(commands) -> None:
    """Adds the command to the console command's subparsers."""
    p = commands.add_parser(
        "demo",
        help="open a page to make a picture speak",
        description="Opens a page in the browser: a picture and some speech in, a talking video "
        "out. Nothing leaves this machine, and what was uploaded or made is removed in the end.",
        epilog="Example: lipjax demo",
    )
    add_model(p)
    p.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; any but the default opens the page to others "
        "(default: %(default)s, this machine alone)",
    )
    p.add_argument(
        "--port", type=_port, help="number (default: 7860 if that is free, else any; 0: any)"
    )
    p.add_argument(
        "--max-mb",
        type=count,
        default=50,
        metavar="N",
        help="megabytes of an uploaded file, at most (default: %(default)s)",
    )
    p.add_argument(
        "--max-seconds",
        type=count,
        default=60,
        metavar="N",
        help="seconds of speech, at most (default: %(default)s)",
    )
    p.add_argument("--no-browser", action="store_true", help="only say where the page is")
    add_landmarks(p)
    p.set_defaults(run=_run)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port, a number from 0 to 65535")
    return int(text)


def _run(args: argparse.Namespace) -> int:
    from lipjax.demo_page.ending import Ending  # before anything heavy

    ending, finished = Ending(), True
    with ending.taken():
        try:
            finished = _with_files(args, ending)
        except KeyboardInterrupt:
            if not ending.number:
                raise
    if not finished:
        # JAX is still at it in another thread, and crashes when Python takes itself apart.
        sys.stdout.flush()
        os._exit(128 + ending.number)
    print("stopped; everything that was uploaded or made is removed", flush=True)
    return 128 + ending.number


def _with_files(args: argparse.Namespace, ending) -> bool:
    """Serves the page to its end and removes its files; tells what `_open` tells."""
    from lipjax.demo_page.files import Files

    first, files = model_of(args), Files()
    try:
        return _open(args, first, files, ending)
    finally:
        files.remove()


def _open(args: argparse.Namespace, first: Path, files, ending) -> bool:
    """Serves the page to its end; tells whether no video is in the making any more."""
    from lipjax.demo_page.examples import make_examples
    from lipjax.demo_page.layout import make_page, require_gradio
    from lipjax.demo_page.server import address_of, can_open_browser, listen, serve, warning
    from lipjax.demo_page.work import Models, Work
    from lipjax.media.containers import require_av

    ending.check()
    require_av()
    require_gradio(files)
    ending.check()
    opened = listen(args.host, args.port)
    set_up_jax()
    ending.check()
    folders = {path.resolve().name if name is None else name: path for name, path in _models(first)}
    models = Models(folders)
    models.load(models.names[0])
    ending.check()
    work = Work(models, landmarks=args.landmarks, max_seconds=args.max_seconds)
    print("drawing examples", flush=True)
    examples = make_examples(files.examples, ending.check)
    if examples.missing:
        print(f"no examples: {examples.missing}", flush=True)
    ending.check()
    limits = f"Up to {args.max_seconds} seconds of speech, {args.max_mb} MB a file."
    page = make_page(work, files, examples, limits=limits)
    address = address_of(opened)

    def ready() -> None:
        if told := warning(args.host):
            print(f"lipjax demo: {told}", file=sys.stderr, flush=True)
        print(f"the page is at {address}  (Ctrl-C ends it)", flush=True)
        if not args.no_browser and can_open_browser():
            import webbrowser

            webbrowser.open(address)

    try:
        serve(page, opened, ending, max_mb=args.max_mb, ready=ready)
    finally:
        finished = work.stop()
    return finished


def _models(first: Path) -> list[tuple[str | None, Path]]:
    """The model to start with, then the installed ones; None for one that has no name."""
    installed: list[tuple[str | None, Path]] = [
        (name, path) for name, path in installed_models().items() if path.is_dir()
    ]
    chosen = [pair for pair in installed if pair[1] == first] or [(None, first)]
    return chosen + [pair for pair in installed if pair not in chosen]
