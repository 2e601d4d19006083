# SPDX-License-Identifier: Apache-2.0
"""Compiled programs kept between starts, so that the next start takes seconds.

JAX does the keeping: a program is found again by what it computes, on which devices and by which
versions. What is here is where, for whoever has not said where.
"""

import hashlib
import os
import platform
from collections.abc import Mapping
from pathlib import Path

import jax
from absl import logging

_LEAST_SECONDS = 0.5  # programs that compile faster are not worth a file


def use_compile_cache(directory: Path) -> None:
    """Keeps compiled programs in a folder."""
    Path(directory).mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(Path(directory).absolute()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _LEAST_SECONDS)


def usual_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Returns the user's folder for compiled programs, one for each kind of processor.

    Code for CPUs is made for the very processor: in a home that hosts share, one with fewer
    instructions must not find what another has left.

    Args:
        environ: environment variables; XDG_CACHE_HOME says where caches lie, else HOME.
    """
    caches = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME") or Path.home()) / ".cache"
    return Path(caches) / "lipjax" / "compiled" / _processor()


def _processor() -> str:
    told = [platform.system(), platform.machine(), platform.processor()]
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        told += sorted({x for x in lines if x.startswith(("model name", "flags", "Features"))})
    except OSError:
        pass  # only Linux has it
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:12]


def keep_compiled(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Keeps compiled programs in the user's folder, unless the user has said otherwise.

    For programs, not for libraries. JAX_COMPILATION_CACHE_DIR names another folder, and
    JAX_ENABLE_COMPILATION_CACHE=false keeps nothing. Of several processes JAX lets the first one
    write. A home that cannot be written costs compilation anew, nothing else.

    Args:
        environ: environment variables.

    Returns:
        The folder; None if it was not set here.
    """
    settings = jax.config.values
    chosen = "JAX_COMPILATION_CACHE_DIR" in environ or settings["jax_compilation_cache_dir"]
    if chosen or not settings["jax_enable_compilation_cache"]:
        return None
    folder = usual_folder(environ)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(f"{folder} cannot be written")
    except OSError as error:
        logging.info("compiled programs are not kept: %s", error)
        return None
    use_compile_cache(folder)
    return folder
