# SPDX-License-Identifier: Apache-2.0
"""From a folder of talking-face videos to a corpus."""
