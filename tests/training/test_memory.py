# SPDX-License-Identifier: Apache-2.0
"""Freed memory is kept: asking again for what was freed costs no page faults."""

import subprocess
import sys

import pytest

CODE = """
import resource, sys
import numpy as np
from lipjax.training.memory import keep_freed_memory

done = sys.argv[1] == "keep" and keep_freed_memory()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(64 << 20, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(done, min(faults() for _ in range(3)))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_what_was_freed_is_used_again():
    told = {}
    for word in ("keep", "give back"):
        words = [sys.executable, "-c", CODE, word]
        done, faults = subprocess.run(
            words, capture_output=True, text=True, check=True
        ).stdout.split()
        told[word] = done == "True", int(faults)
    assert told["keep"][0] and told["keep"][1] < 100
    assert not told["give back"][0] and told["give back"][1] > 100
