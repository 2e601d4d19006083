# SPDX-License-Identifier: Apache-2.0
"""Settings that must stand before JAX starts: eight simulated devices on the CPU."""

import gc
import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Simulated devices need a thread each at every collective, or the process aborts.
os.environ.setdefault("NPROC", "32")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    # Tests compile far more than they compute, so the compiler takes it easy.
    os.environ["XLA_FLAGS"] = (
        os.environ.get("XLA_FLAGS", "")
        + " --xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
        + " --xla_llvm_disable_expensive_passes=true"
    ).strip()
# Tracing makes millions of objects that live; looking through them again and again costs a sixth.
gc.set_threshold(200_000, 20, 100)
sys.path.insert(0, str(Path(__file__).parent))  # for `from synthetic import ...`


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory):
    """A read-only corpus of made-up clips (see synthetic.make_corpus)."""
    from synthetic import make_corpus

    return make_corpus(tmp_path_factory.mktemp("tiny") / "corpus")
