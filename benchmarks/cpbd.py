# SPDX-License-Identifier: Apache-2.0
"""Sharpness (CPBD): pictures per core second of ours beside the reference package.

    python benchmarks/cpbd.py [CORPUS] [--out FILE.json]

The reference is python-cpbd 1.0.7, the one that papers quote; it needs a name that SciPy has
dropped, which is given to it here (it is not used). Both see the same grey pictures: mouth crops
at 64 and 96 pixels, and context frames; ours takes the frames of a kind at once, as evaluation
does, and one by one for comparison. Values must agree to 1e-9 in the same run.
"""

import sys
import types
from pathlib import Path
from typing import Any

import measuring
import numpy as np
from corpora import corpus_or_builtin, largest_split

from lipjax.data.reading import Corpus
from lipjax.data.views import resize
from lipjax.metrics.cpbd import cpbd, cpbd_of_frames, luma

TARGET = 50.0
TOLERANCE = 1e-9
PER_CLIP = 6


def reference():
    """Returns python-cpbd's function."""
    from scipy import ndimage

    if not hasattr(ndimage, "imread"):
        ndimage.imread = None
        sys.modules.setdefault("scipy.misc", types.ModuleType("scipy.misc"))
    here = sys.path.pop(0)  # this file has the package's name
    known = sys.modules.pop("cpbd", None)
    try:
        import cpbd as package
    finally:
        sys.path.insert(0, here)
        if known is not None:
            sys.modules["cpbd"] = known
    return package.compute


def pictures(corpus: Corpus, count: int) -> dict[str, list[np.ndarray]]:
    """Returns grey pictures of a corpus by kind, spread over its clips."""
    clips = corpus.clips(largest_split(corpus))
    kinds: dict[str, list[np.ndarray]] = {"mouth 64": [], "mouth 96": [], "context frame": []}
    for place in np.linspace(0, len(clips) - 1, count).astype(int):
        clip = clips[int(place)]
        for t in np.linspace(0, clip.num_frames - 1, PER_CLIP).astype(int):
            kinds["mouth 64"].append(luma(resize(clip.mouth[t : t + 1], 64)[0]))
            kinds["mouth 96"].append(luma(clip.mouth[t]))
            kinds["context frame"].append(luma(clip.frame(int(t))))
    return {
        name: [picture for picture in grey if picture.shape == grey[0].shape]
        for name, grey in kinds.items()
    }


def measure(grey: list[np.ndarray], theirs, *, rounds: int, repeat: int) -> dict[str, Any]:
    """Measures both on the same pictures in turns and compares every value.

    Args:
        grey: pictures.
        theirs: the reference.
        rounds: turns.
        repeat: times that ours works through the pictures in a turn, being the shorter.
    """
    values = np.array([float(theirs(picture)) for picture in grey])
    stacked = np.stack(grey)
    alone = np.array([cpbd(picture) for picture in grey])
    apart = float(np.abs(np.stack([alone, cpbd_of_frames(stacked)]) - values).max())
    if not apart <= TOLERANCE:
        raise SystemExit(f"values differ by {apart}: this is not the same metric")

    def side(work, times: int):
        def turn() -> measuring.Cost:
            cost = measuring.cost_of(lambda: [work() for _ in range(times)])
            return measuring.Cost(*(seconds / times / len(grey) for seconds in cost))

        return turn

    taken = measuring.in_turns(
        {
            "reference": side(lambda: [theirs(picture) for picture in grey], 1),
            "lipjax": side(lambda: cpbd_of_frames(stacked), repeat),
            "lipjax, one by one": side(lambda: [cpbd(picture) for picture in grey], repeat),
        },
        rounds=rounds,
    )
    return {
        "shape": list(grey[0].shape),
        "pictures": len(grey),
        "largest_difference": apart,
        "cpu_ms": {n: measuring.spread([1e3 * c.cpu for c in costs]) for n, costs in taken.items()},
        "ratio": measuring.ratios(taken["reference"], taken["lipjax"]),
        "ratio_wall": measuring.ratios(taken["reference"], taken["lipjax"], "wall"),
        "ratio_one_by_one": measuring.ratios(taken["reference"], taken["lipjax, one by one"]),
        "mean_value": float(values.mean()),
    }


def main() -> None:
    """Prints the figures, and writes them."""
    parser = measuring.parser(__doc__.splitlines()[0], "cpbd")
    parser.add_argument("corpus", nargs="?", type=Path, help="prepared; else a built-in one")
    args = parser.parse_args()
    told = measuring.facts("cpbd", "scipy", "scikit-image")
    theirs = reference()
    cases = {}
    with corpus_or_builtin(args.corpus, clips=2 if args.short else 12) as corpus:
        kinds = pictures(corpus, 2 if args.short else 12)
    for name, grey in kinds.items():
        rounds, repeat = (2, 1) if args.short else (7, 10)
        cases[name] = found = measure(grey, theirs, rounds=rounds, repeat=repeat)
        took = {side: value["median"] for side, value in found["cpu_ms"].items()}
        print(f"{name} {found['shape']}: reference {took['reference']:.2f} ms, "
              f"lipjax {took['lipjax']:.2f} ms, ratio {found['ratio']['median']:.1f}, "
              f"values differ by {found['largest_difference']:.1g}")  # fmt: skip
    lines = [
        measuring.target(found["ratio"], TARGET, what=f"metrics: CPBD, {name}")
        for name, found in cases.items()
    ]
    for line in lines:
        print(measuring.words(line))
    measuring.write({"facts": told, "targets": lines, "cases": cases}, args.out)


if __name__ == "__main__":
    main()
