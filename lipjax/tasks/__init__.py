# SPDX-License-Identifier: Apache-2.0
"""Training stages: which networks, which losses, pure steps."""
