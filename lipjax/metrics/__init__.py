# SPDX-License-Identifier: Apache-2.0
"""Metrics: float32 at highest precision, each names its convention."""
