# SPDX-License-Identifier: Apache-2.0
"""Trained systems ready to talk."""
