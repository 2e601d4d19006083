# SPDX-License-Identifier: Apache-2.0
"""What every command that runs networks does before its first use of JAX."""


def set_up_jax() -> None:
    """Keeps compiled programs between starts and freed memory between steps."""
    from lipjax.training.compiling import keep_compiled
    from lipjax.training.memory import keep_freed_memory

    keep_compiled()
    keep_freed_memory()
