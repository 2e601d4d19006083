# SPDX-License-Identifier: Apache-2.0
"""Experiments: one readable file each."""
