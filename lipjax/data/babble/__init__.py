# SPDX-License-Identifier: Apache-2.0
"""The corpus that lipjax makes itself: rendered faces, synthesised speech."""

from lipjax.data.babble.corpus import make_babble

__all__ = ["make_babble"]
