# SPDX-License-Identifier: Apache-2.0
"""Freed memory kept by the program, because giving it back and asking anew is slow.

XLA on CPU asks for its temporaries anew in every step, hundreds of megabytes, and glibc hands such
blocks straight back to the kernel, which has to clear each page again: a fifth of the
full-width generator's forward and backward pass.
"""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # of malloc.h


def keep_freed_memory() -> bool:
    """Tells the C library to keep what is freed; the program's memory stays at its highest.

    For programs, before their first use of JAX, whose threads then share one arena. Environment
    variables of the C library (MALLOC_MMAP_MAX_ and so on) are read before and overruled.

    Returns:
        Whether it was done; other systems than Linux with glibc are left as they are.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_ARENA_MAX, 1))
    return all([mallopt(name, value) == 1 for name, value in settings])
