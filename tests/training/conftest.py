# SPDX-License-Identifier: Apache-2.0
"""The toy task for the loop's tests, and a cache of compiled programs."""

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache
from toy_training import ToyTask, ToyWindows, eval_batches_of


@pytest.fixture(scope="module", autouse=True)
def compile_cache(tmp_path_factory):
    """Compiles equal programs once; the cache is put away afterwards."""
    settings = {
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("xla")),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": 0,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture
def toy_task():
    return ToyTask


@pytest.fixture
def toy_windows():
    return ToyWindows


@pytest.fixture
def eval_batches():
    return eval_batches_of(ToyWindows())
