# SPDX-License-Identifier: Apache-2.0
"""Where compiled programs are kept, and that the train command keeps them."""

import os
import subprocess
import sys

import jax
import pytest

from lipjax.training.compiling import keep_compiled, usual_folder


@pytest.fixture
def nothing_chosen():
    """JAX as a user finds it, without a folder for compiled programs."""
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    jax.config.update("jax_compilation_cache_dir", before)


def test_the_users_cache_is_used_and_made(tmp_path, nothing_chosen):
    environ = {"HOME": str(tmp_path)}
    folder = keep_compiled(environ)
    assert folder == usual_folder(environ)
    assert folder.is_dir() and folder.is_relative_to(tmp_path / ".cache" / "lipjax")
    assert jax.config.jax_compilation_cache_dir == str(folder)
    elsewhere = usual_folder({"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "caches")})
    assert elsewhere.is_relative_to(tmp_path / "caches") and elsewhere.name == folder.name


def test_what_the_user_has_chosen_stays(tmp_path, nothing_chosen):
    environ = {"HOME": str(tmp_path), "JAX_COMPILATION_CACHE_DIR": "/chosen"}
    assert keep_compiled(environ) is None
    jax.config.update("jax_compilation_cache_dir", "/by/the/program")
    assert keep_compiled({"HOME": str(tmp_path)}) is None
    assert jax.config.jax_compilation_cache_dir == "/by/the/program"
    assert not list(tmp_path.iterdir())


def test_a_home_that_cannot_be_written_is_no_fault(tmp_path, nothing_chosen):
    (tmp_path / ".cache").write_text("a file where a folder should be")
    assert keep_compiled({"HOME": str(tmp_path)}) is None
    assert jax.config.jax_compilation_cache_dir is None


def test_another_processor_has_another_folder(tmp_path, monkeypatch):
    environ = {"HOME": str(tmp_path)}
    here = usual_folder(environ)
    monkeypatch.setattr("platform.machine", lambda: "another")
    assert usual_folder(environ) != here


def test_a_program_is_found_again_by_another_process(tmp_path):
    code = (
        "import jax, jax.monitoring as m; from lipjax.training import compiling\n"
        "compiling._LEAST_SECONDS = 0.0\n"
        "jax.config.update('jax_persistent_cache_min_entry_size_bytes', 0)\n"
        "hits = []; m.register_event_listener(lambda name, **_: hits.append(name))\n"
        "assert compiling.keep_compiled()\n"
        "jax.jit(lambda x: (x @ x).sum())(jax.numpy.ones((64, 64))).block_until_ready()\n"
        "print(sum(name.endswith('cache_hits') for name in hits))\n"
    )
    environ = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    environ |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": ""}
    hits = [
        int(subprocess.run([sys.executable, "-c", code], env=environ, text=True, check=True,
                           stdout=subprocess.PIPE).stdout)
        for _ in range(2)
    ]  # fmt: skip
    assert hits[0] == 0 < hits[1]
