# SPDX-License-Identifier: Apache-2.0
"""Windows per second and core: ArrayRecord through grain beside a PyTorch DataLoader on files.

    python benchmarks/windows.py [CORPUS] [--out FILE.json]

Needs PyTorch (`pip install torch --index-url https://download.pytorch.org/whl/cpu`). The same
clips are written out in the released authors' layout (`torch_windows.py`), and both sides make
the same batches in turns: 16 frames of 64 x 64, their log-mel of 64 columns, a picture of the
same clip, another clip's log-mel. Without CORPUS a built-in one is made first.

Ours is measured as it is where all clips fit into memory (data.cache_mb), where they do not and
decoded ones are kept on disk (data.ready), and as it would be if every clip were decoded anew.
"""

import dataclasses
import tempfile
import time
from pathlib import Path
from typing import Any

import measuring
from corpora import corpus_or_builtin, largest_split
from torch_windows import FRAMES, SIZE, LayoutDataset, Loader, write_layout

from lipjax.data.reading import Corpus
from lipjax.data.views import Streams, View, clip_log_mel, cut_log_mel
from lipjax.data.windows import Windows
from lipjax.media.audio import LogMel

TARGET = 10.0
BATCH = 24
PUBLISHED, SHARE = 989e12, 0.45
"""An H100's bfloat16 operations per second by its data sheet, and the share that is aimed at."""
USEFUL = 711e9
"""Useful operations of the released system's training step for one window (train_step.py)."""
PAUSE = 0.5
STREAMS = Streams(mouth_size=SIZE, log_mel=LogMel())
INPUTS = {
    "video": View("mouth", FRAMES),
    "identity": View("mouth", 1, where="same_clip"),
    "log_mel": View("log_mel", FRAMES),
    "wrong_log_mel": View("log_mel", FRAMES, where="other_clip"),
}


@dataclasses.dataclass
class Ours:
    """Endless batches of our pipeline, made in this thread as the DataLoader makes its own."""

    windows: Windows
    step: int = 0

    processes = ()

    def settle(self) -> None:
        """Nothing is made ahead."""

    def __next__(self) -> dict:
        self.step += 1
        return self.windows.batch(self.step)


