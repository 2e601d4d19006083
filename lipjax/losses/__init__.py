# SPDX-License-Identifier: Apache-2.0
"""Losses by kind: one value per example, the caller reduces."""
