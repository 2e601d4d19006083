# SPDX-License-Identifier: Apache-2.0
"""From folders of videos to batches: prepare, corpora, windows; never imports JAX."""
