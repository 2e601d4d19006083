# SPDX-License-Identifier: Apache-2.0
"""The devices that a plan is for: those here, simulated ones, or TPUs that are somewhere else."""

import contextlib
import importlib.util
import os

import jax

from lipjax.errors import ConfigError

_SIMULATED = "xla_force_host_platform_device_count"


def simulated(count: int) -> list[jax.Device]:
    """Returns that many devices of this CPU; for programs, before their first use of JAX.

    Args:
        count: devices wanted.

    Raises:
        ConfigError: JAX is in use already, with fewer.
    """
    with contextlib.suppress(RuntimeError):  # JAX is in use already
        jax.config.update("jax_platforms", "cpu")
        if _SIMULATED not in os.environ.get("XLA_FLAGS", ""):
            jax.config.update("jax_num_cpu_devices", count)
    devices = jax.devices("cpu")
    if len(devices) < count:
        raise ConfigError(
            f"{count} devices wanted, but JAX has made {len(devices)} of this CPU already; take "
            f"{_SIMULATED} out of XLA_FLAGS, or plan in a program of its own"
        )
    return devices[:count]


def topology(name: str) -> list[jax.Device]:
    """Returns the devices of a TPU slice to compile for; none need be here, the compiler must.

    Args:
        name: kind and arrangement, like "v5e:4x4" or "v5p:2x2x4".

    Raises:
        ConfigError: the compiler is not installed, or knows no such slice.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise ConfigError(
            f"planning for {name} needs the TPU compiler, which comes without a TPU: "
            "pip install 'lipjax[tpu]'; or plan with simulated devices"
        )
    from jax.experimental import topologies

    # The compiler alone takes no TPU, so that it may run beside others.
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    with contextlib.suppress(RuntimeError):  # JAX is in use already
        jax.config.update("jax_platforms", "cpu")
    options = {"chips_per_host_bounds": (1, 1, 1)} if name.endswith(":1x1") else {}
    try:
        found = topologies.get_topology_desc(platform="tpu", topology_name=name, **options)
    except (RuntimeError, ValueError, NotImplementedError) as error:
        raise ConfigError(
            f"no TPU slice {name!r} ({str(error).splitlines()[0]}); names are like v5e:4x4, "
            "v5p:2x2x4, v6e:8x8"
        ) from error
    return list(found.devices)
