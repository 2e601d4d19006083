# SPDX-License-Identifier: Apache-2.0
"""Settings that must stand before JAX starts: eight simulated devices on the CPU."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Simulated devices need a thread each at every collective, or the process aborts.
os.environ.setdefault("NPROC", "32")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = (
        os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    ).strip()
