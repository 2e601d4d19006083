# SPDX-License-Identifier: Apache-2.0
"""Many processes as one run: joining them, agreeing on a step, waiting for each other."""

import os
import sys
import traceback

import jax
import numpy as np

from lipjax.errors import ConfigError, LipjaxError

_CLUSTERS = (
    *("SLURM_JOB_ID", "OMPI_MCA_orte_hnp_uri", "TPU_WORKER_HOSTNAMES", "CLOUD_TPU_TASK_ID"),
    "TPU_ML_PLATFORM",  # JAX sets it where it finds the chips of a Cloud TPU VM
)


def join(
    *,
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    timeout: int = 300,
) -> None:
    """Joins this process to a run of several; for programs, before their first use of JAX.

    When one dies the others end, at once where the broken connection is noticed (CPUs), else
    within two minutes; they are not left waiting.
    Without arguments Slurm, Open MPI and Cloud TPU are asked who belongs together; they know.

    Args:
        coordinator: HOST:PORT at which process 0 listens; the same for all.
        processes: how many there are.
        process: number of this one, from 0.
        timeout: seconds to wait for the others.

    Raises:
        ConfigError: arguments that cannot work, or the others did not come in time.
    """
    told = {"--coordinator": coordinator, "--processes": processes, "--process": process}
    missing = [name for name, value in told.items() if value is None]
    if 0 < len(missing) < len(told):
        raise ConfigError(f"{', '.join(missing)} missing: give all of {', '.join(told)}, or none")
    if missing and not any(name in os.environ for name in _CLUSTERS):
        raise ConfigError(
            "several processes, but no Slurm, Open MPI or Cloud TPU around them that would say "
            f"which: give {', '.join(told)}"
        )
    if processes is not None and process is not None and not 0 <= process < processes:
        raise ConfigError(f"--process {process}: numbers are 0 to {processes - 1}")
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(coordinator, processes, process, initialization_timeout=timeout)
    except (RuntimeError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise ConfigError(
            f"this process could not join the others in {timeout} s ({first}); is process 0 up, "
            f"and is {coordinator or 'its address'} reachable from here?"
        ) from error


def largest(number: int) -> int:
    """Returns the largest of the numbers that the processes bring; all must call it."""
    if jax.process_count() == 1:
        return number
    from jax.experimental import multihost_utils

    return int(np.max(multihost_utils.process_allgather(np.int32(number))))


def wait_for_all(name: str) -> None:
    """Returns when every process has come to the place of that name."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


def end_if_one_of_several(error: Exception) -> None:
    """Ends this process at once if it is one of several; returns if it is alone.

    The others notice and end as well. Nothing can be tidied up before: that would mean waiting
    for processes which may be dead, or which wait for this one. Checkpoints are whole or absent.

    Args:
        error: what it failed with.
    """
    if jax.process_count() == 1:
        return
    if isinstance(error, LipjaxError):
        print(f"error: {error}", file=sys.stderr)
    else:
        traceback.print_exception(error)
    print(
        f"process {jax.process_index()} of {jax.process_count()} ends, the others with it; the "
        "same command in all of them goes on from the last checkpoint",
        file=sys.stderr,
    )
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(2 if isinstance(error, LipjaxError) else 1)
