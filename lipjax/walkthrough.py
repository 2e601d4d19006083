# SPDX-License-Identifier: Apache-2.0
"""The whole way in one command: corpus, training, evaluation, a talking mouth, one page.

`make demo` runs this on the built-in corpus, `make demo VIDEOS=folder` on real videos.
"""

import argparse
import sys
import time
from pathlib import Path

from lipjax.config_files import load_config
from lipjax.data.babble import make_babble
from lipjax.data.prepare import PrepareSettings, prepare
from lipjax.data.reading import Corpus, open_corpus
from lipjax.errors import LipjaxError
from lipjax.evaluation import rows
from lipjax.generate import generate, show_progress
from lipjax.jobs import evaluate_workdir, load_speaker
from lipjax.metrics.results import Evaluation
from lipjax.report import write_report
from lipjax.train import train
from lipjax.training.compiling import use_compile_cache
from lipjax.training.memory import keep_freed_memory
from lipjax.training.sharding import spread_over_cores

LIMIT_SECONDS = 180
SPEAKERS, SENTENCES, UNSEEN = 14, 10, 2
R_RIGHT, R_GAIN, CLOSED, AMPLITUDE = 0.6, 0.3, 0.8, 0.5
"""What the built-in corpus's unseen speakers show. Without the two r the demo fails.

A mouth that hardly opens is closed in every /p b m/; so how far it moves counts as well.
"""


def main() -> int:
    """Runs the demo; the exit code is 0 if the mouth has learned to follow speech."""
    parser = argparse.ArgumentParser(prog="lipjax.walkthrough", description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--videos", type=Path, help="folder of talking-face videos")
    args = parser.parse_args()
    try:
        return run(args.workdir, args.videos)
    except LipjaxError as error:
        print(f"demo: error: {error}", file=sys.stderr)
        return 2


def run(workdir: Path, videos: Path | None) -> int:
    """Makes or takes videos, trains on them, and shows what came of it.

    Args:
        workdir: folder for everything; what is done in it already is not done again.
        videos: folder of talking-face videos; None makes the built-in corpus.

    Returns:
        0, or 1 if the model trained on the built-in corpus does not follow speech.
    """
    began = time.monotonic()
    config = load_config(
        "at_a_glance.py:demo", overrides=[f"--config.data.dirs={workdir / 'corpus'}"]
    )
    spread_over_cores(config.data.batch_size)
    use_compile_cache(workdir / "compiled")
    keep_freed_memory()
    corpus = _corpus(workdir, videos)
    print("\n== 2 of 4: training", flush=True)
    train(config, workdir)
    split = next(name for name in ("test", "val", "train") if name in corpus.splits)
    print(f"\n== 3 of 4: evaluating on {_KIND[split]}", flush=True)
    evaluation = evaluate_workdir(workdir, split=split, clips=24)
    print("\n== 4 of 4: making a new mouth speak", flush=True)
    talk = _talk(workdir, corpus, split, videos or workdir / "videos")
    verdict = _verdict(**_reached(evaluation)) if videos is None else []
    page = write_report(
        workdir / "report.html",
        title="lipjax demo",
        evaluation=evaluation,
        workdir=workdir,
        videos={f"a picture and a sound from {_KIND[split]}": talk},
        notes=tuple(verdict),
    )
    print(f"\ndone in {(time.monotonic() - began) / 60:.1f} minutes; look at")
    print(f"  {page}\n  {talk}")
    for line in verdict:
        print(line)
    return int(any(line.startswith("FAILED") for line in verdict))


_KIND = {"test": "unseen speakers", "val": "unseen sentences", "train": "the training clips"}


def _corpus(workdir: Path, videos: Path | None) -> Corpus:
    folder, out = videos or workdir / "videos", workdir / "corpus"
    print("== 1 of 4: preparing the corpus", flush=True)
    if videos is None:
        made = folder / "made"
        if not made.exists():
            make_babble(
                folder,
                speakers=SPEAKERS,
                sentences_per_speaker=SENTENCES,
                processes=2,
                progress=lambda done, total: print(f"drew {done} of {total} videos", flush=True),
            )
            made.touch()
        people = sorted(path.name for path in folder.iterdir() if path.is_dir())
        settings, limit = PrepareSettings(test_speakers=tuple(people[-UNSEEN:])), None
    else:
        print(f"at most {LIMIT_SECONDS / 60:.0f} minutes of video are used", flush=True)
        settings, limit = PrepareSettings(), float(LIMIT_SECONDS)
    report = prepare(folder, out, settings=settings, limit_seconds=limit, progress=print)
    print(report.summary())
    return open_corpus(out)


def _talk(workdir: Path, corpus: Corpus, split: str, videos: Path) -> Path:
    """The first held-out speaker's face says what another held-out clip says."""
    index = corpus.index(split)
    face, sound = videos / str(index.source[0]), videos / str(index.source[-1])
    speaker, params = load_speaker(workdir)
    out = workdir / "talk.mp4"
    talk = generate(speaker, params, face=face, audio=sound, out=out, progress=show_progress)
    print(talk.summary())
    return out


def _reached(evaluation: Evaluation) -> dict[str, float]:
    """What the verdict is about."""
    moves = [evaluation.opening[f"{who}, deviation"].mean for who in ("model", "ground truth")]
    return {
        "right": evaluation.value(rows.MODEL, "r"),
        "wrong": evaluation.value(rows.MODEL_WRONG, "r"),
        "closed": evaluation.closures[rows.MODEL].mean,
        "movement": moves[0] / moves[1],
    }


def _verdict(*, right: float, wrong: float, closed: float, movement: float) -> list[str]:
    """Says what the model reached of what it has to reach."""
    checks = (
        ("FAILED", "r(right sound)", right, R_RIGHT),
        ("FAILED", "r(right sound) - r(wrong sound)", right - wrong, R_GAIN),
        ("missed", "lips closed in /p b m/", closed, CLOSED),
        ("missed", "movement of the opening beside the truth's", movement, AMPLITUDE),
    )
    return [
        f"{'ok' if value >= bound else verdict}: {name} {value:.2f}, at least {bound} is wanted"
        for verdict, name, value, bound in checks
    ]


if __name__ == "__main__":
    sys.exit(main())
