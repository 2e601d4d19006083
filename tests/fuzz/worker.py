# SPDX-License-Identifier: Apache-2.0
"""The process that reads damaged files: one request per line in, one outcome per line out.

It may die, hang or be refused memory; whoever started it then starts another.
"""

import faulthandler
import json
import os
import resource
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path

GIGABYTES = 1.5
"""Memory that may be taken above what the process starts with; more is refused by the system."""


def main() -> None:
    """Serves requests {"reader", "path"} until the pipe ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    warnings.simplefilter("ignore")
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from fuzz import readers

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Asked for by the parent where no answer comes: where every thread is.
    faulthandler.register(signal.SIGUSR1, file=open(sys.argv[1], "w"), all_threads=True)
    loaded: set[str] = set()
    print(json.dumps({"ready": True}), file=answers)
    for line in sys.stdin:
        request = json.loads(line)
        needs = readers.NEEDS.get(request["reader"], "")
        if needs not in loaded:  # libraries take memory that no file asked for
            loaded.add(needs)
            readers.load(needs)
            _allow(GIGABYTES)
        print(json.dumps(_outcome(readers, request)), file=answers)


def _allow(gigabytes: float) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[5])
    most = pages * resource.getpagesize() + int(gigabytes * 2**30)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def _peak() -> int:
    """Highest resident memory since it was last asked to begin anew, bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _outcome(readers, request: dict) -> dict:
    from lipjax.errors import LipjaxError

    Path("/proc/self/clear_refs").write_text("5")
    marks: dict[str, int] = {}
    before, began = _peak(), time.process_time()

    def mark(name: str, count: int = 1) -> None:
        marks[name] = marks.get(name, 0) + count

    result, told = "ok", ""
    try:
        readers.READERS[request["reader"]](Path(request["path"]), mark)
        if marks.get("skipped"):
            result = "ours"
    except LipjaxError as error:
        result, told = "ours", str(error)
        if _for_want_of_memory(error):
            result = "memory"
    except BaseException as error:  # noqa: BLE001 - to be told, whatever it is
        result, told = "foreign", "".join(traceback.format_exception(error))[-1500:]
        if _for_want_of_memory(error):
            result = "memory"
    return {
        "result": result,
        "told": told[-1500:],
        "marks": marks,
        "megabytes": (_peak() - before) / 1e6,
        "seconds": time.process_time() - began,
    }


def _for_want_of_memory(error: BaseException | None) -> bool:
    for _ in range(100):
        if error is None or isinstance(error, MemoryError):
            break
        error = error.__cause__ or error.__context__
    return isinstance(error, MemoryError)


if __name__ == "__main__":
    main()
