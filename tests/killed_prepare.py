# SPDX-License-Identifier: Apache-2.0
"""`lipjax` on the command line, with a moment at which it kills its whole process group.

KILL_AT="staging:3" is the third time that one process makes, renames or removes a staged file;
"starting" is what comes before, "packing" the time until the new corpus is complete, "moving" what
comes after. With KILL_COUNTS=FILE the number of such moments is written there instead.
"""

import atexit
import collections
import json
import multiprocessing
import os
import signal
import sys

_COUNTS: collections.Counter = collections.Counter()
_STATE = {"phase": "starting"}
_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir")
_STAGED, _PACKED = (os.path.join("work", name) for name in ("staged", "packed"))


def _hook(event: str, args: tuple) -> None:
    if event == "open":
        if not (isinstance(args[1], str) and set(args[1]) & set("wxa+")):
            return
    elif event not in _CHANGES:
        return
    paths = " ".join(str(arg) for arg in args[:2])
    before = _STATE["phase"]
    if before == "starting" and _PACKED in paths:
        _STATE["phase"] = before = "packing"
    if before != "moving" and f"work{os.sep}" not in paths:
        return
    phase = "staging" if before == "starting" and _STAGED + os.sep in paths else before
    _COUNTS[phase] += 1
    if os.environ.get("KILL_AT") == f"{phase}:{_COUNTS[phase]}":
        os.killpg(0, signal.SIGKILL)
    if event == "os.rename" and str(args[1]).endswith("complete.json"):
        _STATE["phase"] = "moving"


if "KILL_AT" in os.environ or "KILL_COUNTS" in os.environ:
    sys.addaudithook(_hook)  # in worker processes, too: they import this file

if __name__ == "__main__":
    if "KILL_COUNTS" in os.environ and multiprocessing.parent_process() is None:
        name = os.environ["KILL_COUNTS"]
        atexit.register(lambda: open(name, "w").write(json.dumps(_COUNTS)))
    from lipjax.cli import main

    sys.exit(main())
