# SPDX-License-Identifier: Apache-2.0
"""The corpus that lipjax makes itself: rendered faces, synthesised speech."""
