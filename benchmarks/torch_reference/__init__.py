# SPDX-License-Identifier: Apache-2.0
"""The released networks and their training step in PyTorch: opponent and judge."""
