# SPDX-License-Identifier: Apache-2.0
"""One process of a run of several, on the toy task; started by test_processes.py.

    python one_of_many.py COORDINATOR COUNT INDEX WORKDIR OPTIONS

OPTIONS is JSON: arguments of the loop, and "kill": the step at whose batch this process dies,
"slow": seconds that every batch takes.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for toy_training


def main() -> None:
    coordinator, count, index, workdir, options = sys.argv[1:]
    options, process = json.loads(options), (int(index), int(count))

    from lipjax.training.processes import join

    if process[1] > 1:
        join(coordinator=coordinator, processes=process[1], process=process[0], timeout=60)

    from toy_training import ToyTask, ToyWindows, eval_batches_of

    from lipjax.training.loop import train

    kill, slow = options.pop("kill", None), options.pop("slow", 0.0)

    class Windows(ToyWindows):
        def batch(self, step):
            time.sleep(slow)
            if step == kill:
                os.kill(os.getpid(), signal.SIGKILL)
            if slow and step == 2:
                print("under way", flush=True)
            return super().batch(step)

    windows = Windows(process=process)
    result = train(
        ToyTask(noise=0.1), windows, workdir=Path(workdir), log_every=5, eval_every=10,
        eval_batches=eval_batches_of(windows), **options,
    )  # fmt: skip
    print("ended at", int(result.state.step), flush=True)


if __name__ == "__main__":
    main()