def measure(corpus: Corpus, *, batches: int, rounds: int, scratch: Path) -> dict[str, Any]:
    """Measures all sides in turns.

    Args:
        corpus: prepared.
        batches: of a turn.
        rounds: turns.
        scratch: folder for the authors' layout.

    Returns:
        Windows per second of each side, by the clock and by CPU seconds, and their ratios.
    """
    split = largest_split(corpus)
    clips = list(corpus.clips(split))
    seconds = [clip.num_frames / STREAMS.fps for clip in clips]
    log_mels = [
        cut_log_mel(clip_log_mel(clip, STREAMS.log_mel), 0.0, end, STREAMS.log_mel)
        for clip, end in zip(clips, seconds, strict=True)
    ]
    lengths = write_layout(scratch / "layout", clips, log_mels)
    dataset = LayoutDataset(scratch / "layout", lengths)

    def ours(**settings: Any) -> Ours:
        options = {"split": split, "streams": STREAMS, "batch_size": BATCH, **settings}
        return Ours(Windows([corpus], INPUTS, **options))

    sides = {
        "torch, 0 workers": Loader(dataset, batch_size=BATCH, workers=0),
        "torch, 1 worker": Loader(dataset, batch_size=BATCH, workers=1),
        "lipjax, clips in memory": ours(cache_mb=4096.0, ready=""),
        "lipjax, clips on disk": ours(cache_mb=0.0, ready=scratch / "ready"),
        "lipjax, nothing kept": ours(cache_mb=0.0, ready=""),
    }
    for side in sides.values():
        batch = next(side)
        for name in INPUTS:
            shapes = {k: tuple(v.shape) for k, v in batch.items()}
            assert shapes[name] == shapes_of()[name], (name, shapes)
    for name in ("lipjax, clips in memory", "lipjax, clips on disk"):
        _fill(sides[name].windows)

    def turn(name: str):
        side, count = sides[name], batches if "nothing" not in name else max(1, batches // 20)

        def work() -> None:
            for _ in range(count):
                next(side)

        def timed() -> measuring.Cost:
            time.sleep(PAUSE)  # workers of the side before come to rest
            side.settle()
            cost = measuring.cost_of(work, side.processes)
            return measuring.Cost(cost.wall / count / BATCH, cost.cpu / count / BATCH)

        return timed

    taken = measuring.in_turns({name: turn(name) for name in sides}, rounds=rounds)
    rates = {
        name: {
            f"windows_per_{by}_second": measuring.spread([1 / getattr(c, by) for c in costs])
            for by in ("cpu", "wall")
        }
        for name, costs in taken.items()
    }
    compared = {
        f"{ours_} / {theirs}": {
            by: measuring.ratios(taken[theirs], taken[ours_], by) for by in ("cpu", "wall")
        }
        for ours_ in taken
        if "lipjax" in ours_
        for theirs in taken
        if "torch" in theirs
    }
    return {
        "clips": len(clips),
        "seconds_of_video": sum(seconds),
        "batch": BATCH,
        "sides": rates,
        "ratios": compared,
    }


def shapes_of() -> dict[str, tuple[int, ...]]:
    """Shapes of a batch, alike on both sides."""
    sound = (BATCH, 4 * FRAMES, STREAMS.log_mel.bands)
    pictures = (BATCH, FRAMES, SIZE, SIZE, 3)
    alone = (BATCH, 1, SIZE, SIZE, 3)
    return {"video": pictures, "identity": alone, "log_mel": sound, "wrong_log_mel": sound}


def _fill(windows: Windows) -> None:
    """Meets every clip once, so that turns find all of them."""
    windows.examples(windows.num_windows)


def fed(rate: float) -> list[dict[str, float]]:
    """How many accelerators one core feeds, by steps per second and windows per step.

    Args:
        rate: windows per CPU second.

    Returns:
        A row per case. Computed from `rate` alone: whether a card takes so many steps is
        measured elsewhere. The last row is the most that one would take by its data sheet.
    """
    cases = [(batch, steps, "") for batch in (24, 64) for steps in (1.0, 5.0, 10.0, 20.0)]
    cases.append((24, SHARE * PUBLISHED / (24 * USEFUL), "published rate, see SHARE and USEFUL"))
    return [
        {"windows_per_step": batch, "steps_per_second": steps, "devices": rate / (batch * steps),
         "basis": basis or "assumed"}
        for batch, steps, basis in cases
    ]  # fmt: skip


def main() -> None:
    """Prints the figures, and writes them."""
    parser = measuring.parser(__doc__.splitlines()[0], "windows")
    parser.add_argument("corpus", nargs="?", type=Path, help="prepared; else a built-in one")
    args = parser.parse_args()
    told = measuring.facts("torch", "grain", "opencv-python-headless", "array-record")
    with corpus_or_builtin(args.corpus, clips=4 if args.short else 24) as corpus:
        with tempfile.TemporaryDirectory() as scratch:
            batches, rounds = (2, 2) if args.short else (20, 9)
            found = measure(corpus, batches=batches, rounds=rounds, scratch=Path(scratch))
    rate = found["sides"]["lipjax, clips on disk"]["windows_per_cpu_second"]["median"]
    told_of = {"clips in memory": "clips fit into memory", "clips on disk": "larger corpora"}
    lines = [
        measuring.target(
            found["ratios"][f"lipjax, {side} / torch, {workers}"]["cpu"],
            TARGET,
            what=f"data: windows per core second over PyTorch's, {words}, {workers}",
        )
        for side, words in told_of.items()
        for workers in ("0 workers", "1 worker")
    ]
    for name, side in found["sides"].items():
        print(f"{name}: " + ", ".join(f"{k} {v['median']:.0f}" for k, v in side.items()))
    for line in lines:
        print(measuring.words(line))
    measuring.write(
        {"facts": told, "targets": lines, **found, "computed": {"one_core_feeds": fed(rate)}},
        args.out,
    )


if __name__ == "__main__":
    main()
