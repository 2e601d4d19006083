# SPDX-License-Identifier: Apache-2.0
"""Analyses of a corpus: what the paper claims of the data themselves, measured with a null."""
