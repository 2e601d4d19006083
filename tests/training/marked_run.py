# SPDX-License-Identifier: Apache-2.0
"""A run of training that tells a pipe where it is; started and killed by tests.

    python marked_run.py PIPE train WORDS...
    python marked_run.py PIPE toy WORKDIR OPTIONS

PIPE is the number of an open file descriptor, WORDS those of `lipjax train`. `toy` trains the toy
task instead, which starts in a fraction of the time; OPTIONS is JSON, arguments of the loop. What
a run does is not changed: functions are wrapped to write a line before and after, nothing else.
"""

import json
import os
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main() -> None:
    pipe, words = int(sys.argv[1]), sys.argv[2:]

    def mark(*told: Any) -> None:
        os.write(pipe, (" ".join(map(str, (time.monotonic(), *told))) + "\n").encode())

    def marked(function: Callable, begin: str, end: str, *, of: int | None = None) -> Callable:
        def wrapped(*args: Any, **options: Any) -> Any:
            number = "" if of is None else args[of]
            mark(begin, number)
            result = function(*args, **options)
            mark(end, number)
            return result

        return wrapped

    mark("started")
    from lipjax.errors import LipjaxError
    from lipjax.training import checkpoints, feeding, interrupt, loop, programs, sharding

    put_batch = sharding.put_batch

    def put_marked(mesh: Any, batch: Any) -> Any:
        arrays = b"".join(batch[name].tobytes() for name in sorted(batch))
        mark("batch", zlib.crc32(arrays))
        return put_batch(mesh, batch)

    feeding.sharding.put_batch = put_marked
    loop.mean_scores = marked(loop.mean_scores, "evaluation", "evaluated")
    checkpoints.Checkpoints.save = marked(checkpoints.Checkpoints.save, "save", "saving", of=1)
    checkpoints.Checkpoints.restore = marked(checkpoints.Checkpoints.restore, "restore", "restored")
    programs.Programs.compiled_step = marked(programs.Programs.compiled_step, "compile", "compiled")
    interrupt.Stop.agreed = marked(interrupt.Stop.agreed, "agree", "step", of=1)
    mark("imported")
    if words[0] == "train":
        from lipjax import cli

        code = cli.main(words)
    else:
        try:
            code = toy(Path(words[1]), **json.loads(words[2]))
        except LipjaxError as error:
            print(f"error: {error}", file=sys.stderr)
            code = 2
    mark("ended")
    sys.exit(code)


def toy(workdir: Path, *, pause: float = 0.05, **options: Any) -> int:
    """Trains the toy task, with steps and evaluations long enough to be killed in."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    import numpy as np
    from toy_training import ToyTask, ToyWindows

    from lipjax.training.loop import train

    class Slow(ToyWindows):
        def batch(self, step: int) -> Any:
            time.sleep(pause)
            return super().batch(step)

    examples = [ToyWindows().batch(10_000 + n) for n in range(100)]
    preview = lambda params, step: {"w": np.full((4, 4, 3), step, np.uint8)}  # noqa: E731
    settings = {"eval_every": 5, "checkpoint_every": 4, "log_every": 3, "preview_every": 10}
    train(
        ToyTask(noise=0.1), Slow(), workdir=workdir, eval_batches=examples, preview=preview,
        **(settings | options),
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    main()
