# SPDX-License-Identifier: Apache-2.0
"""Figures of what trained models make, as papers print them."""
