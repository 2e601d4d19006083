# SPDX-License-Identifier: Apache-2.0
"""Seconds of video that `lipjax prepare` gets through per second of one core, landmarks included.

    python benchmarks/preparing.py [VIDEOS] [--clips N] [--profile] [--out FILE.json]

VIDEOS is a folder of talking faces, for example GRID's; dlib then finds the faces. Without it the
built-in videos are used, which bring landmark files: decoding, crops and records alone. The work
is done in one process, so CPU seconds are those of one core.
"""

import cProfile
import pstats
import shutil
import tempfile
from pathlib import Path
from typing import Any

import measuring

TARGET = 1.0
_NAMED = 12


def chosen(videos: Path, count: int, scratch: Path) -> Path:
    """Copies some of a folder's videos, spread evenly over it, with the folders they lie in."""
    found = sorted(p for p in videos.rglob("*") if p.suffix in (".mpg", ".mp4", ".mov", ".avi"))
    step = max(1, len(found) // count)
    for path in found[::step][:count]:
        copy = scratch / path.relative_to(videos)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    return scratch


def builtin(count: int, scratch: Path) -> Path:
    """Makes built-in videos."""
    from lipjax.data.babble import make_babble

    make_babble(scratch, speakers=min(count, 4), sentences_per_speaker=-(-count // 4))
    return scratch


def once(videos: Path) -> tuple[float, measuring.Cost]:
    """Prepares a folder; returns seconds of video in the corpus and what it took."""
    from lipjax.data.prepare import prepare
    from lipjax.data.reading import open_corpus

    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "corpus"
        cost = measuring.cost_of(lambda: prepare(videos, out, processes=0))
        corpus = open_corpus(out)
        frames = sum(int(corpus.index(split).frames.sum()) for split in corpus.splits)
        return frames / corpus.settings["fps"], cost


def profile(videos: Path) -> list[dict[str, Any]]:
    """Returns the functions that take most time of their own, with their share."""
    profiler = cProfile.Profile()
    profiler.runcall(once, videos)
    stats = pstats.Stats(profiler)
    total = stats.total_tt
    rows = sorted(stats.stats.items(), key=lambda item: -item[1][2])[:_NAMED]
    return [
        {
            "function": f"{Path(file).name}:{line} {name}" if line else name,
            "calls": calls,
            "share": round(own / total, 3),
        }
        for (file, line, name), (_, calls, own, _, _) in rows
    ]


def main() -> None:
    """Prints the figures, and writes them."""
    parser = measuring.parser(__doc__.splitlines()[0], "preparing")
    parser.add_argument("videos", nargs="?", type=Path, help="folder of videos; else built-in ones")
    parser.add_argument("--clips", type=int, default=12, help="(default: %(default)s)")
    parser.add_argument("--profile", action="store_true", help="also say where the time goes")
    args = parser.parse_args()
    told = measuring.facts("dlib-bin", "av", "opencv-python-headless")
    clips = 2 if args.short else args.clips
    rates: dict[str, list[float]] = {"cpu": [], "wall": []}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        videos = chosen(args.videos, clips, folder) if args.videos else builtin(clips, folder)
        once(videos)  # reads models and libraries
        for _ in range(1 if args.short else 3):
            seconds, cost = once(videos)
            rates["cpu"].append(seconds / cost.cpu)
            rates["wall"].append(seconds / cost.wall)
        where = profile(videos) if args.profile else []
    kind = "landmarks found" if args.videos else "landmarks given"
    what = f"prepare: seconds of video per core second, {kind}"
    lines = [measuring.target(measuring.spread(rates["cpu"]), TARGET, what=what)]
    for line in lines:
        print(measuring.words(line))
    for row in where:
        print(f"{row['share']:7.1%} {row['calls']:8} {row['function']}")
    measuring.write(
        {
            "facts": told,
            "targets": lines,
            "seconds_of_video": seconds,
            "wall": measuring.spread(rates["wall"]),
            "profile": where,
        },
        args.out,
    )


if __name__ == "__main__":
    main()
